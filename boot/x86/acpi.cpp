#include "boot/x86/acpi.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "boot/x86/dsdt.h"

namespace hull::boot::x86 {

namespace {

/// ACPI 6.5, 5.2.6 "System Description Table Header"
struct [[gnu::packed]] TableHeader {
    char signature[4];
    uint32_t length;
    uint8_t revision;
    uint8_t checksum;
    char oem_id[6];
    char oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
};
static_assert(sizeof(TableHeader) == 36);

/// ACPI 6.5, 5.2.3.2 "Generic Address Structure"
struct [[gnu::packed]] GenericAddress {
    uint8_t space = 0;  ///< 0 is memory, 1 is ports
    uint8_t bit_width = 0;
    uint8_t bit_offset = 0;
    uint8_t access_size = 0;  ///< 1 is bytes
    uint64_t address = 0;
};
static_assert(sizeof(GenericAddress) == 12);

/// ACPI 6.5, 5.2.5.3 "Root System Description Pointer (RSDP) Structure"
struct [[gnu::packed]] RootPointer {
    char signature[8];
    uint8_t checksum;  ///< of the first 20 bytes
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t reserved[3];
};
static_assert(sizeof(RootPointer) == 36);

/// ACPI 6.5, 5.2.9 "Fixed ACPI Description Table (FADT)". What hardware-reduced machines leave zero has no
/// name here.
struct [[gnu::packed]] FixedDescription {
    uint8_t ignored1[73];  ///< from offset 36: FACS, DSDT (32 bits), SCI, SMI, event, timer, and GPE blocks
    uint16_t boot_architecture;
    uint8_t reserved;
    uint32_t flags;
    GenericAddress reset_register;
    uint8_t reset_value;
    uint16_t arm_boot_architecture;
    uint8_t minor_version;
    uint64_t facs;
    uint64_t dsdt;
    GenericAddress ignored2[8];
    GenericAddress sleep_control;
    GenericAddress sleep_status;
    uint8_t hypervisor[8];
};
static_assert(sizeof(TableHeader) + sizeof(FixedDescription) == 276);

/// ACPI 6.5, table 5.9 "Fixed ACPI Description Table Fixed Feature Flags"
enum FixedFeature : uint32_t {
    kWbinvdWorks = 1U << 0,
    kNoFixedPowerButton = 1U << 4,
    kNoFixedSleepButton = 1U << 5,
    kResetRegister = 1U << 10,
    kHardwareReduced = 1U << 20,
};

/// ACPI 6.5, table 5.10 "Fixed ACPI Description Table Boot IA-PC Boot Architecture Flags". Bit 1, an 8042
/// keyboard controller, stays clear: a guest that believes in one waits for its answers.
enum BootArchitecture : uint16_t {
    kNoVga = 1U << 2,
    kNoCmosClock = 1U << 5,
};

/// ACPI 6.5, 5.2.12 "Multiple APIC Description Table (MADT)", after the header
struct [[gnu::packed]] ApicDescription {
    uint32_t local_apic_address;
    uint32_t flags;  ///< bit 0: there are two 8259 as well
};

/// ACPI 6.5, 5.2.12.2 "Processor Local APIC Structure"
struct [[gnu::packed]] LocalApic {
    uint8_t type = 0;
    uint8_t length = 8;
    uint8_t processor_uid;
    uint8_t apic_id;
    uint32_t flags = 1;  ///< enabled
};
static_assert(sizeof(LocalApic) == 8);

/// ACPI 6.5, 5.2.12.3 "I/O APIC Structure"
struct [[gnu::packed]] IoApic {
    uint8_t type = 1;
    uint8_t length = 12;
    uint8_t id = kIoApicId;
    uint8_t reserved = 0;
    uint32_t address = kIoApicAddress;
    uint32_t first_gsi = 0;
};
static_assert(sizeof(IoApic) == 12);

/// PCI Firmware Specification 3.2, 4.1.2 "MCFG Table", after the header: one range of buses
struct [[gnu::packed]] PciConfigurationDescription {
    uint64_t reserved1 = 0;
    uint64_t base_address;  ///< where bus 0 would be
    uint16_t segment = 0;
    uint8_t first_bus = 0;
    uint8_t last_bus = 0;
    uint32_t reserved2 = 0;
};
static_assert(sizeof(PciConfigurationDescription) == 24);

using Bytes = std::vector<std::byte>;

template <typename T>
void append(Bytes& bytes, const T& value) {
    const auto view = std::as_bytes(std::span{&value, 1});
    bytes.insert(bytes.end(), view.begin(), view.end());
}

/// What must be added to the bytes for their sum to be zero.
uint8_t checksum(std::span<const std::byte> bytes) {
    uint8_t sum = 0;
    for (const std::byte byte : bytes) {
        sum = static_cast<uint8_t>(sum + std::to_integer<uint8_t>(byte));
    }
    return static_cast<uint8_t>(-sum);
}

template <size_t N>
void fill(char (&field)[N], std::string_view text) {
    std::copy_n(text.begin(), std::min(N, text.size()), field);
}

Bytes table(std::string_view signature, uint8_t revision, const Bytes& body) {
    TableHeader header{};
    fill(header.signature, signature);
    header.length = static_cast<uint32_t>(sizeof(header) + body.size());
    header.revision = revision;
    fill(header.oem_id, "HULL  ");
    fill(header.oem_table_id, "HULLVMM ");
    header.oem_revision = 1;
    fill(header.creator_id, "HULL");
    header.creator_revision = 1;
    Bytes bytes;
    append(bytes, header);
    bytes.insert(bytes.end(), body.begin(), body.end());
    bytes[offsetof(TableHeader, checksum)] = std::byte{checksum(bytes)};
    return bytes;
}

const DeviceNode* find(const Platform& platform, DeviceKind kind) {
    const auto found = std::find_if(platform.devices.begin(), platform.devices.end(),
                                    [kind](const DeviceNode& node) { return node.kind == kind; });
    return found == platform.devices.end() ? nullptr : &*found;
}

GenericAddress byte_register(const DeviceNode& node, uint64_t offset) {
    GenericAddress address;
    address.space = node.space == AddressSpace::memory ? 0 : 1;
    address.bit_width = 8;
    address.access_size = 1;
    address.address = raw(node.range.start()) + offset;
    return address;
}

Bytes fixed_description(const Platform& platform, GuestAddress dsdt) {
    FixedDescription fadt{};
    fadt.minor_version = 5;
    fadt.dsdt = raw(dsdt);
    fadt.flags = kWbinvdWorks | kNoFixedPowerButton | kNoFixedSleepButton | kHardwareReduced;
    fadt.boot_architecture = kNoVga;
    if (find(platform, DeviceKind::rtc) == nullptr) {
        fadt.boot_architecture |= kNoCmosClock;
    }
    if (const DeviceNode* power = find(platform, DeviceKind::power)) {
        fadt.flags |= kResetRegister;
        fadt.reset_register = byte_register(*power, power_registers::kReset);
        fadt.reset_value = power_registers::kResetValue;
        fadt.sleep_control = byte_register(*power, power_registers::kSleepControl);
        fadt.sleep_status = byte_register(*power, power_registers::kSleepStatus);
    }
    Bytes body;
    append(body, fadt);
    return table("FACP", 6, body);
}

Bytes apic_description(const Platform& platform) {
    Bytes body;
    append(body, ApicDescription{.local_apic_address = kLocalApicAddress, .flags = 0});
    for (uint32_t cpu = 0; cpu < platform.cpus; ++cpu) {
        append(body,
               LocalApic{.processor_uid = static_cast<uint8_t>(cpu), .apic_id = static_cast<uint8_t>(cpu)});
    }
    append(body, IoApic{});
    return table("APIC", 5, body);
}

Bytes root_pointer(GuestAddress xsdt) {
    RootPointer rsdp{};
    fill(rsdp.signature, "RSD PTR ");
    fill(rsdp.oem_id, "HULL  ");
    rsdp.revision = 2;
    rsdp.length = sizeof(rsdp);
    rsdp.xsdt = raw(xsdt);
    const auto bytes = std::as_bytes(std::span{&rsdp, 1});
    rsdp.checksum = checksum(bytes.first(offsetof(RootPointer, length)));
    rsdp.extended_checksum = checksum(bytes);
    return {bytes.begin(), bytes.end()};
}

/// Tables one after another, each at a multiple of 16, with room for the root pointer before them.
class TableArea {
  public:
    explicit TableArea(GuestAddress base) : base_{base} {}

    GuestAddress add(const Bytes& table_bytes) {
        bytes_.resize((bytes_.size() + 15) / 16 * 16);
        const GuestAddress address{raw(base_) + bytes_.size()};
        bytes_.insert(bytes_.end(), table_bytes.begin(), table_bytes.end());
        return address;
    }
    Bytes finish(const Bytes& root) && {
        std::copy(root.begin(), root.end(), bytes_.begin());
        return std::move(bytes_);
    }

  private:
    GuestAddress base_;
    Bytes bytes_ = Bytes(sizeof(RootPointer));
};

}  // namespace

std::vector<std::byte> acpi_tables(const Platform& platform, GuestAddress base) {
    if (platform.cpus == 0 || platform.cpus > kIoApicId) {
        throw std::logic_error{"ACPI tables for a number of CPUs that is not 1 to 254"};
    }
    TableArea area{base};
    const GuestAddress dsdt = area.add(table("DSDT", 2, dsdt_body(platform)));
    Bytes entries;
    append(entries, raw(area.add(fixed_description(platform, dsdt))));
    append(entries, raw(area.add(apic_description(platform))));
    if (platform.pci) {
        Bytes body;
        append(body, PciConfigurationDescription{.base_address = raw(platform.pci->configuration.start())});
        append(entries, raw(area.add(table("MCFG", 1, body))));
    }
    const GuestAddress xsdt = area.add(table("XSDT", 1, entries));
    return std::move(area).finish(root_pointer(xsdt));
}

}  // namespace hull::boot::x86
