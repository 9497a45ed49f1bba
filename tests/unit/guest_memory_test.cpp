#include "base/guest_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/files.h"

namespace hull {
namespace {

constexpr uint64_t kTop = std::numeric_limits<uint64_t>::max();

TEST(GuestRange, IsNeverEmptyAndNeverWraps) {
    EXPECT_FALSE(GuestRange::make(GuestAddress{0}, 0));
    EXPECT_FALSE(GuestRange::make(GuestAddress{kTop}, 0));
    EXPECT_FALSE(GuestRange::make(GuestAddress{kTop}, 2));
    EXPECT_FALSE(GuestRange::make(GuestAddress{0x1000}, kTop));
    EXPECT_FALSE(GuestRange::make(GuestAddress{2}, kTop));
    ASSERT_TRUE(GuestRange::make(GuestAddress{1}, kTop));
    ASSERT_TRUE(GuestRange::make(GuestAddress{kTop}, 1));
    ASSERT_TRUE(GuestRange::make(GuestAddress{0}, kTop));
    EXPECT_EQ(raw(GuestRange::make(GuestAddress{kTop}, 1)->last()), kTop);
    EXPECT_EQ(raw(GuestRange::make(GuestAddress{0xfff}, 2)->last()), 0x1000U);
}

TEST(GuestRange, ContainsAndOverlaps) {
    struct Row {
        GuestRange a;
        GuestRange b;
        bool a_contains_b;
        bool overlap;
    };
    const std::vector<Row> rows = {
        {GuestRange::of(0x1000, 0x1000), GuestRange::of(0x1000, 0x1000), true, true},
        {GuestRange::of(0x1000, 0x1000), GuestRange::of(0x1fff, 1), true, true},
        {GuestRange::of(0x1000, 0x1000), GuestRange::of(0x1fff, 2), false, true},
        {GuestRange::of(0x1000, 0x1000), GuestRange::of(0xfff, 1), false, false},
        {GuestRange::of(0x1000, 0x1000), GuestRange::of(0xfff, 2), false, true},
        {GuestRange::of(0x1000, 0x1000), GuestRange::of(0x2000, 1), false, false},
        {GuestRange::of(0x1000, 0x1000), GuestRange::of(0, kTop), false, true},
        {GuestRange::of(kTop, 1), GuestRange::of(kTop, 1), true, true},
        {GuestRange::of(kTop, 1), GuestRange::of(0, 1), false, false},
        {GuestRange::of(0, kTop), GuestRange::of(kTop, 1), false, false},
        {GuestRange::of(1, kTop), GuestRange::of(kTop, 1), true, true},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(testing::Message() << std::hex << raw(row.a.start()) << "+" << row.a.size() << " and "
                                        << raw(row.b.start()) << "+" << row.b.size());
        EXPECT_EQ(row.a.contains(row.b), row.a_contains_b);
        EXPECT_EQ(row.a.overlaps(row.b), row.overlap);
        EXPECT_EQ(row.b.overlaps(row.a), row.overlap);
    }
}

class TwoRegions : public testing::Test {
  protected:
    // Given in the wrong order; side by side, so that an access can straddle them; and one far up.
    const std::array<GuestRange, 3> ranges_{GuestRange::of(0x2000, 0x1000), GuestRange::of(0, 0x2000),
                                            GuestRange::of(0x1'0000'0000, 0x1000)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent};
};

TEST_F(TwoRegions, AreSortedAndZero) {
    ASSERT_EQ(memory_.regions().size(), 3U);
    EXPECT_EQ(memory_.regions()[0].range, ranges_[1]);
    EXPECT_EQ(memory_.regions()[2].range, ranges_[2]);
    EXPECT_EQ(memory_.size(), 0x4000U);
    EXPECT_EQ(memory_.read<uint64_t>(GuestAddress{0x1'0000'0ff8}), 0U);
}

TEST_F(TwoRegions, WhatIsWrittenIsReadAndNothingElseChanges) {
    ASSERT_TRUE(memory_.write(GuestAddress{0x10}, uint32_t{0x12345678}));
    EXPECT_EQ(memory_.read<uint32_t>(GuestAddress{0x10}), 0x12345678U);
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{0x10}), 0x78U);
    EXPECT_EQ(memory_.read<uint32_t>(GuestAddress{0xc}), 0U);
    EXPECT_EQ(memory_.read<uint32_t>(GuestAddress{0x14}), 0U);
    EXPECT_EQ(memory_.read<uint32_t>(GuestAddress{0x2010}), 0U);
}

TEST_F(TwoRegions, RefusesWhatIsNotWhollyInsideOneRegion) {
    struct Row {
        uint64_t address;
        size_t size;
        bool inside;
    };
    const std::vector<Row> rows = {
        {0, 1, true},
        {0, 0x2000, true},
        {0, 0x2001, false},
        {0x1fff, 1, true},
        {0x1fff, 2, false},
        {0x1ffc, 8, false},
        {0x2000, 0x1000, true},
        {0x2fff, 2, false},
        {0x3000, 1, false},
        {0xffff'ffff, 1, false},
        {0xffff'ffff, 2, false},
        {0x1'0000'0000, 0x1000, true},
        {0x1'0000'1000, 1, false},
        {kTop, 1, false},
        {kTop, 2, false},
        {kTop - 6, 8, false},
        {0, 0, true},
        {0x9999'9999, 0, true},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(testing::Message() << std::hex << row.address << "+" << row.size);
        std::vector<std::byte> bytes(row.size, std::byte{0xa5});
        EXPECT_EQ(memory_.write_bytes(GuestAddress{row.address}, bytes), row.inside);
        std::vector<std::byte> back(row.size, std::byte{0x11});
        EXPECT_EQ(memory_.read_bytes(GuestAddress{row.address}, back), row.inside);
        EXPECT_EQ(back, row.inside ? bytes : std::vector<std::byte>(row.size, std::byte{0x11}));
        if (const auto range = GuestRange::make(GuestAddress{row.address}, row.size)) {
            const auto slice = memory_.slice(*range);
            EXPECT_EQ(slice.has_value(), row.inside);
            EXPECT_EQ(slice ? slice->size() : row.size, row.size);
        }
    }
}

TEST_F(TwoRegions, ARefusedWriteLeavesNothing) {
    EXPECT_FALSE(memory_.write(GuestAddress{0x1ffc}, uint64_t{kTop}));
    EXPECT_EQ(memory_.read<uint32_t>(GuestAddress{0x1ffc}), 0U);
    EXPECT_EQ(memory_.read<uint32_t>(GuestAddress{0x2000}), 0U);
}

TEST(GuestMemory, RefusesRegionsThatOverlapOrAreNoWholePages) {
    using Ranges = std::vector<GuestRange>;
    const std::vector<Ranges> wrong = {
        {GuestRange::of(0, 0x2000), GuestRange::of(0x1000, 0x1000)},
        {GuestRange::of(0x1000, 0x1000), GuestRange::of(0, 0x10000)},
        {GuestRange::of(0, 0x800)},
        {GuestRange::of(0x800, 0x1000)},
    };
    for (const Ranges& ranges : wrong) {
        EXPECT_THROW(GuestMemory(ranges, Mapping::Pages::transparent), std::invalid_argument);
    }
    const Ranges no_huge_page{GuestRange::of(0, 0x10'0000)};
    EXPECT_THROW(GuestMemory(no_huge_page, Mapping::Pages::huge), std::invalid_argument);
}

TEST(GuestMemory, MoreThanAnAddressSpaceIsAnErrorForAPerson) {
    const std::vector<GuestRange> ranges{GuestRange::of(0, uint64_t{1} << 60)};
    test::expect_error([&] { GuestMemory memory(ranges, Mapping::Pages::transparent); },
                       ExitStatus::no_resources, {"1099511627776 MiB", "Cannot allocate memory", "--memory"});
    const std::vector<GuestRange> all{GuestRange::of(0, kTop - 0xfff)};
    test::expect_error([&] { GuestMemory memory(all, Mapping::Pages::transparent); },
                       ExitStatus::no_resources, {"Cannot allocate memory"});
}

/// A line of the kernel's description of the mapping at `address`.
std::string smaps_line(const void* address, const std::string& key) {
    std::ifstream maps{"/proc/self/smaps"};
    std::string line;
    bool inside = false;
    while (std::getline(maps, line)) {
        uint64_t start = 0;
        uint64_t end = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &start, &end) == 2 && line.find(':') > line.find(' ')) {
            const auto wanted = reinterpret_cast<uint64_t>(address);
            inside = start <= wanted && wanted < end;
        } else if (inside && line.starts_with(key)) {
            return line;
        }
    }
    return "";
}

std::vector<GuestRange> take_written(GuestMemory& memory) {
    std::vector<GuestRange> ranges;
    memory.take_written([&](const GuestRange& range) { ranges.push_back(range); });
    return ranges;
}

TEST_F(TwoRegions, TellThePagesThatTheHostWrites) {
    using testing::ElementsAre;
    const auto page = [](uint64_t address, uint64_t count = 1) {
        return GuestRange::of(address, count * GuestMemory::kLogPage);
    };
    EXPECT_TRUE(memory_.write(GuestAddress{0}, 1));
    EXPECT_FALSE(memory_.write_log());
    EXPECT_TRUE(take_written(memory_).empty()) << "nothing is logged yet";
    memory_.start_write_log();
    EXPECT_TRUE(take_written(memory_).empty()) << "what was written before";
    EXPECT_TRUE(memory_.write(GuestAddress{0xfff}, uint16_t{1}));
    EXPECT_TRUE(memory_.write(GuestAddress{0x1'0000'0ff8}, uint64_t{1}));
    EXPECT_FALSE(memory_.write(GuestAddress{0x1'0000'0fff}, uint64_t{1}));
    EXPECT_THAT(take_written(memory_), ElementsAre(page(0, 2), page(0x1'0000'0000)));
    EXPECT_TRUE(take_written(memory_).empty()) << "told once";
    // Regions that lie side by side are told as one; a part of a page is the page.
    memory_.mark_written(memory_.slice(GuestRange::of(0x1fff, 1)).value());
    memory_.mark_written(memory_.slice(GuestRange::of(0x2000, 1)).value());
    EXPECT_THAT(take_written(memory_), ElementsAre(page(0x1000, 2)));
    EXPECT_TRUE(memory_.discard(GuestRange::of(0x1000, 0x1000)));
    EXPECT_THAT(take_written(memory_), ElementsAre(page(0x1000)));

    // As vhost and vhost-user set bits.
    const auto log = memory_.write_log().value();
    const Mapping seen = Mapping::shared(log.fd, log.bits.size(), "the log again");
    EXPECT_TRUE(memory_.write(GuestAddress{0x2000}, 1));
    EXPECT_EQ(seen.bytes()[0], std::byte{1 << 2});
    seen.bytes()[0x10'0000 / 8] |= std::byte{1};
    EXPECT_THAT(take_written(memory_), ElementsAre(page(0x2000), page(0x1'0000'0000)));
    memory_.stop_write_log();
    EXPECT_TRUE(memory_.write(GuestAddress{0}, 1));
    EXPECT_FALSE(memory_.write_log());
    memory_.start_write_log();
    EXPECT_TRUE(take_written(memory_).empty());
}

TEST(GuestMemory, AWriteOfAnyThreadIsLogged) {
    constexpr uint64_t kPages = 1000;
    const GuestRange ranges[] = {GuestRange::of(0, kPages * GuestMemory::kLogPage)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    memory.start_write_log();
    std::vector<std::thread> writers;
    for (uint64_t writer = 0; writer < 2; ++writer) {
        writers.emplace_back([&memory, writer] {
            for (uint64_t page = writer; page < kPages; page += 2) {
                EXPECT_TRUE(memory.write(GuestAddress{page * GuestMemory::kLogPage}, uint8_t{1}));
            }
        });
    }
    uint64_t told = 0;
    const auto take = [&] {
        memory.take_written([&](const GuestRange& range) { told += range.size() / GuestMemory::kLogPage; });
    };
    while (told < kPages / 2) {
        take();
    }
    std::ranges::for_each(writers, [](std::thread& writer) { writer.join(); });
    take();
    EXPECT_EQ(told, kPages);
}

class Discard : public testing::TestWithParam<GuestMemory::Sharing> {};

TEST_P(Discard, DiscardedMemoryReadsAsZeros) {
    const GuestRange ranges[] = {GuestRange::of(0x10'0000, 0x10000)};
    GuestMemory memory{ranges, Mapping::Pages::transparent, GetParam()};
    const auto all = memory.slice(ranges[0]).value();
    std::ranges::fill(all, std::byte{7});
    EXPECT_FALSE(memory.discard(GuestRange::of(0x10'0000, 0x11000))) << "beyond the region";
    EXPECT_FALSE(memory.discard(GuestRange::of(0x10'0000, 0xfff))) << "a part of a page";
    EXPECT_FALSE(memory.discard(GuestRange::of(0x10'0800, 0x1000))) << "parts of pages";
    EXPECT_EQ(std::ranges::count(all, std::byte{7}), 0x10000);
    EXPECT_TRUE(memory.discard(GuestRange::of(0x10'1000, 0x2000)));
    EXPECT_EQ(std::ranges::count(all, std::byte{7}), 0xe000);
    EXPECT_EQ(std::ranges::count(all.subspan(0x1000, 0x2000), std::byte{0}), 0x2000);
}

INSTANTIATE_TEST_SUITE_P(Sharing, Discard,
                         testing::Values(GuestMemory::Sharing::none, GuestMemory::Sharing::shareable),
                         [](const auto& sharing) {
                             return std::string{sharing.param == GuestMemory::Sharing::none ? "none"
                                                                                            : "shareable"};
                         });

TEST(GuestMemory, ThatIsShareableIsSeenThroughItsDescriptorsAndCannotBeCutOff) {
    const GuestRange ranges[] = {GuestRange::of(0, 0x2000), GuestRange::of(0x10'0000, 0x3000)};
    GuestMemory memory{ranges, Mapping::Pages::transparent, GuestMemory::Sharing::shareable};
    EXPECT_TRUE(memory.write(GuestAddress{0x10'1000}, uint32_t{0x12345678}));
    for (const GuestMemory::Region& region : memory.regions()) {
        EXPECT_EQ(reinterpret_cast<uintptr_t>(region.mapping.data()) % (2 << 20), 0U);
        EXPECT_NE(ftruncate(region.fd.get(), 0), 0) << "a program that has it could end the machine";
        EXPECT_NE(smaps_line(region.mapping.data(), "VmFlags:").find(" dd"), std::string::npos);
    }
    const Mapping other = Mapping::shared(memory.regions()[1].fd.get(), 0x3000, "the memory again");
    EXPECT_EQ(*reinterpret_cast<const uint32_t*>(other.data() + 0x1000), 0x12345678U);
    other.bytes()[0x2000] = std::byte{9};
    EXPECT_EQ(memory.read<uint8_t>(GuestAddress{0x10'2000}), 9);
    EXPECT_TRUE(memory.discard(GuestRange::of(0x10'2000, 0x1000)));
    EXPECT_EQ(other.bytes()[0x2000], std::byte{0}) << "the page is kept";
}

TEST(Mapping, AnonymousIsZeroAlignedAndLeftOutOfCoreDumps) {
    const Mapping mapping = Mapping::anonymous(0x5000, Mapping::Pages::transparent);
    EXPECT_EQ(mapping.size(), 0x5000U);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(mapping.data()) % (2 << 20), 0U);
    EXPECT_EQ(mapping.bytes().back(), std::byte{0});
    mapping.bytes().front() = std::byte{1};
    const std::string flags = smaps_line(mapping.data(), "VmFlags:");
    EXPECT_NE(flags.find(" dd"), std::string::npos) << "not left out of core dumps: " << flags;
}

TEST(Mapping, LeavesNothingAroundIt) {
    // Trimmed exactly: what is beside it must not stay mapped.
    const Mapping mapping = Mapping::anonymous(0x1000, Mapping::Pages::transparent);
    EXPECT_EQ(smaps_line(mapping.data(), "Size:"), "Size:                  4 kB");
}

TEST(Mapping, MovesAndIsUnmappedOnce) {
    Mapping first = Mapping::anonymous(0x1000, Mapping::Pages::transparent);
    std::byte* const address = first.data();
    Mapping second = std::move(first);
    EXPECT_EQ(second.data(), address);
    EXPECT_EQ(first.data(), nullptr);  // NOLINT(bugprone-use-after-move): that it is empty is the point
    second = Mapping{};
    EXPECT_EQ(smaps_line(address, "Size:"), "");
}

TEST(Mapping, OfAFileShowsItsBytes) {
    const test::TemporaryFolder folder;
    const InputFile file = open_input_file(folder.file("f", "content"), "kernel");
    const Mapping mapping = Mapping::of_file(file, "kernel");
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(mapping.data()), mapping.size()), "content");
}

TEST(Mapping, HugePagesThatAreNotThereAreAnErrorForAPerson) {
    UniqueFd fd;
    for (const std::function<void()>& make : std::initializer_list<std::function<void()>>{
             [] { Mapping::anonymous(size_t{1} << 46, Mapping::Pages::huge); },
             [&] { Mapping::shareable(size_t{1} << 46, Mapping::Pages::huge, fd); }}) {
        test::expect_error(make, ExitStatus::no_resources,
                           {"67108864 MiB of huge pages", "vm.nr_hugepages=33554432", "--hugepages"});
    }
}

}  // namespace
}  // namespace hull
