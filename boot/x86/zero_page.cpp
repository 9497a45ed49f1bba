#include "boot/x86/zero_page.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace hull::boot::x86 {

namespace {

constexpr uint16_t kBootFlag = 0xaa55;
constexpr uint32_t kHeaderMagic = 0x5372'6448;  // "HdrS"
constexpr uint16_t kProtocolVersion = 0x020f;   // 2.15
constexpr uint8_t kUnregisteredLoader = 0xff;
constexpr uint32_t kKernelAlignment = 2U << 20;

/// Where the setup header's own fields end and boot_params uses the bytes for something else.
constexpr size_t kHeaderRoom = offsetof(boot_params, edd_mbr_sig_buffer) - offsetof(boot_params, hdr);

void take_header(boot_params& params, const std::vector<std::byte>& header) {
    if (header.empty()) {
        params.hdr.boot_flag = kBootFlag;
        params.hdr.header = kHeaderMagic;
        params.hdr.version = kProtocolVersion;
        params.hdr.kernel_alignment = kKernelAlignment;
        return;
    }
    std::memcpy(&params.hdr, header.data(), std::min(header.size(), kHeaderRoom));
}

void take_initramfs(boot_params& params, const GuestRange& range) {
    const uint64_t start = raw(range.start());
    params.hdr.ramdisk_image = static_cast<uint32_t>(start);
    params.ext_ramdisk_image = static_cast<uint32_t>(start >> 32);
    params.hdr.ramdisk_size = static_cast<uint32_t>(range.size());
    params.ext_ramdisk_size = static_cast<uint32_t>(range.size() >> 32);
}

void take_memory_map(boot_params& params, const std::vector<MemoryMapEntry>& map) {
    if (map.size() > std::size(params.e820_table)) {
        throw std::logic_error{"more memory ranges than boot_params has room for"};
    }
    params.e820_entries = static_cast<uint8_t>(map.size());
    for (size_t i = 0; i < map.size(); ++i) {
        params.e820_table[i] = {.addr = raw(map[i].range.start()),
                                .size = map[i].range.size(),
                                .type = static_cast<uint32_t>(map[i].type)};
    }
}

}  // namespace

boot_params make_zero_page(const BootInformation& information, const LoadedKernel& kernel,
                           std::optional<GuestAddress> setup_data, bool legacy_free) {
    boot_params params{};
    take_header(params, kernel.setup_header);
    params.hdr.type_of_loader = kUnregisteredLoader;
    params.hdr.loadflags |= LOADED_HIGH;
    params.hdr.loadflags &= static_cast<uint8_t>(~KASLR_FLAG);
    if (kernel.randomized) {
        params.hdr.loadflags |= KASLR_FLAG;
    }
    if (legacy_free) {
        // The only board that Linux knows as a PC without a PC's legacy devices. A 64-bit kernel draws no
        // other conclusion from it (arch/x86/kernel/platform-quirks.c).
        params.hdr.hardware_subarch = X86_SUBARCH_CE4100;
    }
    params.hdr.cmd_line_ptr = static_cast<uint32_t>(raw(information.cmdline));
    params.ext_cmd_line_ptr = static_cast<uint32_t>(raw(information.cmdline) >> 32);
    params.hdr.setup_data = setup_data ? raw(*setup_data) : 0;
    // Kernels older than protocol 2.14 do not know this field, never look at it, and search for the RSDP.
    params.acpi_rsdp_addr = information.rsdp ? raw(*information.rsdp) : 0;
    if (information.initramfs) {
        take_initramfs(params, *information.initramfs);
    }
    take_memory_map(params, information.memory_map);
    return params;
}

GuestAddress write_setup_data(GuestMemory& memory, const GuestRange& room, uint32_t type,
                              std::span<const std::byte> payload, std::optional<GuestAddress> next) {
    setup_data node{};
    node.next = next ? raw(*next) : 0;
    node.type = type;
    node.len = static_cast<uint32_t>(payload.size());
    const GuestAddress behind{raw(room.start()) + sizeof(node)};
    if (sizeof(node) + payload.size() > room.size() || !memory.write(room.start(), node) ||
        !memory.write_bytes(behind, payload)) {
        throw std::logic_error{"no room for a node of the setup_data list"};
    }
    return room.start();
}

}  // namespace hull::boot::x86
