#include "boot/x86/acpi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>

#include "boot/x86/aml.h"
#include "boot/x86/layout.h"

namespace hull::boot::x86 {
namespace {

using Bytes = std::vector<std::byte>;

constexpr DeviceNode kSerial{DeviceKind::serial, AddressSpace::port, GuestRange::of(0x3f8, 8), 4};
constexpr DeviceNode kRtc{DeviceKind::rtc, AddressSpace::port, GuestRange::of(0x70, 2), 8};
constexpr DeviceNode kPower{DeviceKind::power, AddressSpace::memory, GuestRange::of(0xd000'0000, 0x10), 5};
constexpr DeviceNode kPvpanic{DeviceKind::pvpanic, AddressSpace::memory, GuestRange::of(0xd000'1000, 1), {}};

Platform platform(uint32_t cpus, std::vector<DeviceNode> devices) {
    return {.cpus = cpus, .memory = {GuestRange::of(0, 128 << 20)}, .devices = std::move(devices)};
}

Bytes bytes(std::initializer_list<int> values) {
    Bytes all;
    for (const int value : values) {
        all.push_back(static_cast<std::byte>(value));
    }
    return all;
}

/// Reads AML by the specification's lengths alone: fails where a package does not end where its parts end.
class AmlReader {
  public:
    explicit AmlReader(std::span<const std::byte> code) : code_{code} { terms(code.size()); }

    /// Names with the bytes of what they name; devices, scopes, methods and regions with nothing.
    [[nodiscard]] const std::map<std::string, Bytes>& objects() const { return objects_; }

  private:
    uint8_t byte() { return std::to_integer<uint8_t>(code_[at_++]); }

    size_t package_end() {
        const size_t start = at_;
        const uint8_t lead = byte();
        const unsigned more = lead >> 6;
        size_t length = more == 0 ? lead : lead & 0xf;
        for (unsigned i = 0; i < more; ++i) {
            length |= size_t{byte()} << (4 + 8 * i);
        }
        if (start + length > code_.size()) {
            throw std::runtime_error{"a package ends behind the table"};
        }
        return start + length;
    }

    std::string name() {
        std::string text;
        if (code_[at_] == std::byte{'\\'}) {
            text += static_cast<char>(byte());
        }
        size_t segments = 1;
        if (code_[at_] == std::byte{0x2e}) {
            segments = (byte(), 2);
        } else if (code_[at_] == std::byte{0x2f}) {
            segments = (byte(), byte());
        }
        for (size_t i = 0; i < 4 * segments; ++i) {
            text += static_cast<char>(byte());
        }
        return text;
    }

    void terms(size_t end) {
        while (at_ < end) {
            term();
        }
        if (at_ != end) {
            throw std::runtime_error{"a package ends within one of its parts"};
        }
    }

    void extended() {
        const uint8_t opcode = byte();
        if (opcode == 0x82) {
            const size_t end = package_end();
            nested(name(), end);
        } else if (opcode == 0x80) {
            objects_[prefix_ + name()] = {};
            byte();
            term();
            term();
        } else if (opcode == 0x81) {
            const size_t end = package_end();
            name();
            byte();
            name();
            package_end();
            if (at_ != end) {
                throw std::runtime_error{"a field list has another end"};
            }
        } else {
            throw std::runtime_error{"unknown extended opcode " + std::to_string(opcode)};
        }
    }

    void nested(const std::string& object, size_t end) {
        const std::string outer = prefix_;
        prefix_ += object + "/";
        objects_[prefix_] = {};
        terms(end);
        prefix_ = outer;
    }

    void term() {
        const uint8_t opcode = byte();
        switch (opcode) {
            case 0x00:
            case 0x01:
            case 0x60:
                return;
            case 0x0a:
                at_ += 1;
                return;
            case 0x0b:
                at_ += 2;
                return;
            case 0x0c:
                at_ += 4;
                return;
            case 0x0d:
                while (byte() != 0) {
                }
                return;
            case 0x0e:
                at_ += 8;
                return;
            case 0x08: {
                const std::string object = prefix_ + name();
                const size_t start = at_;
                term();
                objects_[object] = {code_.begin() + static_cast<ptrdiff_t>(start),
                                    code_.begin() + static_cast<ptrdiff_t>(at_)};
                return;
            }
            case 0x10: {
                const size_t end = package_end();
                return nested(name(), end);
            }
            case 0x11: {
                const size_t end = package_end();
                term();
                at_ = end;
                return;
            }
            case 0x12: {
                const size_t end = package_end();
                byte();
                return terms(end);
            }
            case 0x14: {
                const size_t end = package_end();
                const std::string object = name();
                byte();
                return nested(object, end);
            }
            case 0x5b:
                return extended();
            case 0x70:
            case 0x7b: {
                term();
                term();
                if (opcode == 0x7b) {
                    term();
                }
                return;
            }
            case 0x86:
                name();
                return term();
            case 0xa0: {
                const size_t end = package_end();
                return terms(end);
            }
            default:
                --at_;
                name();  // an object by its name
        }
    }

    std::span<const std::byte> code_;
    size_t at_ = 0;
    std::string prefix_;
    std::map<std::string, Bytes> objects_;
};

/// Tables found as a guest finds them: from the RSDP by addresses.
class Tables {
  public:
    explicit Tables(const Platform& machine) : bytes_{acpi_tables(machine, layout::kAcpiTables.start())} {
        EXPECT_EQ(text(0, 8), "RSD PTR ");
        EXPECT_EQ(sum(0, 20), 0);
        EXPECT_EQ(sum(0, at<uint32_t>(20)), 0);
        EXPECT_EQ(at<uint8_t>(15), 2) << "revision";
        const size_t xsdt = add(at<uint64_t>(24));
        const size_t end = xsdt + at<uint32_t>(xsdt + 4);
        for (size_t entry = xsdt + 36; entry < end; entry += 8) {
            add(at<uint64_t>(entry));
        }
        add(at<uint64_t>(offset("FACP") + 140));
    }

    [[nodiscard]] size_t size() const { return bytes_.size(); }
    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const auto& [name, start] : offsets_) {
            all.push_back(name);
        }
        return all;
    }
    [[nodiscard]] size_t offset(const std::string& name) const { return offsets_.at(name); }
    [[nodiscard]] size_t length(const std::string& name) const { return at<uint32_t>(offset(name) + 4); }
    template <typename T>
    [[nodiscard]] T field(const std::string& name, size_t field_offset) const {
        return at<T>(offset(name) + field_offset);
    }
    [[nodiscard]] std::map<std::string, Bytes> objects() const {
        const size_t start = offset("DSDT");
        return AmlReader{std::span{bytes_}.subspan(start + 36, length("DSDT") - 36)}.objects();
    }

  private:
    template <typename T>
    [[nodiscard]] T at(size_t position) const {
        T value;
        std::memcpy(&value, std::span{bytes_}.subspan(position, sizeof value).data(), sizeof value);
        return value;
    }
    [[nodiscard]] std::string text(size_t position, size_t size) const {
        return {reinterpret_cast<const char*>(bytes_.data()) + position, size};
    }
    [[nodiscard]] uint8_t sum(size_t position, size_t size) const {
        const auto part = std::span{bytes_}.subspan(position, size);
        return std::accumulate(part.begin(), part.end(), uint8_t{0}, [](uint8_t total, std::byte byte) {
            return static_cast<uint8_t>(total + std::to_integer<uint8_t>(byte));
        });
    }
    size_t add(uint64_t address) {
        const size_t position = address - raw(layout::kAcpiTables.start());
        EXPECT_EQ(position % 4, 0U);
        EXPECT_EQ(sum(position, at<uint32_t>(position + 4)), 0) << text(position, 4);
        offsets_[text(position, 4)] = position;
        return position;
    }

    Bytes bytes_;
    std::map<std::string, size_t> offsets_;
};

TEST(Acpi, tables_are_linked_and_nothing_else_is_there) {
    const Tables tables{platform(1, {kSerial, kRtc, kPower, kPvpanic})};
    EXPECT_THAT(tables.names(), testing::ElementsAre("APIC", "DSDT", "FACP", "XSDT"));
    EXPECT_EQ(tables.length("FACP"), 276U);
    EXPECT_EQ(tables.field<uint8_t>("FACP", 8), 6) << "FADT's revision";
}

TEST(Acpi, fixed_description_says_what_is_missing) {
    const Tables with_clock{platform(1, {kRtc, kPower})};
    // WBINVD, no fixed power button, no fixed sleep button, reset register, hardware-reduced
    EXPECT_EQ(with_clock.field<uint32_t>("FACP", 112), 1U | 1U << 4 | 1U << 5 | 1U << 10 | 1U << 20);
    EXPECT_EQ(with_clock.field<uint16_t>("FACP", 109), 1U << 2) << "no VGA; a clock";
    const Tables without{platform(1, {})};
    EXPECT_EQ(without.field<uint32_t>("FACP", 112), 1U | 1U << 4 | 1U << 5 | 1U << 20);
    EXPECT_EQ(without.field<uint16_t>("FACP", 109), 1U << 2 | 1U << 5) << "no VGA; no clock";
}

TEST(Acpi, power_registers_are_bytes_in_the_space_of_the_node) {
    const Tables memory{platform(1, {kPower})};
    DeviceNode ports = kPower;
    ports.space = AddressSpace::port;
    ports.range = GuestRange::of(0x600, 0x10);
    const Tables port{platform(1, {ports})};
    for (const auto& [offset, reg] : {std::pair{116, 8}, {244, 0}, {256, 4}}) {
        const auto at = static_cast<size_t>(offset);
        EXPECT_EQ(memory.field<uint32_t>("FACP", at), 0x0100'0800U) << "memory, 8 bits, byte access";
        EXPECT_EQ(memory.field<uint64_t>("FACP", at + 4), 0xd000'0000U + static_cast<uint64_t>(reg));
        EXPECT_EQ(port.field<uint32_t>("FACP", at), 0x0100'0801U);
        EXPECT_EQ(port.field<uint64_t>("FACP", at + 4), 0x600U + static_cast<uint64_t>(reg));
    }
    EXPECT_EQ(memory.field<uint8_t>("FACP", 128), power_registers::kResetValue);
}

TEST(Acpi, every_cpu_has_a_local_apic_and_the_io_apic_another_id) {
    for (const uint32_t cpus : {1U, 2U, 254U}) {
        const Tables tables{platform(cpus, {})};
        EXPECT_LE(tables.size(), layout::kAcpiTables.size());
        EXPECT_EQ(tables.length("APIC"), 44U + cpus * 8 + 12);
        for (uint32_t cpu = 0; cpu < cpus; ++cpu) {
            const size_t entry = 44 + cpu * 8;
            EXPECT_EQ(tables.field<uint16_t>("APIC", entry), 0x0800) << "type 0, 8 bytes";
            EXPECT_EQ(tables.field<uint8_t>("APIC", entry + 2), cpu);
            EXPECT_EQ(tables.field<uint8_t>("APIC", entry + 3), cpu);
            EXPECT_EQ(tables.field<uint32_t>("APIC", entry + 4), 1U) << "enabled";
        }
        const size_t entry = 44 + cpus * 8;
        EXPECT_EQ(tables.field<uint16_t>("APIC", entry), 0x0c01) << "type 1, 12 bytes";
        EXPECT_EQ(tables.field<uint8_t>("APIC", entry + 2), 254);
        EXPECT_EQ(tables.field<uint32_t>("APIC", entry + 4), 0xfec0'0000U);
        EXPECT_EQ(tables.field<uint32_t>("APIC", entry + 8), 0U);
    }
    EXPECT_THROW(Tables{platform(0, {})}, std::logic_error);
    EXPECT_THROW(Tables{platform(255, {})}, std::logic_error);
}

TEST(Acpi, devices_are_objects_with_identities_and_resources) {
    DeviceNode second = kSerial;
    second.range = GuestRange::of(0x2f8, 8);
    second.interrupt = 3;
    const DeviceNode virtio{DeviceKind::virtio_mmio, AddressSpace::memory,
                            GuestRange::of(0xd000'2000, 0x1000), 11};
    const auto objects = Tables{platform(1, {kSerial, second, kRtc, kPower, kPvpanic, virtio})}.objects();
    const auto identity = [&](const std::string& device) { return objects.at("\\_SB_/" + device + "/_HID"); };
    EXPECT_EQ(identity("UA00"), aml::eisa_id("PNP0501"));
    EXPECT_EQ(identity("UA01"), aml::eisa_id("PNP0501"));
    EXPECT_EQ(identity("RT00"), aml::eisa_id("PNP0B00"));
    EXPECT_EQ(identity("PWRB"), aml::eisa_id("PNP0C0C"));
    EXPECT_EQ(identity("GED_"), aml::string("ACPI0013"));
    EXPECT_EQ(identity("PV00"), aml::string("QEMU0001"));
    EXPECT_EQ(identity("VR00"), aml::string("LNRO0005"));
    EXPECT_EQ(objects.at("\\_SB_/VR00/_CRS"),
              aml::resource_template({aml::memory32_fixed(0xd000'2000, 0x1000), aml::edge_interrupt(11)}));
    EXPECT_EQ(objects.at("\\_SB_/UA01/_UID"), bytes({1}));
    EXPECT_EQ(objects.at("\\_SB_/UA01/_CRS"),
              aml::resource_template({aml::io_ports(0x2f8, 8), aml::edge_interrupt(3)}));
    EXPECT_EQ(objects.at("\\_SB_/PV00/_CRS"), aml::resource_template({aml::memory32_fixed(0xd000'1000, 1)}));
    EXPECT_EQ(objects.at("\\_SB_/GED_/_CRS"), aml::resource_template({aml::edge_interrupt(5)}));
    EXPECT_TRUE(objects.contains("\\_SB_/GED_/_EVT/"));
    EXPECT_EQ(objects.at("\\_S5_"), bytes({0x12, 6, 2, 0x0a, 5, 0x0a, 5}));
}

TEST(Acpi, a_pci_bus_is_told_by_its_windows) {
    EXPECT_FALSE(Tables{platform(1, {})}.objects().contains("\\_SB_/PCI0/"));
    Platform with_pci = platform(1, {});
    with_pci.pci = PciHost{.configuration = GuestRange::of(0xe000'0000, 0x10'0000),
                           .window = GuestRange::of(0xe010'0000, 0x20'0000)};
    const Tables tables{with_pci};
    EXPECT_EQ(tables.length("MCFG"), 60U);
    EXPECT_EQ(tables.field<uint64_t>("MCFG", 44), 0xe000'0000U);
    EXPECT_EQ(tables.field<uint32_t>("MCFG", 52), 0U) << "segment 0, buses 0 to 0";
    const auto objects = tables.objects();
    EXPECT_EQ(objects.at("\\_SB_/PCI0/_HID"), aml::eisa_id("PNP0A08"));
    EXPECT_EQ(objects.at("\\_SB_/PCI0/_CRS"),
              aml::resource_template({aml::bus_numbers(0, 0), aml::memory32_window(0xe010'0000, 0x20'0000)}));
    EXPECT_EQ(aml::bus_numbers(2, 5), bytes({0x88, 13, 0, 2, 12, 0, 0, 0, 2, 0, 5, 0, 0, 0, 4, 0}));
    EXPECT_EQ(aml::memory32_window(0x10, 0x20), bytes({0x87, 23,   0, 0, 12, 1, 0, 0, 0, 0,    0x10, 0, 0,
                                                       0,    0x2f, 0, 0, 0,  0, 0, 0, 0, 0x20, 0,    0, 0}));
}

TEST(Acpi, machine_without_power_registers_cannot_power_off) {
    const auto objects = Tables{platform(1, {kSerial})}.objects();
    EXPECT_FALSE(objects.contains("\\_S5_"));
    EXPECT_FALSE(objects.contains("\\_SB_/GED_/"));
}

TEST(Acpi, what_no_descriptor_can_hold_is_a_defect) {
    DeviceNode high = kPvpanic;
    high.range = GuestRange::of(0x1'0000'0000, 1);
    EXPECT_THROW(Tables{platform(1, {high})}, std::logic_error);
    DeviceNode wide = kSerial;
    wide.range = GuestRange::of(0x1000, 0x100);
    EXPECT_THROW(Tables{platform(1, {wide})}, std::logic_error);
}

// What iasl makes of the same ASL.
TEST(Aml, terms_are_encoded_as_specified) {
    using namespace aml;
    EXPECT_EQ(integer(0), bytes({0x00}));
    EXPECT_EQ(integer(1), bytes({0x01}));
    EXPECT_EQ(integer(0xff), bytes({0x0a, 0xff}));
    EXPECT_EQ(integer(0x100), bytes({0x0b, 0x00, 0x01}));
    EXPECT_EQ(integer(0x1'0000), bytes({0x0c, 0x00, 0x00, 0x01, 0x00}));
    EXPECT_EQ(integer(0x1'0000'0000), bytes({0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
    EXPECT_EQ(eisa_id("PNP0501"), bytes({0x0c, 0x41, 0xd0, 0x05, 0x01}));
    EXPECT_EQ(path("\\_S5"), bytes({'\\', '_', 'S', '5', '_'}));
    EXPECT_EQ(path("A.BC"), bytes({0x2e, 'A', '_', '_', '_', 'B', 'C', '_', '_'}));
    EXPECT_EQ(path("A.B.C"), bytes({0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_', '_', '_'}));
    EXPECT_EQ(resource_template({io_ports(0x3f8, 8), edge_interrupt(4)}),
              bytes({0x11, 0x16, 0x0a, 0x13, 0x47, 0x01, 0xf8, 0x03, 0xf8, 0x03, 0x01, 0x08,
                     0x89, 0x06, 0x00, 0x03, 0x01, 0x04, 0x00, 0x00, 0x00, 0x79, 0x00}));
    EXPECT_EQ(notify("PWRB", 0x80), bytes({0x86, 'P', 'W', 'R', 'B', 0x0a, 0x80}));
}

TEST(Aml, bad_names_are_defects) {
    for (const char* name : {"", "TOOLONG", "A..B", "A.", "\\"}) {
        EXPECT_THROW(aml::path(name), std::invalid_argument) << name;
    }
    EXPECT_THROW(aml::eisa_id("PNP05"), std::invalid_argument);
}

TEST(Aml, package_lengths_grow_by_need_and_count_themselves) {
    for (const size_t size : {0U, 1U, 54U, 55U, 56U, 57U, 58U, 59U, 60U, 4085U, 4086U, 4087U, 4088U, 4089U,
                              4090U, 0x1'0000U, 0xf'fff0U, 0x10'0000U}) {
        const aml::Term term = aml::name("BUFF", aml::buffer(Bytes(size)));
        const AmlReader reader{aml::scope("\\_SB_", {term})};
        EXPECT_EQ(reader.objects().at("\\_SB_/BUFF"), aml::buffer(Bytes(size))) << size;
    }
}

}  // namespace
}  // namespace hull::boot::x86
