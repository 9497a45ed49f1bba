// The bridge's addresses, its rules as text, and who resolves names, without a network.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "container/network/bridges.h"
#include "container/network/firewall.h"
#include "container/network/resolver.h"
#include "container/network/subnet.h"

namespace hull::container {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kTitles =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
constexpr uint32_t kFirst = 0xac110000;  // 172.17.0.0

/// A line of /proc/net/route.
std::string route(const char* destination, const char* mask) {
    return std::string{"eth0\t"} + destination + "\t00000000\t0001\t0\t0\t0\t" + mask + "\t0\t0\t0\n";
}

TEST(Subnet, IsOneThatTheHostHasNoRouteTo) {
    EXPECT_EQ(free_subnet(kTitles).value().text(), "172.17.0.0/16");
    EXPECT_EQ(free_subnet("").value().text(), "172.17.0.0/16");
    const std::string all = kTitles + route("00000000", "00000000");  // a default route is not in the way
    EXPECT_EQ(free_subnet(all).value().text(), "172.17.0.0/16");
    EXPECT_EQ(free_subnet(all + route("000011AC", "0000FFFF")).value().text(), "172.18.0.0/16");
    // A host in the second, and one of the third's networks.
    EXPECT_EQ(free_subnet(all + route("000011AC", "0000FFFF") + route("090012AC", "FFFFFFFF") +
                          route("008013AC", "00C0FFFF"))
                  .value()
                  .text(),
              "172.20.0.0/16");
    // 172.16.0.0/12, and then 192.168.0.0/24, too.
    EXPECT_EQ(free_subnet(all + route("000010AC", "0000F0FF")).value().text(), "192.168.0.0/20");
    EXPECT_EQ(free_subnet(all + route("000010AC", "0000F0FF") + route("0000A8C0", "00FFFFFF")).value().text(),
              "192.168.16.0/20");
    EXPECT_EQ(free_subnet(all + route("000010AC", "0000F0FF") + route("0000A8C0", "0000FFFF")), std::nullopt);
    EXPECT_EQ(free_subnet(kTitles + route("00000080", "00000080") + route("00000000", "00000080")),
              std::nullopt);  // as a tunnel does that takes all
    EXPECT_EQ(free_subnet(std::string{kTitles} + "eth0\tnothing").value().text(), "172.17.0.0/16");
    // Nor another network of the daemon's.
    EXPECT_EQ(free_subnet(kTitles, {{kFirst, 16}, {kFirst + 0x10100, 24}}).value().text(), "172.19.0.0/16");
}

TEST(Subnet, IsReadAsItIsWritten) {
    EXPECT_EQ(Subnet::parse("172.17.0.0/16").value(), (Subnet{kFirst, 16}));
    EXPECT_EQ(Subnet::parse("172.17.3.4/16").value().text(), "172.17.0.0/16");
    EXPECT_EQ(Subnet::parse("10.0.0.1/32").value().last(), 0x0a000001U);
    for (const char* text : {"", "172.17.0.0", "172.17.0.0/", "172.17.0.0/0", "172.17.0.0/33", "172.17.0/16",
                             "172.17.0.0/1x", "172.17.0.0/-1", "fd00::/64", "/16", "172.17.0.0/4294967297"}) {
        EXPECT_EQ(Subnet::parse(text), std::nullopt) << text;
    }
    const Subnet subnet{kFirst, 16};
    EXPECT_TRUE(subnet.has(kFirst + 0xffff));
    EXPECT_FALSE(subnet.has(kFirst + 0x10000));
    EXPECT_FALSE(subnet.has(kFirst - 1));
}

TEST(Subnet, HandsOutTheLowestAddressThatIsFree) {
    const Subnet subnet{kFirst, 16};
    const auto free = [](const Subnet& of, const std::set<uint32_t>& taken) {
        return free_address(of, of, taken);
    };
    EXPECT_EQ(address_text(free(subnet, {}).value()), "172.17.0.1");
    EXPECT_EQ(address_text(free(subnet, {kFirst + 1, kFirst + 2, kFirst + 4}).value()), "172.17.0.3");
    const Subnet small{kFirst, 30};  // two addresses besides its own and the last
    EXPECT_EQ(free(small, {kFirst + 1}), kFirst + 2);
    EXPECT_EQ(free(small, {kFirst + 1, kFirst + 2}), std::nullopt);
    EXPECT_EQ(free({~uint32_t{0} - 3, 30}, {~uint32_t{0} - 2}), ~uint32_t{0} - 1);
    // Of a part of it, whose first and last are like any others.
    const Subnet part{kFirst + 0x500, 31};
    EXPECT_EQ(free_address(subnet, part, {}), kFirst + 0x500);
    EXPECT_EQ(free_address(subnet, part, {kFirst + 0x500}), kFirst + 0x501);
    EXPECT_EQ(free_address(subnet, part, {kFirst + 0x500, kFirst + 0x501}), std::nullopt);
    EXPECT_EQ(free_address(subnet, {kFirst + 0xff00, 24}, {}), kFirst + 0xff00);
    EXPECT_EQ(mac_of(kFirst + 2), "02:42:ac:11:00:02");
    EXPECT_EQ(address_text(0xc0a8ff01), "192.168.255.1");
    EXPECT_EQ(parse_address("192.168.255.1"), 0xc0a8ff01U);
    EXPECT_EQ(parse_address("192.168.255"), std::nullopt);
}

TEST(BridgeName, IsOfTheFolderOfData) {
    EXPECT_EQ(bridge_name("/srv/one"), bridge_name("/srv/./one"));
    EXPECT_NE(bridge_name("/srv/one"), bridge_name("/srv/two"));
    EXPECT_THAT(bridge_name("/srv/one"), testing::MatchesRegex("hull[0-9a-f]{8}"));
}

TEST(Rules, OfAContainerHoldItToItsAddressAndPublishItsPorts) {
    const Endpoint endpoint{.bridge = "hull0",
                            .address = kFirst + 2,
                            .gateway = kFirst + 1,
                            .prefix = 16,
                            .mac = "02:42:ac:11:00:02"};
    EXPECT_EQ(container_rules("hull-1", "tap1", endpoint, {}),
              "table netdev hull-1 {\nflags owner;\n"
              "chain ingress {\ntype filter hook ingress device \"tap1\" priority 0; policy drop;\n"
              "ether saddr 02:42:ac:11:00:02 ip saddr 172.17.0.2 accept\n"
              "ether saddr 02:42:ac:11:00:02 arp saddr ether 02:42:ac:11:00:02 arp saddr ip 172.17.0.2 "
              "accept\n}\n}\n");
    const std::string rules =
        container_rules("hull-1", "tap1", endpoint,
                        published_ports({"0.0.0.0:8080:80", "0.0.0.0:53:5353/udp", "10.0.0.1:81:80"}));
    EXPECT_THAT(rules, HasSubstr("table ip hull-1 {\nflags owner;\nchain published {\n"
                                 "tcp dport 8080 dnat to 172.17.0.2:80\n"
                                 "udp dport 53 dnat to 172.17.0.2:5353\n"
                                 "ip daddr 10.0.0.1 tcp dport 81 dnat to 172.17.0.2:80\n}\n"));
    EXPECT_EQ(no_container_rules("hull-1", {}), "delete table netdev hull-1\n");
    EXPECT_EQ(no_container_rules("hull-1", published_ports({"0.0.0.0:8080:80"})),
              "delete table netdev hull-1\ndelete table ip hull-1\n");
}

TEST(Rules, OfABridgeReplaceThemselves) {
    const BridgeConfig bridge{.name = "br0", .table = "br-1", .subnet = {kFirst, 16}, .gateway = kFirst + 1};
    const std::string rules = bridge_rules(bridge);
    EXPECT_EQ(rules.find(no_bridge_rules("br-1") + "table ip br-1 {"), 0U);
    EXPECT_THAT(rules, HasSubstr("oifname != \"br0\" ip saddr 172.17.0.0/16 masquerade\n"));
    EXPECT_THAT(rules, HasSubstr("iifname != \"br0\" oifname \"br0\" jump inward\n"));
}

TEST(Rules, OfAnInternalBridgePassNothingOn) {
    const std::string rules = bridge_rules(
        {.name = "br0", .table = "br-1", .subnet = {kFirst, 16}, .gateway = kFirst + 1, .is_internal = true});
    EXPECT_THAT(rules, HasSubstr("iifname \"br0\" oifname != \"br0\" drop\n"
                                 "iifname != \"br0\" oifname \"br0\" drop\n"));
    EXPECT_THAT(rules, Not(HasSubstr("accept")));
    EXPECT_THAT(rules, Not(HasSubstr("masquerade")));
}

TEST(Rules, InDockersChainAreReplacedAndRemoved) {
    constexpr const char* kListing =
        "table ip filter { # handle 1\n\tchain DOCKER-USER { # handle 7\n"
        "\t\tiifname \"hull0\" accept comment \"hull0\" # handle 12\n"
        "\t\toifname \"hull0\" accept comment \"hull0\" # handle 13\n"
        "\t\tiifname \"hull1234abcd\" accept comment \"hull1234abcd\" # handle 14\n"
        "\t\tcounter packets 0 bytes 0 return # handle 9\n\t}\n}\n";
    const std::string removal =
        "delete rule ip filter DOCKER-USER handle 12\ndelete rule ip filter DOCKER-USER handle 13\n";
    EXPECT_EQ(no_docker_rules(kListing, "hull0"), removal);
    EXPECT_EQ(docker_rules(kListing, "hull0"),
              removal +
                  "insert rule ip filter DOCKER-USER iifname \"hull0\" accept comment \"hull0\"\n"
                  "insert rule ip filter DOCKER-USER oifname \"hull0\" accept comment \"hull0\"\n");
    EXPECT_EQ(no_docker_rules(kListing, "hull9"), "");
    EXPECT_EQ(docker_rules("", "hull0"), "");  // where Docker is not
}

TEST(Resolver, IsTheHostsWithWhatAGuestCannotReach) {
    const Resolver found = parse_resolver(
        "# nameserver 1.1.1.1\nnameserver 127.0.0.53\nnameserver 10.1.2.3 # the first\n"
        "nameserver fe80::1\nnameserver 127.1.2.3\n  nameserver 10.1.2.4;\nnameserver\n"
        "domain old.example\nsearch a.example b.example\noptions ndots:2\noptions edns0 trust-ad\n");
    EXPECT_THAT(found.servers, ElementsAre("127.0.0.53", "10.1.2.3", "fe80::1", "127.1.2.3", "10.1.2.4"));
    EXPECT_TRUE(is_for_bridges("10.1.2.3"));
    for (const char* server : {"127.0.0.53", "127.1.2.3", "fe80::1", "x", ""}) {
        EXPECT_FALSE(is_for_bridges(server)) << server;
    }
    EXPECT_THAT(found.search, ElementsAre("a.example", "b.example"));
    EXPECT_THAT(found.options, ElementsAre("ndots:2", "edns0", "trust-ad"));
    EXPECT_THAT(parse_resolver("").servers, IsEmpty());
    EXPECT_THAT(host_resolver().servers, Not(IsEmpty()));
}

}  // namespace
}  // namespace hull::container
