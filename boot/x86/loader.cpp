#include "boot/x86/loader.h"

#include <algorithm>
#include <array>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/error.h"
#include "boot/image/kernel_image.h"
#include "boot/x86/acpi.h"
#include "boot/x86/boot_information.h"
#include "boot/x86/device_tree.h"
#include "boot/x86/entry.h"
#include "boot/x86/initramfs.h"
#include "boot/x86/layout.h"
#include "boot/x86/pvh.h"
#include "boot/x86/zero_page.h"

namespace hull::boot::x86 {

namespace {

/// Whether `word` stands on the command line by itself, as the kernel's cmdline_find_option_bool() looks for
/// it.
bool has_word(std::string_view cmdline, std::string_view word) {
    constexpr std::string_view kSpace = " \t\n\v\f\r";
    while (!cmdline.empty()) {
        const size_t start = std::min(cmdline.find_first_not_of(kSpace), cmdline.size());
        cmdline.remove_prefix(start);
        const size_t length = std::min(cmdline.find_first_of(kSpace), cmdline.size());
        if (cmdline.substr(0, length) == word) {
            return true;
        }
        cmdline.remove_prefix(length);
    }
    return false;
}

std::string quoted(const InputFile& file) {
    return "'" + file.path.string() + "'";
}

void put(GuestMemory& memory, const GuestRange& room, std::span<const std::byte> bytes) {
    if (bytes.size() > room.size() || !memory.write_bytes(room.start(), bytes)) {
        throw std::logic_error{"boot data does not fit into its place in the first MiB"};
    }
}

void check_kernel_place(const BootSources& sources, const LoadedKernel& kernel, const GuestMemory& memory) {
    const uint64_t start = raw(kernel.occupied.start());
    if (start < layout::kOneMiB) {
        throw Error{ExitStatus::bad_file, "cannot boot kernel " + quoted(sources.kernel),
                    "it wants to be at address " + std::to_string(start) +
                        ", within the first MiB, which holds the boot data"};
    }
    if (!memory.regions().front().range.contains(kernel.occupied)) {
        throw Error{ExitStatus::no_resources, "cannot boot kernel " + quoted(sources.kernel),
                    "it needs memory up to address " + std::to_string(raw(kernel.occupied.last())) +
                        " and the guest's ends at " + std::to_string(memory.regions().front().range.size()),
                    "give the guest more memory (--memory)"};
    }
}

/// Zero-terminated, since memory is zeros and one byte of the room stays free.
void load_cmdline(const BootSources& sources, const LoadedKernel& kernel, GuestMemory& memory) {
    const std::string_view cmdline = sources.cmdline;
    const uint64_t limit = std::min<uint64_t>(kernel.cmdline_limit, layout::kCommandLine.size() - 1);
    if (cmdline.size() > limit) {
        throw Error{ExitStatus::usage, "cannot pass the command line to kernel " + quoted(sources.kernel),
                    "it is " + std::to_string(cmdline.size()) + " bytes long and this kernel takes at most " +
                        std::to_string(limit),
                    "shorten it"};
    }
    if (cmdline.find('\0') != std::string_view::npos) {
        throw Error{ExitStatus::usage, "cannot pass the command line to kernel " + quoted(sources.kernel),
                    "there is a zero byte in it"};
    }
    put(memory, layout::kCommandLine, std::as_bytes(std::span{cmdline}));
}

/// The list of setup_data nodes for the boot protocol of Linux.
std::optional<GuestAddress> load_setup_data(const BootSources& sources, const Platform& platform,
                                            GuestMemory& memory) {
    std::optional<GuestAddress> first;
    if (sources.tables == PlatformTables::fdt) {
        first = write_setup_data(memory, layout::kDeviceTree, SETUP_DTB, device_tree(platform), first);
    }
    if (sources.random_seed) {
        first = write_setup_data(memory, layout::kRandomSeed, SETUP_RNG_SEED, *sources.random_seed, first);
    }
    return first;
}

void load_zero_page(const BootSources& sources, const Platform& platform, const BootInformation& information,
                    const LoadedKernel& kernel, GuestMemory& memory) {
    const auto setup_data = load_setup_data(sources, platform, memory);
    const boot_params params =
        make_zero_page(information, kernel, setup_data, sources.tables == PlatformTables::fdt);
    put(memory, layout::kBootData, std::as_bytes(std::span{&params, 1}));
}

/// A kernel built for EFI, as Debian's, restarts a hardware-reduced machine by EFI, and where there is none
/// by jumping to the BIOS (Linux, arch/x86/kernel/reboot.c, reboot_init()); it never comes to the reset
/// register of ACPI. So there is a BIOS of three instructions, which pulls the reset line of a PC's keyboard
/// controller.
void load_reset_vector(GuestMemory& memory) {
    constexpr std::array kPullResetLine = {
        std::byte{0xb0}, std::byte{0xfe},  // mov al, 0xfe
        std::byte{0xe6}, std::byte{0x64},  // out 0x64, al
        std::byte{0xf4},                   // hlt
        std::byte{0xeb}, std::byte{0xfd},  // jmp to the hlt
    };
    put(memory, layout::kResetVector, kPullResetLine);
}

EntryState prepare_processor(const LoadedKernel& kernel, GuestMemory& memory) {
    EntryState state;
    state.mode = kernel.protocol == EntryProtocol::pvh ? EntryState::Mode::protected_mode
                                                       : EntryState::Mode::long_mode;
    state.instruction_pointer = raw(kernel.entry);
    state.boot_data = raw(layout::kBootData.start());
    state.stack_pointer = raw(layout::kStack.last()) + 1;

    const auto descriptors = descriptor_table(state.mode);
    put(memory, layout::kGdt, descriptors);
    state.gdt = raw(layout::kGdt.start());
    state.gdt_limit = static_cast<uint16_t>(descriptors.size() - 1);

    if (state.mode == EntryState::Mode::long_mode) {
        // All of low memory, so that a kernel which unpacks itself finds every place that it may choose.
        put(memory, layout::kPageTables,
            identity_map(layout::kPageTables.start(), memory.regions().front().range.size()));
        state.page_table = raw(layout::kPageTables.start());
    }
    return state;
}

}  // namespace

std::vector<GuestRange> memory_layout(uint64_t bytes) {
    if (bytes <= kLowMemoryEnd) {
        return {GuestRange::of(0, bytes)};
    }
    return {GuestRange::of(0, kLowMemoryEnd), GuestRange::of(kHighMemoryStart, bytes - kLowMemoryEnd)};
}

EntryState load(const BootSources& sources, const Platform& platform, GuestMemory& memory) {
    const LoadOptions options{.randomize = !has_word(sources.cmdline, "nokaslr"),
                              .allow_pvh = sources.tables == PlatformTables::acpi,
                              .initramfs_size = initramfs_room(sources.initramfs),
                              .entropy = sources.kernel_place};
    const LoadedKernel kernel = load_kernel(sources.kernel, memory, options);
    check_kernel_place(sources, kernel, memory);
    load_cmdline(sources, kernel, memory);

    BootInformation information;
    information.cmdline = layout::kCommandLine.start();
    information.initramfs = load_initramfs(sources.initramfs, kernel, memory);
    information.memory_map = memory_map(platform, sources.tables);
    if (sources.tables == PlatformTables::acpi) {
        put(memory, layout::kAcpiTables, acpi_tables(platform, layout::kAcpiTables.start()));
        information.rsdp = layout::kAcpiTables.start();
    }
    load_reset_vector(memory);
    if (kernel.protocol == EntryProtocol::pvh) {
        put(memory, layout::kBootData, make_start_info(information, layout::kBootData.start()));
    } else {
        load_zero_page(sources, platform, information, kernel, memory);
    }
    return prepare_processor(kernel, memory);
}

}  // namespace hull::boot::x86
