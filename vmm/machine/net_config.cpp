#include "vmm/machine/net_config.h"

#include <charconv>
#include <string_view>

#include "vmm/machine/option_text.h"

namespace hull {

namespace {

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

}  // namespace

NetConfig NetConfig::parse(const std::string& text) {
    constexpr const char* kForm = "write tap=NAME[,mac=XX:XX:XX:XX:XX:XX]";
    NetConfig net;
    for (const OptionWord& word : split_words(text)) {
        if (word.is_value("tap") && net.tap.empty() && !word.value->empty()) {
            net.tap = *word.value;
        } else if (word.is_value("mac") && !net.mac) {
            net.mac = parse_mac(*word.value);
        } else {
            refuse_option("--net", text, "'" + word.text + "' has no meaning there", kForm);
        }
    }
    if (net.tap.empty()) {
        refuse_option("--net", text, "it does not say what is at the other side", kForm);
    }
    return net;
}

std::string NetConfig::text() const {
    return "tap=" + double_commas(tap) + (mac ? ",mac=" + mac_text(*mac) : "");
}

}  // namespace hull
