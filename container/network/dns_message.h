// Questions for names and answers to them, as they go over the network (RFC 1035, 4).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hull::container {

/// A message with one question, from somebody who may be hostile. A plain value.
struct DnsQuestion {
    static constexpr size_t kHeader = 12;  ///< bytes before the question
    static constexpr size_t kMostBytes = 4096;
    static constexpr uint16_t kA = 1;
    static constexpr uint16_t kPtr = 12;
    static constexpr uint16_t kAaaa = 28;
    static constexpr uint16_t kInternet = 1;

    uint16_t id = 0;
    uint16_t type = 0;
    uint16_t kind = 0;    ///< its class
    std::string name{};   ///< in small letters, without the last dot; empty: the root, or one with other
                          ///< characters than letters, digits, '-', '_' and the dots between labels
    std::string bytes{};  ///< of the question alone, as they came
    bool wants_recursion = false;
    size_t most_reply = 512;  ///< bytes that whoever asks takes in a datagram: 512 to kMostBytes

    /// None where it is anything but a query with one whole question; what may stand behind that is looked
    /// into for the size only.
    static std::optional<DnsQuestion> parse(std::string_view message);

    /// The IPv4 address whose name is asked for ("1.0.17.172.in-addr.arpa": 172.17.0.1); none: another one.
    [[nodiscard]] std::optional<uint32_t> reverse_address() const;
};

/// Of an answer, or of a failure (RFC 1035, 4.1.1: RCODE).
enum class DnsResult : uint8_t { ok = 0, bad_format = 1, failed = 2 };

/// A reply without anything in it.
std::string dns_reply(const DnsQuestion& question, DnsResult result);
/// With these addresses of the name, as many as find room in `most` bytes; where not all do, it says so.
std::string dns_addresses(const DnsQuestion& question, const std::vector<uint32_t>& addresses, size_t most);
/// With the name of the address. One that is no name of a host's makes a reply with nothing in it.
std::string dns_name(const DnsQuestion& question, const std::string& name);
/// Says that the reply finds no room in a datagram.
std::string dns_too_long(const DnsQuestion& question);

/// Whether a server's message answers this question, which it was asked with this id.
bool is_reply_to(std::string_view message, const DnsQuestion& question, uint16_t id);
/// Whether such a one says that the server could not answer, or would not.
bool is_refusal(std::string_view reply);
/// Puts an id into a message, which has a header.
void set_dns_id(std::string& message, uint16_t id);

}  // namespace hull::container
