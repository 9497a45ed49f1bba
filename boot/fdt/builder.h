// A flattened device tree as it is written, on top of libfdt (Devicetree Specification 0.4, 5 "Flattened
// Devicetree (DTB) Format"). Nothing here knows an architecture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hull::boot::fdt {

/// Writes one tree from its root node on. The block grows as needed. What libfdt refuses is a defect of the
/// caller's: std::logic_error. One thread at a time.
class TreeBuilder {
  public:
    /// Starts the root node.
    TreeBuilder();

    /// A node within the current one; what `fill` adds belongs to it. A node's properties come before its
    /// nodes.
    void node(const std::string& name, const std::function<void()>& fill);

    /// A property without a value.
    void flag(const char* name);
    /// A property of 32-bit cells.
    void cells(const char* name, std::span<const uint32_t> values);
    void cells(const char* name, std::initializer_list<uint32_t> values);
    /// A property of one or several zero-terminated strings.
    void strings(const char* name, std::initializer_list<std::string_view> values);

    /// Ends the root node and gives the block out, as long as its header says. The builder is of no use after
    /// it.
    std::vector<std::byte> finish() &&;

  private:
    /// Calls a libfdt function that writes, with more room for as long as it says that there is too little.
    template <typename Write>
    void write(const char* what, Write&& write_once);
    void property(const char* name, std::span<const std::byte> value);

    std::vector<std::byte> block_;
};

/// The upper and lower cell of a 64-bit number.
constexpr uint32_t high_cell(uint64_t value) {
    return static_cast<uint32_t>(value >> 32);
}
constexpr uint32_t low_cell(uint64_t value) {
    return static_cast<uint32_t>(value);
}

}  // namespace hull::boot::fdt
