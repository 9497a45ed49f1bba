#include "container/life/container_name.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>

#include "base/printable.h"
#include "base/random.h"

namespace hull::container {

namespace {

constexpr std::array<std::string_view, 32> kQualities{
    "able",  "bold",    "brave", "bright", "brisk",  "calm",  "clever", "daring", "eager",  "fair",  "fleet",
    "fond",  "gentle",  "glad",  "hardy",  "honest", "jolly", "keen",   "kind",   "lively", "loyal", "merry",
    "noble", "patient", "proud", "quick",  "quiet",  "ready", "steady", "sturdy", "trusty", "wise"};
constexpr std::array<std::string_view, 32> kSailors{
    "amundsen", "anson",     "barents", "bering",     "boatswain", "cabot",    "columbus",  "cook",
    "dampier",  "diaz",      "drake",   "erikson",    "flinders",  "franklin", "frobisher", "gama",
    "helmsman", "heyerdahl", "hudson",  "jeanne",     "magellan",  "nansen",   "navigator", "pilot",
    "purser",   "pytheas",   "ross",    "shackleton", "slocum",    "tasman",   "vancouver", "zhenghe"};

template <size_t Size>
std::array<std::byte, Size> random_bytes() {
    std::array<std::byte, Size> bytes{};
    take_random(bytes);
    return bytes;
}

bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

std::string make_id() {
    const auto bytes = random_bytes<32>();
    return hexadecimal({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

std::string short_id(const std::string& id) {
    constexpr size_t kDigits = 12;
    return id.substr(0, kDigits);
}

std::string make_name(unsigned tries) {
    const auto chosen = random_bytes<2>();
    std::string name{kQualities[std::to_integer<size_t>(chosen[0]) % kQualities.size()]};
    name += "_";
    name += kSailors[std::to_integer<size_t>(chosen[1]) % kSailors.size()];
    if (tries > 0) {
        name += std::to_string(tries);
    }
    return name;
}

bool is_name(std::string_view text) {
    return text.size() >= 2 && is_letter_or_digit(text.front()) && std::ranges::all_of(text, [](char c) {
               return is_letter_or_digit(c) || c == '_' || c == '.' || c == '-';
           });
}

}  // namespace hull::container
