// Networks, and containers in them, on a host that has bridges only by name.
#include "container/life/networks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "base/small_file.h"
#include "container/api/engine.h"
#include "container/life/containers.h"
#include "tests/support/api_client.h"
#include "tests/support/fake_bridges.h"
#include "tests/support/fake_supervisor.h"
#include "tests/support/files.h"
#include "tests/support/image_store.h"

namespace hull::container {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;
using testing::Not;
using testing::SizeIs;

/// "200", or the answer's status and what it says.
std::string refusal(const std::function<void()>& call) {
    try {
        call();
        return "200";
    } catch (const ApiError& error) {
        return std::to_string(error.status()) + " " + error.what();
    } catch (const Error& error) {
        return std::string{"error "} + error.what();
    }
}

class NetworksTest : public testing::Test {
  protected:
    void begin() { networks_.emplace(folder_.path(), events_, host_.side()); }
    void SetUp() override { begin(); }
    std::string create(const NetworkSpec& spec) {
        return refusal([&] { networks_->create(spec); });
    }
    std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const Network& each : networks_->list()) {
            all.push_back(each.spec.name);
        }
        return all;
    }
    std::string subnet_of(const std::string& name) const { return networks_->find(name).subnet->text(); }

    const test::TemporaryFolder folder_;
    test::FakeHost host_;
    Events events_;
    std::optional<Networks> networks_;
};

TEST_F(NetworksTest, AreDockersThreeAndThoseThatUsersMake) {
    EXPECT_THAT(names(), ElementsAre("bridge", "host", "none"));
    EXPECT_EQ(subnet_of("bridge"), "172.17.0.0/16");
    const Network one = networks_->create({.name = "one"});
    EXPECT_EQ(one.subnet->text(), "172.18.0.0/16");
    EXPECT_EQ(address_text(one.gateway), "172.18.0.1");
    EXPECT_EQ(one.bridge, "br-" + one.id.substr(0, 12));
    EXPECT_THAT(host_.bridges, Contains(testing::Key(one.bridge)));
    EXPECT_FALSE(host_.bridges.at(one.bridge).is_internal);
    const Network two = networks_->create(
        {.name = "two", .is_internal = true, .options = {{Network::kInterface, "mine0"}, {"x", "y"}}});
    EXPECT_EQ(two.subnet->text(), "172.19.0.0/16");
    EXPECT_TRUE(host_.bridges.at("mine0").is_internal);
    EXPECT_EQ(host_.bridges.at("mine0").table, "br-" + two.id.substr(0, 12));
    EXPECT_EQ(networks_->find(two.id.substr(0, 5)).spec.name, "two");
    EXPECT_FALSE(networks_->find_exactly(two.id.substr(0, 5)));
    EXPECT_EQ(create({.name = "one"}), "409 network with name one already exists");
    EXPECT_EQ(create({.name = "host"}), "403 operation is not permitted on predefined host network");
    EXPECT_THAT(create({.name = "a b"}), HasSubstr("400 invalid network name 'a b'"));
    EXPECT_EQ(create({.name = "t", .options = {{Network::kInterface, "x/y"}}}).substr(0, 4), "400 ");
    host_.taken = "eth7";
    EXPECT_THAT(create({.name = "t", .options = {{Network::kInterface, "eth7"}}}),
                HasSubstr("403 cannot make the network t: the host has an interface 'eth7' already"));
    EXPECT_THAT(create({.name = "t", .options = {{"com.docker.network.bridge.enable_icc", "false"}}}),
                HasSubstr("501 the option com.docker.network.bridge.enable_icc"));
    networks_->remove("one");
    EXPECT_THAT(host_.bridges, Not(Contains(testing::Key(one.bridge))));
    EXPECT_EQ(refusal([&] { networks_->remove("one"); }), "404 network one not found");
    EXPECT_EQ(refusal([&] { networks_->remove("bridge"); }),
              "403 bridge is a pre-defined network and cannot be removed");
    EXPECT_EQ(subnet_of("two"), "172.19.0.0/16");
    EXPECT_EQ(networks_->create({.name = "three"}).subnet->text(), "172.18.0.0/16") << "which is free again";
}

TEST_F(NetworksTest, HaveTheAddressesThatTheirUsersChoose) {
    const Subnet subnet = Subnet::parse("10.9.0.0/24").value();
    const uint32_t first = subnet.first;
    EXPECT_EQ(create({.name = "own",
                      .subnet = subnet,
                      .gateway = first + 254,
                      .range = Subnet::parse("10.9.0.128/29"),
                      .reserved = {{"printer", first + 128}}}),
              "200");
    const std::string id = networks_->find("own").id;
    const auto place = [&](const std::string& container, std::optional<uint32_t> address = std::nullopt) {
        return networks_->take_place(id, container, address, "");
    };
    EXPECT_EQ(place("a").text(), "10.9.0.129/24");
    EXPECT_EQ(host_.passed, networks_->find("own").bridge) << "Docker may have come since";
    EXPECT_EQ(address_text(place("b").gateway), "10.9.0.254");
    EXPECT_EQ(place("c", first + 5).text(), "10.9.0.5/24");
    EXPECT_EQ(place("c2", first + 131).mac, "02:42:0a:09:00:83");
    EXPECT_EQ(place("d").text(), "10.9.0.132/24");
    EXPECT_EQ(refusal([&] { place("e", first + 5); }), "403 Address already in use");
    EXPECT_EQ(refusal([&] { place("e", first + 254); }), "403 Address already in use");
    EXPECT_EQ(refusal([&] { place("e", first); }), "403 Address already in use");
    EXPECT_THAT(refusal([&] { place("e", first + 256); }),
                HasSubstr("400 Invalid address 10.9.1.0: It does"));
    for (const char* name : {"f", "g", "h"}) {
        place(name);
    }
    EXPECT_THAT(refusal([&] { place("i"); }), HasSubstr("403 no available IPv4 addresses"));
    networks_->leave(id, "a");
    EXPECT_EQ(place("i").text(), "10.9.0.129/24");
    EXPECT_EQ(refusal([&] { networks_->remove("own"); }),
              "403 error while removing network: network own id " + id + " has active endpoints");
    EXPECT_EQ(create({.name = "x", .subnet = Subnet::parse("10.9.0.128/25")}),
              "403 Pool overlaps with other one on this address space");
    EXPECT_EQ(create({.name = "x", .subnet = Subnet::parse("172.17.0.0/24")}),
              "403 Pool overlaps with other one on this address space");
    const Subnet other = Subnet::parse("10.8.0.0/24").value();
    EXPECT_THAT(create({.name = "x", .subnet = other, .gateway = first}),
                HasSubstr("400 no matching subnet"));
    EXPECT_THAT(create({.name = "x", .subnet = other, .range = subnet}), HasSubstr("400 no matching subnet"));
    EXPECT_THAT(create({.name = "x", .subnet = other, .reserved = {{"a", first}}}),
                HasSubstr("400 no matching subnet"));
    EXPECT_THAT(
        create(
            {.name = "x", .subnet = other, .gateway = other.first + 1, .reserved = {{"a", other.first + 1}}}),
        HasSubstr("403 failed to allocate gateway (10.8.0.1)"));
    EXPECT_THAT(create({.name = "x", .gateway = first + 1}), HasSubstr("400 "));
    EXPECT_THAT(create({.name = "x", .subnet = Subnet::parse("10.8.0.0/31")}), HasSubstr("400 "));
    EXPECT_EQ(create({.name = "auto"}), "200");
    EXPECT_THAT(refusal([&] { networks_->take_place(networks_->find("auto").id, "a", 0xac120009, ""); }),
                HasSubstr("400 user specified IP address is supported only when connecting"));
}

TEST_F(NetworksTest, AreThereAgainForTheNextDaemon) {
    NetworkSpec spec{.name = "own",
                     .is_internal = true,
                     .is_attachable = true,
                     .subnet = Subnet::parse("172.18.0.0/24"),
                     .gateway = 0xac120009,
                     .range = Subnet::parse("172.18.0.128/25"),
                     .reserved = {{"a", 0xac120020}},
                     .labels = {{"l", "v"}},
                     .options = {{"o", "w"}}};
    const Network before = networks_->create(spec);
    networks_->create({.name = "second"});
    networks_->create({.name = "gone"});
    networks_->remove("gone");
    const std::string default_id = networks_->find("bridge").id;
    // Of a daemon that was killed the bridges stay; one that ends takes them along.
    const auto kept = host_.bridges;
    networks_.reset();
    EXPECT_THAT(host_.bridges, IsEmpty());
    std::ofstream{folder_.path() / "networks" / "broken.json"} << "{";
    std::ofstream{folder_.path() / "networks" / "half.json.new"} << "{";
    begin();
    EXPECT_THAT(names(), ElementsAre("bridge", "host", "none", "own", "second"));
    EXPECT_EQ(networks_->find("bridge").id, default_id);
    const Network after = networks_->find(before.id);
    EXPECT_EQ(after.created, before.created);
    EXPECT_EQ(after.subnet, before.subnet);
    EXPECT_EQ(after.gateway, before.gateway);
    EXPECT_EQ(after.bridge, before.bridge);
    EXPECT_TRUE(after.spec.is_internal && after.spec.is_attachable);
    EXPECT_EQ(after.spec.subnet, spec.subnet);
    EXPECT_EQ(after.spec.gateway, spec.gateway);
    EXPECT_EQ(after.spec.range, spec.range);
    EXPECT_EQ(after.spec.reserved, spec.reserved);
    EXPECT_EQ(after.spec.labels, spec.labels);
    EXPECT_EQ(after.spec.options, spec.options);
    EXPECT_FALSE(networks_->find("second").spec.subnet);
    EXPECT_EQ(host_.bridges.size(), kept.size());
    EXPECT_EQ(subnet_of("second"), "172.19.0.0/16");
    // The default network takes none of theirs, whatever is free on the host.
    networks_.reset();
    host_.routes = "titles\nx\t000011AC\t0\t1\t0\t0\t0\t0000FFFF\n";
    begin();
    EXPECT_EQ(subnet_of("bridge"), "172.20.0.0/16");
}

TEST_F(NetworksTest, NeedBridges) {
    networks_->create({.name = "own"});
    networks_.reset();
    host_.has_rights = false;
    begin();
    EXPECT_FALSE(networks_->has_bridges());
    EXPECT_THAT(names(), ElementsAre("bridge", "host", "none", "own"));
    EXPECT_THAT(create({.name = "other"}), AllOf(HasSubstr("501 "), HasSubstr("this daemon has none")));
    EXPECT_THAT(refusal([&] { networks_->take_place(networks_->find("own").id, "a", {}, ""); }),
                HasSubstr("this daemon has no bridges"));
    host_.has_rights = true;
    begin();
    host_.has_no_room = true;
    EXPECT_THAT(create({.name = "other"}), HasSubstr("no room"));
    EXPECT_THAT(names(), Not(Contains("other")));
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator{folder_.path() / "networks"}, {}), 1);
}

TEST_F(NetworksTest, RunOut) {
    for (int number = 0; number < 30; ++number) {
        EXPECT_EQ(create({.name = "n" + std::to_string(number)}), "200") << number;
    }
    EXPECT_THAT(create({.name = "more"}), HasSubstr("404 could not find an available"));
}

/// Containers in them, and what clients are told.
class NetworkedTest : public testing::Test {
  protected:
    NetworkedTest() {
        test::store_image(store_, "box", {std::string(1024, '\0')}, R"("config":{"Cmd":["sh"]})");
        begin();
    }
    void begin() {
        rig_.reset();
        engine_.reset();
        containers_.emplace(
            store_.root(), store_, GuestKernel{"/kernel", {}}, events_,
            [this](const ContainerFiles& files) { supervisors_.start(files); }, host_.side());
        engine_.emplace(store_, RegistryOptions{.insecure = {}, .mirrors = {}, .credentials = {}},
                        *containers_, events_);
        rig_.emplace([this](ApiCall& call) { engine_->answer(call); });
    }
    ~NetworkedTest() override {
        rig_.reset();
        engine_.reset();
        containers_.reset();
    }

    std::string post(const std::string& path, const std::string& body = "") const {
        return rig_->ask("POST /v1.44" + path +
                         " HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    }
    std::string get(const std::string& path) const { return rig_->request("GET /v1.44" + path); }
    json::value object_at(const std::string& path) const {
        const std::string answer = get(path);
        return json::parse(answer.substr(answer.find("\r\n\r\n") + 4));
    }
    static std::string filters(const std::string& text) {
        std::string all = "?filters=";
        constexpr const char* kDigits = "0123456789ABCDEF";
        for (const char c : text) {
            all += std::string{'%', kDigits[static_cast<unsigned char>(c) >> 4], kDigits[c & 15]};
        }
        return all;
    }
    void make(const std::string& name, const std::string& further = "") {
        EXPECT_THAT(post("/networks/create", R"({"Name":")" + name + "\"" + further + "}"),
                    HasSubstr(" 201 "));
    }
    void create(const std::string& name, const std::string& network, const std::string& endpoint = "{}") {
        EXPECT_THAT(
            post("/containers/create?name=" + name,
                 R"({"Image":"box","HostConfig":{"NetworkMode":")" + network +
                     R"("},"NetworkingConfig":{"EndpointsConfig":{")" + network + "\":" + endpoint + "}}}"),
            HasSubstr(" 201 "));
    }
    void start(const std::string& name) {
        EXPECT_THAT(post("/containers/" + name + "/start"), HasSubstr(" 204 "));
    }
    void run(const std::string& name, const std::string& network, const std::string& endpoint = "{}") {
        create(name, network, endpoint);
        start(name);
    }
    std::string short_id(const std::string& name) const { return containers_->find(name).id.substr(0, 12); }
    std::string names_of(const std::string& container) const {
        const auto path = containers_->find(container).files.names();
        return std::filesystem::exists(path) ? file_text(path) : "none";
    }
    RunFile run_file(const std::string& name) const { return RunFile::read(containers_->find(name).files); }
    std::vector<std::string> told() {
        std::vector<std::string> all;
        for (const Event& event : listener_->take()) {
            if (event.type == "network" && event.attributes.contains("name")) {
                const auto container = event.attributes.find("container");
                all.push_back(event.action + " " + event.attributes.at("name") +
                              (container == event.attributes.end()
                                   ? ""
                                   : " " + containers_->find(container->second).name));
            }
        }
        return all;
    }

    const test::TemporaryFolder folder_;
    Store store_{folder_.path() / "root", Store::Use::alone};
    test::FakeHost host_;
    Events events_;
    std::shared_ptr<Events::Listener> listener_ = events_.listen();
    test::FakeSupervisors supervisors_;
    std::optional<Containers> containers_;
    std::optional<Engine> engine_;
    std::optional<test::ApiRig> rig_;
};

TEST_F(NetworkedTest, AreShownAsDockerShowsThem) {
    make("one", R"(,"CheckDuplicate":true,"Driver":"bridge","IPAM":{"Driver":"default","Config":[]},)"
                R"("Labels":{"a":"b"},"Options":{})");
    make("two", R"(,"IPAM":{"Config":[{"Subnet":"10.5.0.0/16","IPRange":"10.5.1.0/24",)"
                R"("AuxiliaryAddresses":{"x":"10.5.0.9"}}]},"Internal":true)");
    const json::value one = object_at("/networks/one");
    EXPECT_EQ(
        json::serialize(one.at("IPAM")),
        R"({"Driver":"default","Options":{},"Config":[{"Subnet":"172.18.0.0/16","Gateway":"172.18.0.1"}]})");
    EXPECT_EQ(one.at_pointer("/Labels/a"), "b");
    EXPECT_EQ(one.at("Internal"), false);
    EXPECT_EQ(json::serialize(object_at("/networks/two").at_pointer("/IPAM/Config")),
              R"([{"Subnet":"10.5.0.0/16","IPRange":"10.5.1.0/24","AuxiliaryAddresses":{"x":"10.5.0.9"}}])");
    EXPECT_EQ(object_at("/networks/none").at("Driver"), "null");
    const auto listed = [&](const std::string& wanted) {
        std::string all;
        const json::value shown = object_at("/networks" + (wanted.empty() ? "" : filters(wanted)));
        for (const json::value& each : shown.as_array()) {
            all += std::string{each.at("Name").as_string()} + " ";
        }
        return all;
    };
    EXPECT_EQ(listed(""), "bridge host none one two ");
    EXPECT_EQ(listed(R"({"name":["^o"]})"), "one ");
    EXPECT_EQ(listed(R"({"driver":["null"]})"), "none ");
    EXPECT_EQ(listed(R"({"label":{"a=b":true}})"), "one ");
    EXPECT_EQ(listed(R"({"type":["custom"]})"), "one two ");
    EXPECT_EQ(listed(R"({"scope":["swarm"]})"), "");
    EXPECT_EQ(listed(R"({"id":[")" + std::string{one.at("Id").as_string()} + "\"]}"), "one ");
    create("user", "two");
    EXPECT_EQ(listed(R"({"dangling":["true"]})"), "one ");
    EXPECT_THAT(get("/networks" + filters(R"({"x":["y"]})")), HasSubstr(" 400 "));
    EXPECT_THAT(get("/networks" + filters(R"({"type":["y"]})")), HasSubstr(" 400 "));
    const std::tuple<const char*, unsigned, const char*> refused[] = {
        {R"([])", 400, "no object"},
        {R"({"Name":5})", 400, "'Name' is no text"},
        {R"({"Name":""})", 400, "invalid network name"},
        {R"({"Name":"one"})", 409, "network with name one already exists"},
        {R"({"Name":"x","Driver":"nosuch"})", 404, "plugin \\\"nosuch\\\" not found"},
        {R"({"Name":"x","Driver":"macvlan"})", 501, "'macvlan' are not supported"},
        {R"({"Name":"x","Driver":"host"})", 403, "only one instance of \\\"host\\\" network is allowed"},
        {R"({"Name":"x","EnableIPv6":true})", 501, "IPv6"},
        {R"({"Name":"x","IPAM":{"Config":[{"Subnet":"fd00::/64"}]}})", 501, "IPv6"},
        {R"({"Name":"x","IPAM":{"Config":[{"Subnet":"10.1.0.0"}]}})", 400, "invalid CIDR address: 10.1.0.0"},
        {R"({"Name":"x","IPAM":{"Config":[{"Subnet":"10.5.7.0/24"}]}})", 403, "Pool overlaps"},
        {R"({"Name":"x","IPAM":{"Config":[{"Subnet":"10.6.0.0/24","Gateway":"x"}]}})", 400,
         "gateway address"},
        {R"({"Name":"x","IPAM":{"Config":[{"Subnet":"10.6.0.0/24"},{"Subnet":"10.7.0.0/24"}]}})", 501,
         "several subnets"},
        {R"({"Name":"x","Scope":"swarm"})", 501, "--scope"},
    };
    for (const auto& [body, status, message] : refused) {
        EXPECT_THAT(post("/networks/create", body),
                    AllOf(HasSubstr(" " + std::to_string(status) + " "), HasSubstr(message)))
            << body;
    }
    listener_->take();
    EXPECT_THAT(post("/networks/prune"), HasSubstr(R"({"NetworksDeleted":["one","two"]})"))
        << "who does not run does not keep it";
    EXPECT_THAT(told(), ElementsAre("destroy one", "destroy two"));
}

TEST_F(NetworkedTest, FindEachOtherByName) {
    make("front");
    make("back", R"(,"Internal":true)");
    run("web", "front", R"({"Aliases":["www","site"],"Links":["db:data"]})");
    EXPECT_EQ(names_of("web"), "172.18.0.2 web.front web www site " + short_id("web") + "\n");
    EXPECT_TRUE(run_file("web").config.has_names);
    create("db", "back", R"({"Aliases":["store"]})");
    EXPECT_THAT(post("/networks/front/connect", R"({"Container":"db","EndpointConfig":{"Aliases":["sql"]}})"),
                HasSubstr(" 200 "));
    EXPECT_THAT(names_of("db"), "none");
    start("db");
    const std::string web = "172.18.0.2 web.front web www site " + short_id("web") + "\n";
    const std::string db = "172.18.0.3 db.front db sql " + short_id("db");
    EXPECT_THAT(names_of("web"), AllOf(HasSubstr(web), HasSubstr(db + " data\n"), Not(HasSubstr("back"))));
    EXPECT_THAT(names_of("db"), AllOf(HasSubstr("172.19.0.2 db.back db store " + short_id("db") + "\n"),
                                      HasSubstr(web), HasSubstr(db + "\n")));
    const std::vector<Endpoint> places = run_file("db").config.endpoints;
    ASSERT_THAT(places, SizeIs(2));
    EXPECT_EQ(places[0].text(), "172.19.0.2/16") << "by the networks' names";
    EXPECT_EQ(places[0].gateway, 0U);
    EXPECT_TRUE(!places[0].is_way_out && places[1].is_way_out);
    EXPECT_THAT(post("/containers/db/rename?name=base"), HasSubstr(" 204 "));
    EXPECT_THAT(names_of("web"), AllOf(HasSubstr(" base.front base sql "), Not(HasSubstr("data"))));
    run("lone", "bridge", R"({})");
    EXPECT_EQ(names_of("lone"), "none");
    EXPECT_FALSE(run_file("lone").config.has_names);
    // Another daemon comes, and writes again what has changed meanwhile.
    std::ofstream{containers_->find("web").files.names()} << "old";
    begin();
    EXPECT_THAT(names_of("web"), AllOf(HasSubstr(web), HasSubstr(" base.front base sql ")));
    EXPECT_EQ(containers_->find("base").networks.at(0).endpoint->text(), "172.19.0.2/16");
    EXPECT_THAT(rig_->request("DELETE /v1.44/networks/back"), HasSubstr("has active endpoints"));
    run("third", "front");
    EXPECT_EQ(containers_->find("third").networks.at(0).endpoint->text(), "172.18.0.4/16");
    EXPECT_THAT(post("/containers/base/kill"), HasSubstr(" 204 "));
    for (int tries = 0; tries < 2000 && containers_->find("base").is_running(); ++tries) {
        std::this_thread::sleep_for(10ms);
    }
    EXPECT_THAT(names_of("web"), AllOf(HasSubstr(web), Not(HasSubstr("base"))));
    EXPECT_EQ(names_of("base"), "none");
    EXPECT_THAT(rig_->request("DELETE /v1.44/networks/back"), HasSubstr(" 204 "));
    const std::string start = post("/containers/base/start");
    EXPECT_THAT(start, AllOf(HasSubstr(" 404 "), HasSubstr(" not found"))) << start;
    EXPECT_THAT(names_of("web"), Not(HasSubstr("base"))) << "it has left what it could enter";
}

TEST_F(NetworkedTest, AreEnteredAndLeftByThoseThatRunAndThatDoNot) {
    make("one");
    make("two", R"(,"IPAM":{"Config":[{"Subnet":"10.5.0.0/24"}]})");
    create("cc", "one", R"({"Aliases":["x"]})");
    const auto networks = [&] {
        return object_at("/containers/cc/json").at_pointer("/NetworkSettings/Networks");
    };
    EXPECT_EQ(json::serialize(networks().at_pointer("/one/Aliases")), R"(["x"])")
        << "compose looks whether the id is there, and then leaves the others";
    listener_->take();
    // As compose does: out, and in again with what it wants.
    EXPECT_THAT(post("/networks/one/disconnect", R"({"Container":"cc","Force":false})"), HasSubstr(" 200 "));
    EXPECT_TRUE(networks().as_object().empty());
    EXPECT_THAT(post("/networks/one/disconnect", R"({"Container":"cc"})"),
                AllOf(HasSubstr(" 500 "), HasSubstr("is not connected to the network one")));
    EXPECT_THAT(
        post("/networks/one/connect", R"({"Container":"cc","EndpointConfig":{"Aliases":["y"],"Links":[],)"
                                      R"("IPAMConfig":{}}})"),
        HasSubstr(" 200 "));
    EXPECT_THAT(post("/networks/two/connect",
                     R"({"Container":"cc","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.5.0.77"}}})"),
                HasSubstr(" 200 "));
    EXPECT_THAT(post("/networks/two/connect", R"({"Container":"cc"})"), HasSubstr(" 200 ")) << "as by Docker";
    EXPECT_THAT(told(), ElementsAre("disconnect one cc"));
    start("cc");
    EXPECT_THAT(told(), ElementsAre("connect one cc", "connect two cc"));
    const json::value two = networks().at("two");
    EXPECT_EQ(two.at("IPAddress"), "10.5.0.77");
    EXPECT_EQ(two.at("Gateway"), "10.5.0.1");
    EXPECT_EQ(two.at("MacAddress"), "02:42:0a:05:00:4d");
    EXPECT_EQ(two.at("NetworkID"), object_at("/networks/two").at("Id"));
    EXPECT_EQ(two.at_pointer("/IPAMConfig/IPv4Address"), "10.5.0.77");
    const json::value member =
        object_at("/networks/two").at_pointer("/Containers/" + containers_->find("cc").id);
    EXPECT_EQ(member.at("IPv4Address"), "10.5.0.77/24");
    EXPECT_EQ(member.at("EndpointID"), two.at("EndpointID"));
    EXPECT_EQ(object_at("/containers/cc/json").at_pointer("/NetworkSettings/IPAddress"), "");
    EXPECT_THAT(get("/containers/json" + filters(R"({"network":["two"]})")), HasSubstr("/cc\""));
    EXPECT_THAT(post("/networks/two/connect", R"({"Container":"cc"})"),
                AllOf(HasSubstr(" 403 "), HasSubstr("endpoint with name cc already exists in network two")));
    make("three");
    // One more while it runs, and one less.
    EXPECT_THAT(post("/networks/three/connect", R"({"Container":"cc"})"), HasSubstr(" 200 "));
    EXPECT_THAT(told(), ElementsAre("create three", "connect three cc"));
    EXPECT_EQ(networks().at_pointer("/three/IPAddress"), "172.19.0.2");
    begin();
    EXPECT_EQ(networks().at_pointer("/three/IPAddress"), "172.19.0.2") << "another daemon finds it there";
    EXPECT_THAT(post("/networks/three/disconnect", R"({"Container":"cc"})"), HasSubstr(" 200 "));
    EXPECT_FALSE(networks().as_object().contains("three"));
    EXPECT_THAT(post("/networks/two/disconnect", R"({"Container":"cc"})"), HasSubstr(" 200 "));
    EXPECT_THAT(post("/networks/two/connect",
                     R"({"Container":"cc","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.5.0.77"}}})"),
                HasSubstr(" 200 "));
    static_cast<void>(told());
    EXPECT_THAT(post("/containers/cc/stop"), HasSubstr(" 204 "));
    EXPECT_THAT(told(), ElementsAre("disconnect one cc", "disconnect two cc"));
    EXPECT_EQ(networks().at_pointer("/two/IPAddress"), "");
    begin();
    EXPECT_EQ(json::serialize(networks().at_pointer("/one/Aliases")), R"(["y",")" + short_id("cc") + "\"]");
    EXPECT_EQ(networks().at_pointer("/two/IPAMConfig/IPv4Address"), "10.5.0.77");
    for (const auto& [path, body, status, message] :
         std::vector<std::tuple<std::string, std::string, unsigned, std::string>>{
             {"/networks/nosuch/connect", R"({"Container":"cc"})", 404, "network nosuch not found"},
             {"/networks/three/connect", R"({"Container":"nosuch"})", 404, "No such container: nosuch"},
             {"/networks/three/connect", R"({})", 400, "no container is named"},
             {"/networks/three/connect", R"({"Container":"cc","EndpointConfig":{"Aliases":["a b"]}})", 400,
              "alias"},
             {"/networks/three/connect",
              R"({"Container":"cc","EndpointConfig":{"IPAMConfig":{"IPv4Address":"10.5.0.1"}}})", 400,
              "user configured subnets"},
             {"/networks/none/connect", R"({"Container":"cc"})", 400, "private (none) mode"},
             {"/networks/host/connect", R"({"Container":"cc"})", 400, "sharing network namespace"},
             {"/networks/bridge/connect", R"({"Container":"cc","EndpointConfig":{"Aliases":["a"]}})", 400,
              "network-scoped alias"},
         }) {
        EXPECT_THAT(post(path, body),
                    AllOf(HasSubstr(" " + std::to_string(status) + " "), HasSubstr(message)))
            << path << body;
    }
    create("nn", "nosuch");
    EXPECT_THAT(post("/containers/nn/start"),
                AllOf(HasSubstr(" 404 "), HasSubstr("network nosuch not found")));
    make("nosuch");
    start("nn");
    create("alone", "none");
    start("alone");
    EXPECT_FALSE(run_file("alone").config.has_network);
}

}  // namespace
}  // namespace hull::container
