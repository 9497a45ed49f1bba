#include "vmm/machine/net_config.h"

#include <charconv>
#include <limits>
#include <string_view>

#include "base/random.h"
#include "devices/net/tap.h"
#include "vmm/machine/option_text.h"

namespace hull {

namespace {

constexpr const char* kUserForm =
    "user[,forward=[HOSTIP:]PORT:GUESTPORT[/"
    "udp]]…[,restrict][,host-loopback][,mac=…][,mtu=N][,pps=N][,bps=SIZE]";
constexpr const char* kSocketForm =
    "socket=PATH[,mac=…][,mtu=N][,pps=N][,bps=SIZE], or socket=PATH,vhost-user[,mac=…][,mtu=N]";
constexpr const char* kTapForm = "tap=NAME[,queues=N][,vhost=on|off][,mac=…][,mtu=N][,pps=N][,bps=SIZE]";

/// Six bytes in hexadecimal, two digits each, with colons between. An address for many (its lowest bit set)
/// or of zeros is no device's.
virtio::MacAddress parse_mac(const std::string& text) {
    virtio::MacAddress mac{};
    bool sound = text.size() == 17;
    for (size_t at = 0; sound && at < mac.size(); ++at) {
        const char* digits = text.data() + 3 * at;
        const auto [rest, error] = std::from_chars(digits, digits + 2, mac.at(at), 16);
        sound = error == std::errc{} && rest == digits + 2 && (at == 5 || *rest == ':');
    }
    if (!sound || (mac[0] & 1) != 0 || mac == virtio::MacAddress{}) {
        refuse_option("--net mac", text, "it is not the address of one network device",
                      "write for example 02:00:00:00:00:01");
    }
    return mac;
}

}  // namespace

virtio::MacAddress random_mac() {
    virtio::MacAddress mac{};
    take_random(std::as_writable_bytes(std::span{mac}));
    mac[0] = 0x02;
    return mac;
}

std::string mac_text(const virtio::MacAddress& mac) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    for (const uint8_t byte : mac) {
        text += text.empty() ? "" : ":";
        text += kDigits.at(byte >> 4);
        text += kDigits.at(byte & 0xf);
    }
    return text;
}

NetConfig NetConfig::parse(const std::string& text) {
    std::vector<OptionWord> words = split_words(text);
    const OptionWord first = words.front();
    words.erase(words.begin());
    NetConfig net;
    if (first.is_value("tap") && !first.value->empty()) {
        net.kind = Kind::tap;
        net.tap = *first.value;
    } else if (first.is_value("socket") && !first.value->empty()) {
        net.kind = Kind::socket;
        net.socket = *first.value;
    } else if (!first.is_flag("user")) {
        refuse_option("--net", text, "it does not begin with what is at the other side",
                      std::string{"write "} + kUserForm + ", " + kTapForm + " or " + kSocketForm);
    }
    const char* form = net.kind == Kind::user ? kUserForm : net.kind == Kind::tap ? kTapForm : kSocketForm;
    refuse_repeats("--net", text, words, "forward");
    for (const OptionWord& word : words) {
        const bool taken = net.take_word(word) || (net.kind == Kind::user && net.take_user_word(word)) ||
                           (net.kind == Kind::tap && net.take_tap_word(word)) ||
                           (net.kind == Kind::socket && net.take_socket_word(word));
        if (!taken) {
            refuse_option("--net", text, "'" + word.text + "' has no meaning there",
                          std::string{"write "} + form);
        }
    }
    if (net.kind == Kind::served && (net.pps != 0 || net.bps != 0)) {
        refuse_option("--net", text, "limits are for the server (vhost-user) to set", "leave them out");
    }
    if (net.vhost.value_or(false) && (net.pps != 0 || net.bps != 0)) {
        refuse_option("--net", text, "the host's kernel (vhost=on) knows no limits",
                      "leave vhost or the limits out");
    }
    return net;
}

bool NetConfig::take_word(const OptionWord& word) {
    if (word.is_value("mac")) {
        mac = parse_mac(*word.value);
    } else if (word.is_value("mtu")) {
        mtu = static_cast<uint16_t>(parse_number(*word.value, "--net mtu", kLeastMtu, kMostMtu));
    } else if (word.is_value("pps")) {
        pps = parse_number(*word.value, "--net pps", 1, std::numeric_limits<uint32_t>::max());
    } else if (word.is_value("bps")) {
        bps = parse_bytes_per_second(*word.value, "--net bps");
    } else {
        return false;
    }
    return true;
}

bool NetConfig::take_user_word(const OptionWord& word) {
    if (word.is_value("forward")) {
        const auto forward = virtio::PortForward::parse(*word.value);
        if (!forward) {
            refuse_option("--net forward", *word.value,
                          "it does not say which port leads to which of the guest's",
                          "write for example 8080:80, 0.0.0.0:8080:80 or 5353:53/udp");
        }
        forwards.push_back(*forward);
    } else if (word.is_flag("restrict")) {
        restricted = true;
    } else if (word.is_flag("host-loopback")) {
        host_loopback = true;
    } else {
        return false;
    }
    return true;
}

bool NetConfig::take_tap_word(const OptionWord& word) {
    if (word.is_value("queues")) {
        queues = parse_number(*word.value, "--net queues", 1, virtio::kMostNetQueues);
    } else if (word.is_value("vhost") && (*word.value == "on" || *word.value == "off")) {
        vhost = *word.value == "on";
    } else {
        return false;
    }
    return true;
}

bool NetConfig::take_socket_word(const OptionWord& word) {
    const bool taken = word.is_flag("vhost-user");
    kind = taken ? Kind::served : kind;
    return taken;
}

uint16_t NetConfig::mtu_in_use() const {
    return mtu != 0             ? mtu
           : kind == Kind::user ? kMostMtu
           : kind == Kind::tap  ? virtio::interface_mtu(tap)
                                : 0;
}

std::string NetConfig::text() const {
    std::string text = kind == Kind::tap    ? "tap=" + double_commas(tap)
                       : kind == Kind::user ? "user"
                                            : "socket=" + double_commas(socket);
    text += kind == Kind::served ? ",vhost-user" : "";
    for (const virtio::PortForward& forward : forwards) {
        text += ",forward=" + forward.text();
    }
    text += queues == 1 ? "" : ",queues=" + std::to_string(queues);
    text += vhost ? std::string{",vhost="} + (*vhost ? "on" : "off") : "";
    text += restricted ? ",restrict" : "";
    text += host_loopback ? ",host-loopback" : "";
    text += mac ? ",mac=" + mac_text(*mac) : "";
    text += mtu == 0 ? "" : ",mtu=" + std::to_string(mtu);
    text += pps == 0 ? "" : ",pps=" + std::to_string(pps);
    return text + (bps == 0 ? "" : ",bps=" + std::to_string(bps / 1024) + "K");
}

}  // namespace hull
