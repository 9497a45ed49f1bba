// A small writer of ACPI Machine Language (ACPI 6.5, 20 "ACPI Machine Language (AML) Specification"): each
// function returns the bytes of one term, so that a table reads like the ASL that it stands for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/device_node.h"

namespace hull::boot::x86::aml {

/// The encoding of one or several terms.
using Term = std::vector<std::byte>;

/// The terms one after another: the body of a definition block.
Term join(const std::vector<Term>& terms);

/// A name or a path ("_HID", "\\_SB_.PWRB"): segments of 1 to 4 capital letters, digits and underscores, at
/// most 255 of them, filled up with underscores. std::invalid_argument where a segment is longer or empty.
Term path(std::string_view text);
Term integer(uint64_t value);
/// ASCII without a zero in it.
Term string(std::string_view text);
/// EisaId("PNP0501"): three capital letters and four hexadecimal digits. std::invalid_argument otherwise.
Term eisa_id(std::string_view id);
Term buffer(const std::vector<std::byte>& bytes);
/// At most 255 elements.
Term package(const std::vector<Term>& elements);

/// Name (name, value)
Term name(std::string_view object, const Term& value);
Term scope(std::string_view object, const std::vector<Term>& body);
Term device(std::string_view object, const std::vector<Term>& body);
/// A serialized method of `arguments` (0 to 7) arguments.
Term method(std::string_view object, unsigned arguments, const std::vector<Term>& body);

/// OperationRegion (object, SystemMemory or SystemIO, start, size)
Term operation_region(std::string_view object, AddressSpace space, const GuestRange& range);
/// Field (region, DWordAcc, NoLock, Preserve) with one field of `bits` (a multiple of 32) bits at its start.
Term dword_field(std::string_view region, std::string_view field, uint32_t bits);

/// Local0 to Local7.
Term local(unsigned number);
Term store(const Term& value, const Term& target);
/// And (left, right), as a value.
Term bit_and(const Term& left, const Term& right);
Term if_nonzero(const Term& predicate, const std::vector<Term>& body);
Term notify(std::string_view object, uint64_t value);

/// ResourceTemplate () of the descriptors below (ACPI 6.5, 6.4 "Resource Data Types for ACPI").
Term resource_template(const std::vector<Term>& descriptors);
/// IO (Decode16, start, start, 1, size); `size` is 1 to 255.
Term io_ports(uint16_t start, uint8_t size);
/// Memory32Fixed (ReadWrite, start, size)
Term memory32_fixed(uint32_t start, uint32_t size);
/// WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode, 0, first, last, 0, last - first + 1)
Term bus_numbers(uint16_t first, uint16_t last);
/// DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, NonCacheable, ReadWrite, 0, start, …, 0,
/// size)
Term memory32_window(uint32_t start, uint32_t size);
/// Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { gsi }
Term edge_interrupt(uint32_t gsi);

}  // namespace hull::boot::x86::aml
