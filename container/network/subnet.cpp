#include "container/network/subnet.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstdio>
#include <sstream>
#include <system_error>

namespace hull::container {

namespace {

constexpr unsigned kByte = 8;

/// One of the address's four numbers, the first first.
unsigned part(uint32_t address, unsigned number) {
    return address >> (kByte * (3 - number)) & 0xff;
}

/// Where the host's routes lead, without default ones.
std::vector<Subnet> destinations(const std::string& routes) {
    std::vector<Subnet> all;
    std::istringstream lines{routes};
    std::string line;
    std::getline(lines, line);  // the titles
    while (std::getline(lines, line)) {
        std::istringstream words{line};
        std::string skipped;
        uint32_t destination = 0;
        uint32_t mask = 0;
        // Interface, destination, gateway, flags, references, uses, metric, mask, as the kernel has them.
        words >> skipped >> std::hex >> destination;
        for (int word = 0; word < 5; ++word) {
            words >> skipped;
        }
        if (words >> mask && mask != 0) {
            all.push_back({ntohl(destination), static_cast<uint32_t>(std::popcount(mask))});
        }
    }
    return all;
}

}  // namespace

std::string address_text(uint32_t address) {
    std::array<char, INET_ADDRSTRLEN> text{};
    std::snprintf(text.data(), text.size(), "%u.%u.%u.%u", part(address, 0), part(address, 1),
                  part(address, 2), part(address, 3));
    return text.data();
}

std::string mac_of(uint32_t address) {
    std::array<char, sizeof "02:42:ac:11:00:02"> text{};
    std::snprintf(text.data(), text.size(), "02:42:%02x:%02x:%02x:%02x", part(address, 0), part(address, 1),
                  part(address, 2), part(address, 3));
    return text.data();
}

std::optional<uint32_t> parse_address(const std::string& text) {
    in_addr address{};
    return inet_pton(AF_INET, text.c_str(), &address) == 1 ? std::optional{ntohl(address.s_addr)}
                                                           : std::nullopt;
}

std::optional<Subnet> Subnet::parse(const std::string& text) {
    const size_t slash = text.find('/');
    const auto address = parse_address(text.substr(0, slash));
    uint32_t prefix = 0;
    if (!address || slash == std::string::npos) {
        return std::nullopt;
    }
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, prefix);
    if (error != std::errc{} || stop != end || prefix < 1 || prefix > 32) {
        return std::nullopt;
    }
    Subnet subnet{0, prefix};
    subnet.first = *address & subnet.mask();
    return subnet;
}

bool Subnet::overlaps(const Subnet& other) const {
    const uint32_t common = mask() & other.mask();
    return (first & common) == (other.first & common);
}

std::string Subnet::text() const {
    return address_text(first) + "/" + std::to_string(prefix);
}

std::optional<Subnet> free_subnet(const std::string& routes, const std::vector<Subnet>& taken) {
    std::vector<Subnet> all = destinations(routes);
    all.insert(all.end(), taken.begin(), taken.end());
    const auto is_free = [&](const Subnet& subnet) {
        return std::ranges::none_of(all, [&](const Subnet& each) { return each.overlaps(subnet); });
    };
    for (uint32_t second = 17; second <= 31; ++second) {
        const Subnet subnet{172U << 24 | second << 16, 16};
        if (is_free(subnet)) {
            return subnet;
        }
    }
    for (uint32_t third = 0; third < 256; third += 16) {
        const Subnet subnet{192U << 24 | 168U << 16 | third << 8, 20};
        if (is_free(subnet)) {
            return subnet;
        }
    }
    return std::nullopt;
}

std::optional<uint32_t> free_address(const Subnet& subnet, const Subnet& range,
                                     const std::set<uint32_t>& taken) {
    uint64_t address = std::max(range.first, subnet.first + 1);  // wider: the last may be the last of all
    for (; address <= range.last() && address < subnet.last(); ++address) {
        if (!taken.contains(static_cast<uint32_t>(address))) {
            return static_cast<uint32_t>(address);
        }
    }
    return std::nullopt;
}

}  // namespace hull::container
