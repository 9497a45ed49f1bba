#include "boot/x86/aml.h"

#include <algorithm>
#include <concepts>
#include <initializer_list>
#include <stdexcept>
#include <string>

namespace hull::boot::x86::aml {

namespace {

// ACPI 6.5, 20.3 "AML Byte Stream Byte Values"
constexpr uint8_t kZero = 0x00;
constexpr uint8_t kOne = 0x01;
constexpr uint8_t kName = 0x08;
constexpr uint8_t kBytePrefix = 0x0a;
constexpr uint8_t kWordPrefix = 0x0b;
constexpr uint8_t kDWordPrefix = 0x0c;
constexpr uint8_t kStringPrefix = 0x0d;
constexpr uint8_t kQWordPrefix = 0x0e;
constexpr uint8_t kScope = 0x10;
constexpr uint8_t kBuffer = 0x11;
constexpr uint8_t kPackage = 0x12;
constexpr uint8_t kMethod = 0x14;
constexpr uint8_t kDualNamePrefix = 0x2e;
constexpr uint8_t kMultiNamePrefix = 0x2f;
constexpr uint8_t kExtension = 0x5b;
constexpr uint8_t kRegionAfterExtension = 0x80;
constexpr uint8_t kFieldAfterExtension = 0x81;
constexpr uint8_t kDeviceAfterExtension = 0x82;
constexpr uint8_t kLocal0 = 0x60;
constexpr uint8_t kStore = 0x70;
constexpr uint8_t kAnd = 0x7b;
constexpr uint8_t kNotify = 0x86;
constexpr uint8_t kIf = 0xa0;
constexpr uint8_t kNullName = 0x00;

Term raw_bytes(std::initializer_list<uint8_t> values) {
    Term term;
    for (const uint8_t value : values) {
        term.push_back(std::byte{value});
    }
    return term;
}

template <std::unsigned_integral T>
Term little_endian(T value) {
    Term term;
    for (size_t i = 0; i < sizeof(T); ++i) {
        term.push_back(static_cast<std::byte>(value >> (8 * i)));
    }
    return term;
}

/// PkgLength of a number that is taken as it is (ACPI 6.5, 20.2.4): six bits in one byte, or four and up to
/// three more.
Term package_number(size_t value) {
    if (value < 0x40) {
        return raw_bytes({static_cast<uint8_t>(value)});
    }
    const uint8_t more = value < 0x1000 ? 1 : value < 0x10'0000 ? 2 : 3;
    if (value >= 0x1000'0000) {
        throw std::length_error{"an AML package is too long"};
    }
    Term term = raw_bytes({static_cast<uint8_t>(more << 6 | (value & 0xf))});
    for (unsigned i = 0; i < more; ++i) {
        term.push_back(static_cast<std::byte>(value >> (4 + 8 * i)));
    }
    return term;
}

/// opcode, PkgLength, content; the length counts its own bytes too.
Term packaged(std::initializer_list<uint8_t> opcode, const Term& content) {
    size_t own = 1;
    while (package_number(content.size() + own).size() != own) {
        ++own;
    }
    return join({raw_bytes(opcode), package_number(content.size() + own), content});
}

Term segment(std::string_view text) {
    if (text.empty() || text.size() > 4) {
        throw std::invalid_argument{"an AML name has 1 to 4 letters: " + std::string{text}};
    }
    Term term(4, std::byte{'_'});
    std::transform(text.begin(), text.end(), term.begin(), [](char c) { return static_cast<std::byte>(c); });
    return term;
}

}  // namespace

Term join(const std::vector<Term>& terms) {
    Term all;
    for (const Term& term : terms) {
        all.insert(all.end(), term.begin(), term.end());
    }
    return all;
}

Term path(std::string_view text) {
    Term prefix;
    if (text.starts_with('\\')) {
        prefix = raw_bytes({'\\'});
        text.remove_prefix(1);
    }
    Term segments;
    while (true) {
        const size_t dot = text.find('.');
        const Term next = segment(text.substr(0, dot));
        segments.insert(segments.end(), next.begin(), next.end());
        if (dot == std::string_view::npos) {
            break;
        }
        text.remove_prefix(dot + 1);
    }
    const size_t count = segments.size() / 4;
    if (count > 255) {
        throw std::length_error{"an AML path is too long"};
    }
    const Term counter = count == 1   ? Term{}
                         : count == 2 ? raw_bytes({kDualNamePrefix})
                                      : raw_bytes({kMultiNamePrefix, static_cast<uint8_t>(count)});
    return join({prefix, counter, segments});
}

Term integer(uint64_t value) {
    if (value <= 1) {
        return raw_bytes({value == 0 ? kZero : kOne});
    }
    if (value <= UINT8_MAX) {
        return raw_bytes({kBytePrefix, static_cast<uint8_t>(value)});
    }
    if (value <= UINT16_MAX) {
        return join({raw_bytes({kWordPrefix}), little_endian(static_cast<uint16_t>(value))});
    }
    if (value <= UINT32_MAX) {
        return join({raw_bytes({kDWordPrefix}), little_endian(static_cast<uint32_t>(value))});
    }
    return join({raw_bytes({kQWordPrefix}), little_endian(value)});
}

Term string(std::string_view text) {
    Term term = raw_bytes({kStringPrefix});
    for (const char c : text) {
        term.push_back(static_cast<std::byte>(c));
    }
    term.push_back(std::byte{0});
    return term;
}

Term eisa_id(std::string_view id) {
    if (id.size() != 7) {
        throw std::invalid_argument{"an EISA id has 7 characters: " + std::string{id}};
    }
    uint32_t value = 0;
    for (const char c : id.substr(0, 3)) {
        value = value << 5 | (static_cast<uint32_t>(c - 'A' + 1) & 0x1f);
    }
    value = value << 16 | static_cast<uint32_t>(std::stoul(std::string{id.substr(3)}, nullptr, 16));
    // The one number in ACPI whose bytes are in big-endian order.
    return join({raw_bytes({kDWordPrefix}), little_endian(__builtin_bswap32(value))});
}

Term buffer(const std::vector<std::byte>& bytes) {
    return packaged({kBuffer}, join({integer(bytes.size()), bytes}));
}

Term package(const std::vector<Term>& elements) {
    return packaged({kPackage}, join({raw_bytes({static_cast<uint8_t>(elements.size())}), join(elements)}));
}

Term name(std::string_view object, const Term& value) {
    return join({raw_bytes({kName}), path(object), value});
}

Term scope(std::string_view object, const std::vector<Term>& body) {
    return packaged({kScope}, join({path(object), join(body)}));
}

Term device(std::string_view object, const std::vector<Term>& body) {
    return packaged({kExtension, kDeviceAfterExtension}, join({path(object), join(body)}));
}

Term method(std::string_view object, unsigned arguments, const std::vector<Term>& body) {
    constexpr uint8_t kSerialized = 1U << 3;
    return packaged({kMethod}, join({path(object), raw_bytes({static_cast<uint8_t>(arguments | kSerialized)}),
                                     join(body)}));
}

Term operation_region(std::string_view object, AddressSpace space, const GuestRange& range) {
    const uint8_t space_id = space == AddressSpace::memory ? 0 : 1;
    return join({raw_bytes({kExtension, kRegionAfterExtension}), path(object), raw_bytes({space_id}),
                 integer(raw(range.start())), integer(range.size())});
}

Term dword_field(std::string_view region, std::string_view field, uint32_t bits) {
    constexpr uint8_t kDWordAccess = 3;
    return packaged({kExtension, kFieldAfterExtension},
                    join({path(region), raw_bytes({kDWordAccess}), segment(field), package_number(bits)}));
}

Term local(unsigned number) {
    return raw_bytes({static_cast<uint8_t>(kLocal0 + number)});
}

Term store(const Term& value, const Term& target) {
    return join({raw_bytes({kStore}), value, target});
}

Term bit_and(const Term& left, const Term& right) {
    return join({raw_bytes({kAnd}), left, right, raw_bytes({kNullName})});
}

Term if_nonzero(const Term& predicate, const std::vector<Term>& body) {
    return packaged({kIf}, join({predicate, join(body)}));
}

Term notify(std::string_view object, uint64_t value) {
    return join({raw_bytes({kNotify}), path(object), integer(value)});
}

Term resource_template(const std::vector<Term>& descriptors) {
    // The end tag's second byte is a checksum, and zero says that there is none.
    return buffer(join({join(descriptors), raw_bytes({0x79, 0})}));
}

Term io_ports(uint16_t start, uint8_t size) {
    constexpr uint8_t kDecode16 = 1;
    return join(
        {raw_bytes({0x47, kDecode16}), little_endian(start), little_endian(start), raw_bytes({1, size})});
}

Term memory32_fixed(uint32_t start, uint32_t size) {
    constexpr uint8_t kReadWrite = 1;
    return join({raw_bytes({0x86, 9, 0, kReadWrite}), little_endian(start), little_endian(size)});
}

// 6.4.3.5 "Address Space Resource Descriptors"
constexpr uint8_t kBothEndsFixed = 1U << 2 | 1U << 3;

Term bus_numbers(uint16_t first, uint16_t last) {
    constexpr uint8_t kBusNumbers = 2;
    return join({raw_bytes({0x88, 13, 0, kBusNumbers, kBothEndsFixed, 0}), little_endian(uint16_t{0}),
                 little_endian(first), little_endian(last), little_endian(uint16_t{0}),
                 little_endian(static_cast<uint16_t>(last - first + 1))});
}

Term memory32_window(uint32_t start, uint32_t size) {
    constexpr uint8_t kMemory = 0;
    constexpr uint8_t kReadWrite = 1;
    return join({raw_bytes({0x87, 23, 0, kMemory, kBothEndsFixed, kReadWrite}), little_endian(uint32_t{0}),
                 little_endian(start), little_endian(start + size - 1), little_endian(uint32_t{0}),
                 little_endian(size)});
}

Term edge_interrupt(uint32_t gsi) {
    constexpr uint8_t kConsumer = 1U << 0;
    constexpr uint8_t kEdge = 1U << 1;
    return join({raw_bytes({0x89, 6, 0, kConsumer | kEdge, 1}), little_endian(gsi)});
}

}  // namespace hull::boot::x86::aml
