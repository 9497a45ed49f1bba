// Addresses of a bridge's network. IPv4 throughout, as numbers of the host's order: 172.17.0.2 is 0xac110002.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace hull::container {

std::string address_text(uint32_t address);
/// The reverse: "172.17.0.2"; none where it is no address of IPv4.
std::optional<uint32_t> parse_address(const std::string& text);
/// What Docker gives the interface with this address: 02:42 and the four numbers.
std::string mac_of(uint32_t address);

/// The addresses whose first `prefix` bits are those of `first`, the rest of which is 0.
struct Subnet {
    uint32_t first = 0;
    uint32_t prefix = 32;  ///< 1 to 32

    /// "172.17.0.0/16"; what of the address is beyond the prefix is left out. None where it is no such text.
    static std::optional<Subnet> parse(const std::string& text);

    [[nodiscard]] uint32_t mask() const { return ~uint32_t{0} << (32 - prefix); }
    [[nodiscard]] uint32_t last() const { return first | ~mask(); }
    [[nodiscard]] bool has(uint32_t address) const { return (address & mask()) == first; }
    [[nodiscard]] bool overlaps(const Subnet& other) const;
    /// "172.17.0.0/16".
    [[nodiscard]] std::string text() const;

    bool operator==(const Subnet&) const = default;
};

/// A container's place on a bridge.
struct Endpoint {
    std::string bridge;  ///< the host's interface
    uint32_t address = 0;
    uint32_t gateway = 0;  ///< the bridge's own address; 0: nothing leads out of there
    uint32_t prefix = 0;
    std::string mac;          ///< "02:42:ac:11:00:02"
    bool is_way_out = false;  ///< whether the guest sends all else over this gateway; of one at most

    /// With its prefix: "172.17.0.2/16".
    [[nodiscard]] std::string text() const { return address_text(address) + "/" + std::to_string(prefix); }

    bool operator==(const Endpoint&) const = default;
};

/// The first of those that Docker takes from (172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 and on) to
/// which none of the host's routes leads but a default one, and that overlaps none of `taken`. `routes` is
/// what /proc/net/route says. None where all are taken.
std::optional<Subnet> free_subnet(const std::string& routes, const std::vector<Subnet>& taken = {});

/// The lowest of `range`, all of which is in `subnet`, that is not taken, nor the subnet's first or last,
/// which mean nobody and all. None where there is no such.
std::optional<uint32_t> free_address(const Subnet& subnet, const Subnet& range,
                                     const std::set<uint32_t>& taken);

}  // namespace hull::container
