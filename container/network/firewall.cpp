#include "container/network/firewall.h"

#include <nftables/libnftables.h>

#include <sstream>

#include "base/error.h"
#include "base/printable.h"

namespace hull::container {

namespace {

const std::string kDockerChain = "ip filter DOCKER-USER";

std::string in_quotes(const std::string& name) {
    return "\"" + name + "\"";
}

/// "tcp dport 8080 dnat to 172.17.0.2:80".
std::string port_rule(const PublishedPort& port, const std::string& address) {
    const std::string ip = port.host.ip();
    return (ip == "0.0.0.0" ? "" : "ip daddr " + ip + " ") + (port.is_udp ? "udp" : "tcp") + " dport " +
           std::to_string(port.host.port()) + " dnat to " + address + ":" + std::to_string(port.guest_port) +
           "\n";
}

}  // namespace

std::string bridge_rules(const BridgeConfig& bridge) {
    const std::string name = in_quotes(bridge.name);
    const std::string begin = no_bridge_rules(bridge.table) + "table ip " + bridge.table + " {\n";
    const std::string forward = "chain forward {\ntype filter hook forward priority filter;\n";
    if (bridge.is_internal) {
        return begin + forward + "iifname " + name + " oifname != " + name + " drop\niifname != " + name +
               " oifname " + name + " drop\n}\n}\n";
    }
    return begin + "chain guard {\ntype filter hook prerouting priority raw;\n" +  //
           "iifname " + name + " ip saddr 127.0.0.0/8 drop\n" +                    //
           "iifname " + name + " ip daddr 127.0.0.0/8 drop\n}\n" +
           "chain inward {\nct state { established, related } accept\nct status dnat accept\ndrop\n}\n" +
           forward + "iifname != " + name + " oifname " + name + " jump inward\n}\n" +
           "chain postrouting {\ntype nat hook postrouting priority srcnat;\n" +  //
           "oifname != " + name + " ip saddr " + bridge.subnet.text() + " masquerade\n" +
           // So that the answer comes back here, where the port's address is put into it.
           "oifname " + name + " ip saddr 127.0.0.0/8 masquerade\n" +  //
           "iifname " + name + " oifname " + name + " ct status dnat masquerade\n}\n}\n";
}

std::string no_bridge_rules(const std::string& table) {
    return "add table ip " + table + "\ndelete table ip " + table + "\n";
}

std::string container_rules(const std::string& name, const std::string& tap, const Endpoint& endpoint,
                            const std::vector<PublishedPort>& ports) {
    const std::string address = address_text(endpoint.address);
    const std::string& mac = endpoint.mac;
    std::string rules = "table netdev " + name +
                        " {\nflags owner;\n"
                        "chain ingress {\ntype filter hook ingress device " +
                        in_quotes(tap) +
                        " priority 0; policy drop;\n"
                        "ether saddr " +
                        mac + " ip saddr " + address +
                        " accept\n"
                        "ether saddr " +
                        mac + " arp saddr ether " + mac + " arp saddr ip " + address + " accept\n}\n}\n";
    if (ports.empty()) {
        return rules;
    }
    rules += "table ip " + name + " {\nflags owner;\nchain published {\n";
    for (const PublishedPort& port : ports) {
        rules += port_rule(port, address);
    }
    return rules +
           "}\nchain prerouting {\ntype nat hook prerouting priority dstnat;\n"
           "fib daddr type local jump published\n}\n"
           "chain output {\ntype nat hook output priority -100;\n"
           "fib daddr type local jump published\n}\n}\n";
}

std::string no_container_rules(const std::string& name, const std::vector<PublishedPort>& ports) {
    return "delete table netdev " + name + "\n" + (ports.empty() ? "" : "delete table ip " + name + "\n");
}

std::string docker_rules(const std::string& listing, const std::string& bridge) {
    if (listing.empty()) {
        return "";
    }
    std::string rules = no_docker_rules(listing, bridge);
    for (const char* side : {"iifname", "oifname"}) {
        rules += "insert rule " + kDockerChain + " " + side + " " + in_quotes(bridge) + " accept comment " +
                 in_quotes(bridge) + "\n";
    }
    return rules;
}

std::string no_docker_rules(const std::string& listing, const std::string& bridge) {
    std::string rules;
    std::istringstream lines{listing};
    const std::string sign = "comment " + in_quotes(bridge) + " # handle ";
    for (std::string line; std::getline(lines, line);) {
        if (const size_t at = line.find(sign); at != std::string::npos) {
            rules += "delete rule " + kDockerChain + " handle " + line.substr(at + sign.size()) + "\n";
        }
    }
    return rules;
}

Firewall::Firewall() : context_{nft_ctx_new(NFT_CTX_DEFAULT)} {
    if (context_ == nullptr || nft_ctx_buffer_error(context_) != 0 || nft_ctx_buffer_output(context_) != 0) {
        throw Error{ExitStatus::no_resources, "cannot use nftables", "libnftables cannot be set up"};
    }
}

Firewall::~Firewall() {
    nft_ctx_free(context_);
}

void Firewall::apply(const std::string& rules) {
    if (nft_run_cmd_from_buffer(context_, rules.c_str()) != 0) {
        const std::string text = nft_ctx_get_error_buffer(context_);
        throw Error{ExitStatus::no_resources, "cannot set the host's packet rules (nftables)",
                    printable(text.substr(0, text.find('\n'))),
                    "are the modules nf_tables, nft_chain_nat, nft_masq and nft_fib_ipv4 there?"};
    }
}

std::string Firewall::list_docker_chain() {
    nft_ctx_output_set_flags(context_, NFT_CTX_OUTPUT_HANDLE);
    const bool is_there = nft_run_cmd_from_buffer(context_, ("list chain " + kDockerChain).c_str()) == 0;
    const std::string listing = nft_ctx_get_output_buffer(context_);
    return is_there ? listing : "";
}

}  // namespace hull::container
