#include "boot/x86/dsdt.h"

#include <array>
#include <stdexcept>
#include <string>
#include <string_view>

namespace hull::boot::x86 {

namespace {

using aml::Term;

Term registers(const DeviceNode& node) {
    const uint64_t start = raw(node.range.start());
    const uint64_t size = node.range.size();
    if (node.space == AddressSpace::port) {
        if (raw(node.range.last()) > UINT16_MAX || size > UINT8_MAX) {
            throw std::logic_error{"a device's ports do not fit into an ACPI port descriptor"};
        }
        return aml::io_ports(static_cast<uint16_t>(start), static_cast<uint8_t>(size));
    }
    if (raw(node.range.last()) > UINT32_MAX) {
        throw std::logic_error{"a device's registers lie above 4 GiB"};
    }
    return aml::memory32_fixed(static_cast<uint32_t>(start), static_cast<uint32_t>(size));
}

Term resources(const DeviceNode& node) {
    const Term interrupt = node.interrupt ? aml::edge_interrupt(*node.interrupt) : Term{};
    return aml::name("_CRS", aml::resource_template({registers(node), interrupt}));
}

/// A device that needs no more than its identity and its resources. `prefix` has two letters.
Term plain_device(std::string_view prefix, size_t number, const Term& hardware_id, const DeviceNode& node) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    const std::string object = std::string{prefix} + kDigits.at(number >> 4) + kDigits.at(number & 0xf);
    return aml::device(
        object, {aml::name("_HID", hardware_id), aml::name("_UID", aml::integer(number)), resources(node)});
}

/// The power button, and the generic event device (ACPI 6.5, 5.6.9) whose method asks which events have come.
Term event_device(const DeviceNode& node) {
    using namespace power_registers;
    constexpr uint64_t kButtonPressed = 0x80;
    const auto events =
        GuestRange::make(GuestAddress{raw(node.range.start()) + kEvents}, sizeof(uint32_t)).value();
    const Term button = aml::device("PWRB", {aml::name("_HID", aml::eisa_id("PNP0C0C"))});
    const Term device = aml::device(
        "GED_", {aml::name("_HID", aml::string("ACPI0013")),
                 aml::name("_CRS", aml::resource_template({aml::edge_interrupt(node.interrupt.value())})),
                 aml::operation_region("REGS", node.space, events), aml::dword_field("REGS", "EVTS", 32),
                 aml::method("_EVT", 1,
                             // Read once: the register is cleared by it.
                             {aml::store(aml::path("EVTS"), aml::local(0)),
                              aml::if_nonzero(aml::bit_and(aml::local(0), aml::integer(kEventPowerButton)),
                                              {aml::notify("\\_SB_.PWRB", kButtonPressed)})})});
    return aml::join({button, device});
}

Term device(const DeviceNode& node, size_t number) {
    switch (node.kind) {
        case DeviceKind::serial:
            return plain_device("UA", number, aml::eisa_id("PNP0501"), node);
        case DeviceKind::rtc:
            return plain_device("RT", number, aml::eisa_id("PNP0B00"), node);
        case DeviceKind::pvpanic:
            return plain_device("PV", number, aml::string("QEMU0001"), node);
        case DeviceKind::virtio_mmio:
            return plain_device("VR", number, aml::string("LNRO0005"), node);
        case DeviceKind::power:
            return node.interrupt ? event_device(node) : Term{};
    }
    throw std::logic_error{"a device of unknown kind"};
}

/// PCI Firmware Specification 3.2, 4.1.2 and 4.1.3. Without interrupts: its functions have messages only.
Term pci_host(const PciHost& host) {
    const auto start = static_cast<uint32_t>(raw(host.window.start()));
    const auto size = static_cast<uint32_t>(host.window.size());
    return aml::device(
        "PCI0", {aml::name("_HID", aml::eisa_id("PNP0A08")), aml::name("_CID", aml::eisa_id("PNP0A03")),
                 aml::name("_UID", aml::integer(0)), aml::name("_SEG", aml::integer(0)),
                 aml::name("_BBN", aml::integer(0)),
                 aml::name("_CRS", aml::resource_template(
                                       {aml::bus_numbers(0, 0), aml::memory32_window(start, size)}))});
}

}  // namespace

aml::Term dsdt_body(const Platform& platform) {
    std::vector<Term> devices;
    Term sleep;
    std::array<size_t, 256> seen{};
    for (const DeviceNode& node : platform.devices) {
        devices.push_back(device(node, seen.at(static_cast<size_t>(node.kind))++));
        if (node.kind == DeviceKind::power) {
            // Both values are for register pairs; hardware-reduced machines have one register and use the
            // first.
            const Term type = aml::integer(power_registers::kSleepTypeOff);
            sleep = aml::name("\\_S5_", aml::package({type, type}));
        }
    }
    if (platform.pci) {
        devices.push_back(pci_host(*platform.pci));
    }
    return aml::join({sleep, aml::scope("\\_SB_", devices)});
}

}  // namespace hull::boot::x86
