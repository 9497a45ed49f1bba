#include "container/network/dns_message.h"

#include <algorithm>
#include <charconv>

namespace hull::container {

namespace {

// Of the header's second and third word.
constexpr uint16_t kIsReply = 0x8000;
constexpr uint16_t kOperation = 0x7800;  // none: a query
constexpr uint16_t kIsTruncated = 0x0200;
constexpr uint16_t kWantsRecursion = 0x0100;
constexpr uint16_t kHasRecursion = 0x0080;
constexpr uint16_t kResult = 0x000f;

constexpr size_t kMostName = 255;  // bytes, as it goes over the network
constexpr size_t kMostLabel = 63;
constexpr uint16_t kPointerToName = 0xc00c;  // of the question
constexpr uint32_t kSeconds = 600;           // for which an answer holds, as Docker's

uint16_t word(std::string_view bytes, size_t at) {
    return static_cast<uint16_t>(static_cast<unsigned char>(bytes[at]) << 8 |
                                 static_cast<unsigned char>(bytes[at + 1]));
}

void add_word(std::string& to, uint32_t value) {
    to += static_cast<char>(value >> 8 & 0xff);
    to += static_cast<char>(value & 0xff);
}

void add_long(std::string& to, uint32_t value) {
    add_word(to, value >> 16);
    add_word(to, value & 0xffff);
}

bool is_name_character(char each) {
    return (each >= 'a' && each <= 'z') || (each >= '0' && each <= '9') || each == '-' || each == '_';
}

/// The name that begins at `at`, which is behind it then; its text is empty where that has no plain one.
/// False where it is none: no name of a question is written by a pointer.
bool read_name(std::string_view message, size_t& at, std::string& text) {
    const size_t begin = at;
    bool is_plain = true;
    for (;;) {
        if (at >= message.size()) {
            return false;
        }
        const size_t size = static_cast<unsigned char>(message[at]);
        ++at;
        if (size == 0) {
            break;
        }
        if (size > kMostLabel || message.size() - at < size || at + size - begin >= kMostName) {
            return false;
        }
        text += text.empty() ? "" : ".";
        for (const char each : message.substr(at, size)) {
            const char small = each >= 'A' && each <= 'Z' ? static_cast<char>(each + ('a' - 'A')) : each;
            is_plain = is_plain && is_name_character(small);
            text += small;
        }
        at += size;
    }
    if (!is_plain) {
        text.clear();
    }
    return true;
}

/// Of a record with the size that whoever asks takes (RFC 6891, 6.1.2), if one begins at `at`.
size_t told_size(std::string_view message, size_t at) {
    constexpr uint16_t kOptions = 41;
    constexpr size_t kFixed = 11;  // the root's name and what stands at each record
    if (message.size() < at + kFixed || message[at] != 0 || word(message, at + 1) != kOptions) {
        return 0;
    }
    return word(message, at + 3);
}

std::string reply_with(const DnsQuestion& question, uint16_t flags, uint16_t records) {
    std::string reply;
    add_word(reply, question.id);
    add_word(reply, kIsReply | kHasRecursion | (question.wants_recursion ? kWantsRecursion : 0) | flags);
    add_word(reply, 1);
    add_word(reply, records);
    add_long(reply, 0);
    return reply + question.bytes;
}

void add_record(std::string& reply, uint16_t type, std::string_view data) {
    add_word(reply, kPointerToName);
    add_word(reply, type);
    add_word(reply, DnsQuestion::kInternet);
    add_long(reply, kSeconds);
    add_word(reply, static_cast<uint32_t>(data.size()));
    reply += data;
}

}  // namespace

std::optional<DnsQuestion> DnsQuestion::parse(std::string_view message) {
    if (message.size() < kHeader || message.size() > kMostBytes) {
        return std::nullopt;
    }
    const uint16_t flags = word(message, 2);
    // One question, and no answers with it.
    if ((flags & (kIsReply | kOperation)) != 0 || word(message, 4) != 1 || word(message, 6) != 0 ||
        word(message, 8) != 0) {
        return std::nullopt;
    }
    DnsQuestion question;
    size_t at = kHeader;
    constexpr size_t kRest = 4;  // behind a question's name
    if (!read_name(message, at, question.name) || message.size() - at < kRest) {
        return std::nullopt;
    }
    question.id = word(message, 0);
    question.type = word(message, at);
    question.kind = word(message, at + 2);
    question.wants_recursion = (flags & kWantsRecursion) != 0;
    at += kRest;
    question.bytes = message.substr(kHeader, at - kHeader);
    if (word(message, 10) != 0) {
        question.most_reply = std::clamp(told_size(message, at), question.most_reply, kMostBytes);
    }
    return question;
}

std::optional<uint32_t> DnsQuestion::reverse_address() const {
    constexpr std::string_view kZone = ".in-addr.arpa";
    if (!name.ends_with(kZone)) {
        return std::nullopt;
    }
    std::string_view rest = std::string_view{name}.substr(0, name.size() - kZone.size());
    uint32_t address = 0;
    for (unsigned number = 0; number < 4; ++number) {
        const std::string_view label = rest.substr(0, rest.find('.'));
        uint8_t value = 0;
        const auto [end, error] = std::from_chars(label.data(), label.data() + label.size(), value);
        if (error != std::errc{} || end != label.data() + label.size()) {
            return std::nullopt;
        }
        address |= static_cast<uint32_t>(value) << 8 * number;
        const bool is_last = label.size() == rest.size();
        if (is_last != (number == 3)) {
            return std::nullopt;
        }
        rest.remove_prefix(is_last ? label.size() : label.size() + 1);
    }
    return address;
}

std::string dns_reply(const DnsQuestion& question, DnsResult result) {
    return reply_with(question, static_cast<uint16_t>(result), 0);
}

std::string dns_too_long(const DnsQuestion& question) {
    return reply_with(question, kIsTruncated, 0);
}

std::string dns_addresses(const DnsQuestion& question, const std::vector<uint32_t>& addresses, size_t most) {
    constexpr size_t kRecord = 16;
    const size_t room = (most - std::min(most, DnsQuestion::kHeader + question.bytes.size())) / kRecord;
    const size_t count = std::min({addresses.size(), room, size_t{UINT16_MAX}});
    std::string reply =
        reply_with(question, count < addresses.size() ? kIsTruncated : 0, static_cast<uint16_t>(count));
    for (size_t index = 0; index < count; ++index) {
        std::string data;
        add_long(data, addresses[index]);
        add_record(reply, DnsQuestion::kA, data);
    }
    return reply;
}

std::string dns_name(const DnsQuestion& question, const std::string& name) {
    std::string data;
    for (size_t at = 0; at <= name.size();) {
        const size_t end = std::min(name.find('.', at), name.size());
        const size_t size = end - at;
        if (size == 0 || size > kMostLabel || data.size() + size + 2 > kMostName) {
            return dns_reply(question, DnsResult::ok);
        }
        data += static_cast<char>(size);
        data.append(name, at, size);
        at = end + 1;
    }
    data += '\0';
    std::string reply = reply_with(question, 0, 1);
    add_record(reply, DnsQuestion::kPtr, data);
    return reply;
}

bool is_reply_to(std::string_view message, const DnsQuestion& question, uint16_t id) {
    return message.size() >= DnsQuestion::kHeader + question.bytes.size() && word(message, 0) == id &&
           (word(message, 2) & (kIsReply | kOperation)) == kIsReply && word(message, 4) == 1 &&
           message.substr(DnsQuestion::kHeader, question.bytes.size()) == question.bytes;
}

bool is_refusal(std::string_view reply) {
    constexpr uint16_t kFailed = 2;
    constexpr uint16_t kRefused = 5;
    const uint16_t result = word(reply, 2) & kResult;
    return result == kFailed || result == kRefused;
}

void set_dns_id(std::string& message, uint16_t id) {
    message[0] = static_cast<char>(id >> 8);
    message[1] = static_cast<char>(id & 0xff);
}

}  // namespace hull::container
