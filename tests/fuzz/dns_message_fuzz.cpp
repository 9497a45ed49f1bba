// What a guest asks for names, and what a server answers. Input: how long a question is (2 bytes), the
// question, and all the rest is the answer.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "container/network/dns_message.h"
#include "tests/fuzz/input.h"

using namespace hull::container;
using hull::test::require;

namespace {

void look_at(const DnsQuestion& question, std::string_view answer) {
    require(question.name.size() < 256 && question.most_reply >= 512 &&
            question.most_reply <= DnsQuestion::kMostBytes);
    require(question.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") == std::string::npos);
    const std::vector<uint32_t> many(1000, question.reverse_address().value_or(1));
    for (const size_t most : {question.most_reply, size_t{UINT16_MAX}}) {
        const std::string told = dns_addresses(question, many, most);
        require(told.size() <= most && is_reply_to(told, question, question.id));
    }
    for (const std::string& told :
         {dns_reply(question, DnsResult::failed), dns_too_long(question), dns_name(question, question.name),
          dns_name(question, std::string{answer.substr(0, 300)})}) {
        require(is_reply_to(told, question, question.id) && told.size() <= 1024);
    }
    if (is_reply_to(answer, question, question.id)) {
        std::string taken{answer};
        static_cast<void>(is_refusal(taken));
        set_dns_id(taken, static_cast<uint16_t>(~question.id));
        require(!is_reply_to(taken, question, question.id));
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    constexpr size_t kHead = 2;
    if (size < kHead) {
        return 0;
    }
    const std::string_view input{reinterpret_cast<const char*>(data) + kHead, size - kHead};
    const size_t length = std::min(input.size(), static_cast<size_t>(data[0] | data[1] << 8));
    if (const auto question = DnsQuestion::parse(input.substr(0, length))) {
        look_at(*question, input.substr(length));
    }
    return 0;
}
