// What guests read by CPUID, from tables of an AMD and an Intel host, read as Linux 6.12 reads them
// (arch/x86/kernel/cpu: topology_ext.c, topology_amd.c, topology_common.c, cacheinfo.c).
#include "vmm/arch/x86_64/cpuid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/cpuid_table.h"
#include "vmm/arch/x86_64/registers.h"

namespace hull::arch {
namespace {

using Table = std::vector<kvm_cpuid_entry2>;

struct Registers {
    uint32_t eax = 0;
    uint32_t ebx = 0;
    uint32_t ecx = 0;
    uint32_t edx = 0;
};

/// What the instruction answers for a leaf that is there; zeros for one that is not.
Registers cpuid(const Table& table, uint32_t leaf, uint32_t subleaf = 0) {
    for (const kvm_cpuid_entry2& entry : table) {
        const bool any = (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) == 0;
        if (entry.function == leaf && (any || entry.index == subleaf)) {
            return {entry.eax, entry.ebx, entry.ecx, entry.edx};
        }
    }
    return {};
}

bool has(const Table& table, uint32_t leaf) {
    return std::any_of(table.begin(), table.end(), [&](const auto& entry) { return entry.function == leaf; });
}

constexpr uint32_t field(uint32_t value, uint32_t first, uint32_t width) {
    return value >> first & ((1U << width) - 1);
}

constexpr bool bit(uint32_t value, uint32_t number) {
    return (value >> number & 1) != 0;
}

/// Linux's get_count_order(): bits that number `count` things.
uint32_t count_order(uint32_t count) {
    return static_cast<uint32_t>(std::bit_width(count - 1));
}

/// Where Linux believes a CPU to be.
struct Place {
    uint32_t apic_id = 0;
    uint32_t smt_shift = 0;
    uint32_t package_shift = 0;
    uint32_t threads_a_core = 0;
    uint32_t cpus = 0;

    [[nodiscard]] uint32_t package() const { return apic_id >> package_shift; }
};

/// parse_topology_leaf(); nothing where the leaf tells none.
std::optional<Place> topology_from(const Table& table, uint32_t leaf) {
    Place place;
    uint32_t subleaf = 0;
    for (;; ++subleaf) {
        const Registers level = cpuid(table, leaf, subleaf);
        const uint32_t cpus = field(level.ebx, 0, 16);
        const uint32_t type = field(level.ecx, 8, 8);
        if (cpus == 0 || type == 0) {
            break;
        }
        EXPECT_EQ(field(level.ecx, 0, 8), subleaf);
        EXPECT_EQ(type, subleaf + 1) << "threads first, then cores";
        EXPECT_TRUE(subleaf == 0 || place.apic_id == level.edx) << "Linux calls this a firmware bug";
        place.apic_id = level.edx;
        place.package_shift = field(level.eax, 0, 5);
        place.cpus = cpus;
        if (subleaf == 0) {
            place.smt_shift = place.package_shift;
            place.threads_a_core = cpus;
        }
    }
    return subleaf == 0 ? std::nullopt : std::optional{place};
}

using Case = std::tuple<std::string, uint32_t>;

class CpuidTest : public testing::TestWithParam<Case> {
  protected:
    [[nodiscard]] static std::string host() { return std::get<0>(GetParam()); }
    [[nodiscard]] static uint32_t cpus() { return std::get<1>(GetParam()); }
    [[nodiscard]] static bool is_intel() { return host().starts_with("intel"); }

    [[nodiscard]] Table table(uint32_t index) const {
        return make_cpuid(supported_, {.index = index, .cpus = cpus(), .tsc_deadline = true});
    }
    /// First, second and last vCPU.
    [[nodiscard]] static std::set<uint32_t> some_cpus() {
        return {0, std::min(1U, cpus() - 1), cpus() / 2, cpus() - 1};
    }

    const Table supported_ =
        test::read_cpuid_table(std::string{HULL_SOURCE_DIR} + "/tests/unit/data/" + host() + ".cpuid");
};

TEST_P(CpuidTest, EveryCpuHasItsOwnApicIdEverywhere) {
    std::set<uint32_t> seen;
    for (uint32_t index = 0; index < cpus(); ++index) {
        const Table guest = table(index);
        EXPECT_EQ(field(cpuid(guest, 1).ebx, 24, 8), index);
        seen.insert(field(cpuid(guest, 1).ebx, 24, 8));
        for (const uint32_t leaf : {0xbU, 0x1fU, 0x80000026U}) {
            for (uint32_t level = 0; has(guest, leaf) && level < 3; ++level) {
                EXPECT_EQ(cpuid(guest, leaf, level).edx, index) << std::hex << leaf;
            }
        }
        if (has(supported_, 0x8000001e)) {
            EXPECT_EQ(cpuid(guest, 0x8000001e).eax, index);
        }
    }
    EXPECT_EQ(seen.size(), cpus());
}

TEST_P(CpuidTest, LinuxSeesOneSocketOfCoresWithOneThreadEach) {
    for (const uint32_t index : some_cpus()) {
        const Table guest = table(index);
        ASSERT_GE(cpuid(guest, 0).eax, 0xbU);
        for (const uint32_t leaf : {0x1fU, 0xbU}) {
            if (!has(guest, leaf)) {
                continue;
            }
            const std::optional<Place> place = topology_from(guest, leaf);
            ASSERT_TRUE(place) << std::hex << leaf;
            EXPECT_EQ(place->apic_id, index);
            EXPECT_EQ(place->package(), 0U);
            EXPECT_EQ(place->smt_shift, 0U);
            EXPECT_EQ(place->threads_a_core, 1U);
            EXPECT_EQ(place->cpus, cpus());
            EXPECT_EQ(place->package_shift, count_order(cpus()));
            // The level behind the last says so: type 0 (Intel SDM, CPUID leaf 0BH).
            EXPECT_EQ(field(cpuid(guest, leaf, 2).ecx, 8, 8), 0U);
            EXPECT_EQ(cpuid(guest, leaf, 2).ebx, 0U);
        }
    }
}

TEST_P(CpuidTest, OlderWaysOfReadingAgree) {
    for (const uint32_t index : some_cpus()) {
        const Table guest = table(index);
        const uint32_t ids = field(cpuid(guest, 1).ebx, 16, 8);
        EXPECT_EQ(bit(cpuid(guest, 1).edx, 28), cpus() > 1) << "HTT";
        EXPECT_GE(ids, cpus());
        EXPECT_EQ(count_order(ids), count_order(cpus()));
        if (is_intel()) {
            // parse_legacy(): cores of leaf 4; up to 64 fit there.
            const uint32_t cores = field(cpuid(guest, 4, 0).eax, 26, 6) + 1;
            EXPECT_EQ(count_order(cores), std::min(6U, count_order(cpus())));
            EXPECT_LE(count_order(cores), count_order(ids)) << "Linux would warn";
            // What is AMD's is reserved here.
            EXPECT_EQ(field(cpuid(guest, 0x80000008).ecx, 0, 16), 0U);
            EXPECT_FALSE(bit(cpuid(guest, 0x80000001).ecx, 1));
        } else {
            // parse_8000_0008()
            const Registers sizes = cpuid(guest, 0x80000008);
            EXPECT_EQ(field(sizes.ecx, 0, 8) + 1, cpus());
            EXPECT_EQ(field(sizes.ecx, 12, 4), count_order(cpus()));
            EXPECT_EQ(bit(cpuid(guest, 0x80000001).ecx, 1), cpus() > 1) << "CmpLegacy";
            // parse_8000_001e()
            const Registers topology = cpuid(guest, 0x8000001e);
            EXPECT_EQ(field(topology.ebx, 0, 8), index) << "core id";
            EXPECT_EQ(field(topology.ebx, 8, 8) + 1, 1U) << "threads a core";
            EXPECT_EQ(field(topology.ecx, 0, 8), 0U) << "node id";
            EXPECT_EQ(field(topology.ecx, 8, 3) + 1, 1U) << "nodes";
        }
    }
}

TEST_P(CpuidTest, CachesOfACoreAreItsOwnAndTheLastIsShared) {
    const uint32_t leaf = is_intel() ? 4 : 0x8000001d;
    for (const uint32_t index : some_cpus()) {
        const Table guest = table(index);
        uint32_t caches = 0;
        for (;; ++caches) {
            const Registers cache = cpuid(guest, leaf, caches);
            if (field(cache.eax, 0, 5) == 0) {
                break;
            }
            const uint32_t level = field(cache.eax, 5, 3);
            const uint32_t sharing = field(cache.eax, 14, 12) + 1;
            if (level >= 3) {
                // Linux shares it among APIC ids that are equal above these bits: all of them.
                EXPECT_EQ((cpus() - 1) >> count_order(sharing), 0U);
                EXPECT_EQ(count_order(sharing), count_order(cpus()));
            } else {
                EXPECT_EQ(sharing, 1U) << "level " << level;
            }
            // Size and shape are the host's.
            const Registers hosts = cpuid(supported_, leaf, caches);
            EXPECT_EQ(std::tie(cache.ebx, cache.ecx, cache.edx), std::tie(hosts.ebx, hosts.ecx, hosts.edx));
            EXPECT_EQ(field(cache.eax, 0, 10), field(hosts.eax, 0, 10));
        }
        EXPECT_EQ(caches, 4U);
    }
}

TEST_P(CpuidTest, AHypervisorIsThereWithKvmsLeaves) {
    const Table guest = table(0);
    EXPECT_TRUE(bit(cpuid(guest, 1).ecx, 31));
    EXPECT_EQ(cpuid(guest, 0x40000000).ebx, 0x4b4d564bU);  // "KVMK"
    EXPECT_TRUE(bit(cpuid(guest, 0x40000001).eax, 3)) << "kvmclock";
    EXPECT_TRUE(bit(cpuid(guest, 0x40000001).eax, 24)) << "a stable kvmclock";
}

TEST_P(CpuidTest, TheTscDeadlineTimerIsOfferedWhereKvmHasIt) {
    EXPECT_TRUE(bit(cpuid(table(0), 1).ecx, 24));
    EXPECT_FALSE(
        bit(cpuid(make_cpuid(supported_, {.index = 0, .cpus = 1, .tsc_deadline = false}), 1).ecx, 24));
}

TEST_P(CpuidTest, AGuestStartsNoGuestsAndCountsNothing) {
    for (const uint32_t index : some_cpus()) {
        const Table guest = table(index);
        const Registers features = cpuid(guest, 1);
        EXPECT_FALSE(bit(features.ecx, 5)) << "VMX";
        EXPECT_FALSE(bit(features.ecx, 2)) << "DTES64";
        EXPECT_FALSE(bit(features.ecx, 4)) << "DS-CPL";
        EXPECT_FALSE(bit(features.ecx, 15)) << "PDCM";
        EXPECT_FALSE(bit(features.edx, 21)) << "debug store";
        const Registers extended = cpuid(guest, 0x80000001);
        EXPECT_FALSE(bit(extended.ecx, 2)) << "SVM";
        EXPECT_FALSE(bit(extended.ecx, 23)) << "core counters";
        EXPECT_FALSE(bit(extended.ecx, 24)) << "northbridge counters";
        EXPECT_FALSE(bit(extended.ecx, 28)) << "last-level cache counters";
        for (const uint32_t leaf : {0xaU, 0x8000000aU, 0x80000022U}) {
            const Registers empty = cpuid(guest, leaf);
            EXPECT_EQ(empty.eax | empty.ebx | empty.ecx | empty.edx, 0U) << std::hex << leaf;
        }
    }
}

TEST_P(CpuidTest, EverythingElseIsAsKvmGaveIt) {
    const Table guest = table(0);
    const std::set<uint32_t> rewritten = {0,          1,          4,          0xa,        0xb,
                                          0x1f,       0x80000001, 0x80000008, 0x8000000a, 0x8000001d,
                                          0x8000001e, 0x80000022, 0x80000026};
    for (const kvm_cpuid_entry2& entry : supported_) {
        if (rewritten.contains(entry.function)) {
            continue;
        }
        EXPECT_EQ(std::count_if(guest.begin(), guest.end(),
                                [&](const kvm_cpuid_entry2& made) {
                                    return std::tie(made.function, made.index, made.flags, made.eax, made.ebx,
                                                    made.ecx, made.edx) ==
                                           std::tie(entry.function, entry.index, entry.flags, entry.eax,
                                                    entry.ebx, entry.ecx, entry.edx);
                                }),
                  1)
            << std::hex << entry.function << "." << entry.index;
    }
    // And nothing is there twice.
    std::set<std::pair<uint32_t, uint32_t>> seen;
    for (const kvm_cpuid_entry2& entry : guest) {
        EXPECT_TRUE(seen.insert({entry.function, entry.index}).second)
            << std::hex << entry.function << "." << entry.index;
    }
    EXPECT_LE(guest.size(), 256U);
}

INSTANTIATE_TEST_SUITE_P(Hosts, CpuidTest,
                         testing::Combine(testing::Values("amd-epyc-emulated", "intel-ice-lake"),
                                          testing::Values(1U, 2U, 3U, 254U)),
                         [](const testing::TestParamInfo<Case>& row) {
                             std::string name = std::get<0>(row.param);
                             std::replace(name.begin(), name.end(), '-', '_');
                             return name + "_" + std::to_string(std::get<1>(row.param));
                         });

TEST(Cpuid, TopologyIsToldAlsoWhereTheHostHasNoSuchLeaf) {
    std::vector<kvm_cpuid_entry2> old_host(2);
    old_host[0].eax = 5;  // leaf 0: up to 5
    old_host[1].function = 1;
    const Table guest = make_cpuid(old_host, {.index = 2, .cpus = 3, .tsc_deadline = false});
    EXPECT_EQ(cpuid(guest, 0).eax, 0xbU);
    const std::optional<Place> place = topology_from(guest, 0xb);
    ASSERT_TRUE(place);
    EXPECT_EQ(place->apic_id, 2U);
    EXPECT_EQ(place->cpus, 3U);
}

/// The entry to change.
kvm_cpuid_entry2& entry(Table& table, uint32_t leaf, uint32_t subleaf = 0) {
    return *std::ranges::find_if(
        table, [&](const kvm_cpuid_entry2& each) { return each.function == leaf && each.index == subleaf; });
}

TEST(Cpuid, AGuestGoesOnWhereAllThatItHasSeenIs) {
    const std::string data = HULL_SOURCE_DIR "/tests/unit/data/";
    const Table amd = make_cpuid(test::read_cpuid_table(data + "amd-epyc-emulated.cpuid"), {});
    const Table intel = make_cpuid(test::read_cpuid_table(data + "intel-ice-lake.cpuid"), {});
    EXPECT_EQ(why_not_on(amd, amd), "");
    EXPECT_EQ(why_not_on(intel, intel), "");
    EXPECT_EQ(why_not_on(amd, intel), "this host's processor is another maker's");
    // What it has switched on itself is no feature of its host's.
    Table running = intel;
    entry(running, 1).ecx |= 1U << 27;
    entry(running, 7).ecx |= 1U << 4;
    EXPECT_EQ(why_not_on(running, intel), "");
    // A host with more will do, one with less will not.
    Table less = intel;
    entry(less, 7).ebx &= ~(1U << 5);
    EXPECT_EQ(why_not_on(less, intel), "");
    EXPECT_EQ(why_not_on(intel, less),
              "this host's processor, or its KVM, lacks features (CPUID 0x7.0: 0x20)");
    Table moved = intel;
    entry(moved, 0xd, 2).ebx += 64;
    EXPECT_EQ(why_not_on(intel, moved), "this host's processor keeps its registers otherwise (CPUID 0xd.2)");
    EXPECT_NE(why_not_on(intel, Table{}), "");
}

TEST(Msrs, SayThatThereIsNoDebugStore) {
    const std::vector<InitialMsr> msrs = initial_msrs();
    const auto misc_enable =
        std::find_if(msrs.begin(), msrs.end(), [](const InitialMsr& msr) { return msr.index == 0x1a0; });
    ASSERT_NE(misc_enable, msrs.end());
    EXPECT_EQ(misc_enable->value & 1, 1U) << "fast strings";
    EXPECT_EQ(misc_enable->value >> 11 & 3, 3U) << "BTS and PEBS are not available";
    EXPECT_EQ(misc_enable->value >> 7 & 1, 0U) << "no performance monitoring";
}

}  // namespace
}  // namespace hull::arch
