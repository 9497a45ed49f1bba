#include "vmm/arch/x86_64/cpuid.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>

namespace hull::arch {

namespace {

constexpr uint32_t bit(uint32_t number) {
    return 1U << number;
}

/// Replaces bits [first, first + width) of `target`.
void set_field(uint32_t& target, uint32_t first, uint32_t width, uint32_t value) {
    const uint32_t mask = (width == 32 ? ~0U : bit(width) - 1) << first;
    target = (target & ~mask) | ((value << first) & mask);
}

void assign_bit(uint32_t& target, uint32_t number, bool value) {
    set_field(target, number, 1, value ? 1 : 0);
}

/// How many bits of an APIC id number the cores of the socket.
uint32_t core_id_bits(uint32_t cpus) {
    return static_cast<uint32_t>(std::bit_width(cpus - 1));
}

constexpr bool is_topology_leaf(uint32_t leaf) {
    return leaf == 0xb || leaf == 0x1f || leaf == 0x80000026;
}

void feature_leaf(kvm_cpuid_entry2& entry, const CpuidOptions& options) {
    set_field(entry.ebx, 24, 8, options.index);
    // Ids that the socket takes, a power of two as the leaf wants it; meaningful where HTT is set.
    set_field(entry.ebx, 16, 8, std::min(255U, bit(core_id_bits(options.cpus))));
    assign_bit(entry.edx, 28, options.cpus > 1);  // HTT: the field above counts
    assign_bit(entry.ecx, 31, true);              // a hypervisor is there
    assign_bit(entry.ecx, 24, options.tsc_deadline);
    assign_bit(entry.ecx, 5, false);  // VMX
    assign_bit(entry.ecx, 2, false);  // DTES64, DS-CPL, DS: the debug store of the performance counters
    assign_bit(entry.ecx, 4, false);
    assign_bit(entry.edx, 21, false);
    assign_bit(entry.ecx, 15, false);  // PDCM: performance capabilities MSR
}

/// Intel's leaf 4 and AMD's 0x8000001d share their first register's layout, up to the core count in the top
/// bits.
void cache_leaf(kvm_cpuid_entry2& entry, const CpuidOptions& options) {
    if ((entry.eax & 0x1f) == 0) {
        return;  // no further cache
    }
    const uint32_t level = entry.eax >> 5 & 0x7;
    set_field(entry.eax, 14, 12, level >= 3 ? bit(core_id_bits(options.cpus)) - 1 : 0);
    if (entry.function == 4) {
        set_field(entry.eax, 26, 6, std::min(63U, bit(core_id_bits(options.cpus)) - 1));
    }
}

void amd_extended_features(kvm_cpuid_entry2& entry, const CpuidOptions& options) {
    assign_bit(entry.ecx, 1, options.cpus > 1);  // CmpLegacy
    assign_bit(entry.ecx, 2, false);             // SVM
    assign_bit(entry.ecx, 23, false);            // core performance counters
    assign_bit(entry.ecx, 24, false);            // northbridge performance counters
    assign_bit(entry.ecx, 28, false);            // last-level cache performance counters
}

void amd_size_identifiers(kvm_cpuid_entry2& entry, const CpuidOptions& options) {
    set_field(entry.ecx, 0, 8, options.cpus - 1);
    set_field(entry.ecx, 12, 4, core_id_bits(options.cpus));
}

void amd_topology(kvm_cpuid_entry2& entry, const CpuidOptions& options) {
    entry.eax = options.index;         // extended APIC id
    entry.ebx = options.index & 0xff;  // core id, one thread a core
    entry.ecx = 0;                     // node 0 of 1
}

/// Leaf 0xb (0x1f and 0x80000026 alike): a level of threads, a level of cores, an end.
void add_topology(std::vector<kvm_cpuid_entry2>& table, uint32_t leaf, const CpuidOptions& options) {
    constexpr uint32_t kThreads = 1;
    constexpr uint32_t kCores = 2;
    for (uint32_t level = 0; level < 3; ++level) {
        kvm_cpuid_entry2 entry{};
        entry.function = leaf;
        entry.index = level;
        entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
        entry.edx = options.index;
        entry.ecx = level;
        if (level == 0) {
            entry.ebx = 1;
            entry.ecx |= kThreads << 8;
        } else if (level == 1) {
            entry.eax = core_id_bits(options.cpus);
            entry.ebx = options.cpus;
            entry.ecx |= kCores << 8;
        }
        table.push_back(entry);
    }
}

/// True on an Intel host, where what AMD defines in leaves that both have is reserved.
bool is_intel(std::span<const kvm_cpuid_entry2> supported) {
    constexpr uint32_t kGenu = 0x756e'6547;  // the start of "GenuineIntel"
    return std::any_of(supported.begin(), supported.end(), [](const kvm_cpuid_entry2& entry) {
        return entry.function == 0 && entry.ebx == kGenu;
    });
}

void rewrite(kvm_cpuid_entry2& entry, const CpuidOptions& options, bool intel) {
    switch (entry.function) {
        case 0x1:
            feature_leaf(entry, options);
            break;
        case 0x4:
        case 0x8000001d:
            cache_leaf(entry, options);
            break;
        case 0xa:         // Intel's performance counters
        case 0x80000022:  // AMD's
            entry.eax = entry.ebx = entry.ecx = entry.edx = 0;
            break;
        case 0x80000001:
            if (!intel) {
                amd_extended_features(entry, options);
            }
            break;
        case 0x80000008:
            if (!intel) {
                amd_size_identifiers(entry, options);
            }
            break;
        case 0x8000000a:  // SVM's features, meaningless without SVM
            entry.eax = entry.ebx = entry.ecx = entry.edx = 0;
            break;
        case 0x8000001e:
            amd_topology(entry, options);
            break;
        default:
            break;
    }
}

}  // namespace

std::vector<kvm_cpuid_entry2> make_cpuid(std::span<const kvm_cpuid_entry2> supported,
                                         const CpuidOptions& options) {
    const bool intel = is_intel(supported);
    std::vector<kvm_cpuid_entry2> table;
    bool has_leaf_0xb = false;
    for (const kvm_cpuid_entry2& entry : supported) {
        if (is_topology_leaf(entry.function)) {
            if (std::none_of(table.begin(), table.end(),
                             [&](const kvm_cpuid_entry2& made) { return made.function == entry.function; })) {
                add_topology(table, entry.function, options);
            }
            has_leaf_0xb = has_leaf_0xb || entry.function == 0xb;
            continue;
        }
        table.push_back(entry);
        rewrite(table.back(), options, intel);
    }
    // Guests with x2APIC read their topology there, also where the host's processor has no such leaf.
    if (!has_leaf_0xb) {
        add_topology(table, 0xb, options);
    }
    for (kvm_cpuid_entry2& entry : table) {
        if (entry.function == 0) {
            entry.eax = std::max(entry.eax, 0xbU);
        }
    }
    return table;
}

namespace {

/// A register in which each bit is a feature of its own.
struct FeatureWord {
    uint32_t function;
    uint32_t index;
    uint32_t kvm_cpuid_entry2::*word;
    uint32_t unlike;  ///< bits that say what the guest has switched on, or where a vCPU is
};

constexpr uint32_t kStates = 0xd;  // the leaf of the XSAVE area

const std::array<FeatureWord, 17> kFeatureWords{{
    {0x1, 0, &kvm_cpuid_entry2::ecx, bit(27)},           // OSXSAVE
    {0x1, 0, &kvm_cpuid_entry2::edx, bit(9) | bit(28)},  // the local APIC is on; HTT
    {0x7, 0, &kvm_cpuid_entry2::ebx, 0},
    {0x7, 0, &kvm_cpuid_entry2::ecx, bit(4)},  // OSPKE
    {0x7, 0, &kvm_cpuid_entry2::edx, 0},
    {0x7, 1, &kvm_cpuid_entry2::eax, 0},
    {0x7, 2, &kvm_cpuid_entry2::edx, 0},
    {kStates, 0, &kvm_cpuid_entry2::eax, 0},
    {kStates, 0, &kvm_cpuid_entry2::edx, 0},
    {kStates, 1, &kvm_cpuid_entry2::eax, 0},
    {kStates, 1, &kvm_cpuid_entry2::ecx, 0},
    {0x4000'0001, 0, &kvm_cpuid_entry2::eax, 0},
    {0x8000'0001, 0, &kvm_cpuid_entry2::ecx, bit(1)},  // CmpLegacy
    {0x8000'0001, 0, &kvm_cpuid_entry2::edx, bit(9)},
    {0x8000'0007, 0, &kvm_cpuid_entry2::edx, 0},
    {0x8000'0008, 0, &kvm_cpuid_entry2::ebx, 0},
    {0x8000'0021, 0, &kvm_cpuid_entry2::eax, 0},
}};

/// Zeros where the table has none.
kvm_cpuid_entry2 entry_of(std::span<const kvm_cpuid_entry2> table, uint32_t function, uint32_t index) {
    const auto found = std::ranges::find_if(table, [=](const kvm_cpuid_entry2& entry) {
        return entry.function == function &&
               ((entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) == 0 || entry.index == index);
    });
    return found == table.end() ? kvm_cpuid_entry2{} : *found;
}

}  // namespace

std::string why_not_on(std::span<const kvm_cpuid_entry2> seen, std::span<const kvm_cpuid_entry2> here) {
    const kvm_cpuid_entry2 theirs = entry_of(seen, 0, 0);
    const kvm_cpuid_entry2 ours = entry_of(here, 0, 0);
    if (theirs.ebx != ours.ebx || theirs.ecx != ours.ecx || theirs.edx != ours.edx) {
        return "this host's processor is another maker's";
    }
    for (const FeatureWord& feature : kFeatureWords) {
        const uint32_t had = entry_of(seen, feature.function, feature.index).*feature.word;
        const uint32_t has = entry_of(here, feature.function, feature.index).*feature.word;
        if (const uint32_t missing = had & ~has & ~feature.unlike; missing != 0) {
            std::array<char, 100> text{};
            std::snprintf(text.data(), text.size(),
                          "this host's processor, or its KVM, lacks features (CPUID 0x%x.%u: 0x%x)",
                          feature.function, feature.index, missing);
            return text.data();
        }
    }
    constexpr uint32_t kFirstState = 2;  // those before have places that never change
    constexpr uint32_t kMostStates = 63;
    for (uint32_t state = kFirstState; state < kMostStates; ++state) {
        const kvm_cpuid_entry2 there = entry_of(seen, kStates, state);
        const kvm_cpuid_entry2 place = entry_of(here, kStates, state);
        if (there.eax != 0 && (there.eax != place.eax || there.ebx != place.ebx)) {
            return "this host's processor keeps its registers otherwise (CPUID 0xd." + std::to_string(state) +
                   ")";
        }
    }
    return "";
}

}  // namespace hull::arch
