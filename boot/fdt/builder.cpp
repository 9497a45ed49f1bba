#include "boot/fdt/builder.h"

#include <libfdt.h>

#include <stdexcept>
#include <utility>

namespace hull::boot::fdt {

namespace {

constexpr size_t kFirstSize = 4096;

void check(int result, const char* what) {
    if (result < 0) {
        throw std::logic_error{std::string{"device tree, "} + what + ": " + fdt_strerror(result)};
    }
}

}  // namespace

TreeBuilder::TreeBuilder() : block_(kFirstSize) {
    check(fdt_create(block_.data(), static_cast<int>(block_.size())), "creating it");
    write("ending the reservations", [](void* fdt) { return fdt_finish_reservemap(fdt); });
    write("starting the root", [](void* fdt) { return fdt_begin_node(fdt, ""); });
}

template <typename Write>
void TreeBuilder::write(const char* what, Write&& write_once) {
    int result = write_once(block_.data());
    while (result == -FDT_ERR_NOSPACE) {
        std::vector<std::byte> larger(2 * block_.size());
        check(fdt_resize(block_.data(), larger.data(), static_cast<int>(larger.size())), "growing");
        block_ = std::move(larger);
        result = write_once(block_.data());
    }
    check(result, what);
}

void TreeBuilder::node(const std::string& name, const std::function<void()>& fill) {
    write("starting a node", [&](void* fdt) { return fdt_begin_node(fdt, name.c_str()); });
    fill();
    write("ending a node", [](void* fdt) { return fdt_end_node(fdt); });
}

void TreeBuilder::property(const char* name, std::span<const std::byte> value) {
    write(name,
          [&](void* fdt) { return fdt_property(fdt, name, value.data(), static_cast<int>(value.size())); });
}

void TreeBuilder::flag(const char* name) {
    property(name, {});
}

void TreeBuilder::cells(const char* name, std::span<const uint32_t> values) {
    std::vector<fdt32_t> big_endian;
    for (const uint32_t value : values) {
        big_endian.push_back(cpu_to_fdt32(value));
    }
    property(name, std::as_bytes(std::span{big_endian}));
}

void TreeBuilder::cells(const char* name, std::initializer_list<uint32_t> values) {
    cells(name, std::span{values.begin(), values.size()});
}

void TreeBuilder::strings(const char* name, std::initializer_list<std::string_view> values) {
    std::string joined;
    for (const std::string_view value : values) {
        joined.append(value).push_back('\0');
    }
    property(name, std::as_bytes(std::span{joined}));
}

std::vector<std::byte> TreeBuilder::finish() && {
    write("ending the root", [](void* fdt) { return fdt_end_node(fdt); });
    write("finishing", [](void* fdt) { return fdt_finish(fdt); });
    block_.resize(fdt_totalsize(block_.data()));
    return std::move(block_);
}

}  // namespace hull::boot::fdt
