#include "boot/x86/pvh.h"

#include <span>

namespace hull::boot::x86 {

namespace {

template <typename T>
void append(std::vector<std::byte>& bytes, const T& value) {
    const auto view = std::as_bytes(std::span{&value, 1});
    bytes.insert(bytes.end(), view.begin(), view.end());
}

}  // namespace

std::vector<std::byte> make_start_info(const BootInformation& information, GuestAddress base) {
    HvmStartInfo info;
    info.cmdline = raw(information.cmdline);
    info.rsdp = information.rsdp ? raw(*information.rsdp) : 0;
    info.memory_map = raw(base) + sizeof(info);
    info.memory_map_entries = static_cast<uint32_t>(information.memory_map.size());
    if (information.initramfs) {
        info.module_count = 1;
        info.modules = info.memory_map + information.memory_map.size() * sizeof(HvmMemoryMapEntry);
    }
    std::vector<std::byte> bytes;
    append(bytes, info);
    for (const MemoryMapEntry& entry : information.memory_map) {
        append(bytes, HvmMemoryMapEntry{.address = raw(entry.range.start()),
                                        .size = entry.range.size(),
                                        .type = static_cast<uint32_t>(entry.type)});
    }
    if (information.initramfs) {
        append(bytes, HvmModule{.address = raw(information.initramfs->start()),
                                .size = information.initramfs->size()});
    }
    return bytes;
}

}  // namespace hull::boot::x86
