#include "devices/block/overlay.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/support/manual_backend.h"

namespace hull::virtio {
namespace {

using test::ManualBackend;
using Kind = BlockOperation::Kind;

constexpr uint16_t kSize = 16;  // of the queue

TEST(OverlayMap, KnowsWhichSectorsItHas) {
    OverlayMap map{1000};
    const auto run = [&](uint64_t first, uint64_t count) {
        const OverlayMap::Run found = map.run(first, count);
        return std::pair{found.in_layer, found.sectors};
    };
    EXPECT_EQ(run(0, 1000), std::pair(false, uint64_t{1000}));
    map.add(60, 200);
    map.add(999, 1);
    map.add(500, 0);
    EXPECT_EQ(run(0, 1000), std::pair(false, uint64_t{60}));
    EXPECT_EQ(run(60, 1000 - 60), std::pair(true, uint64_t{200}));
    EXPECT_EQ(run(100, 7), std::pair(true, uint64_t{7}));
    EXPECT_EQ(run(260, 740), std::pair(false, uint64_t{739}));
    EXPECT_EQ(run(999, 1), std::pair(true, uint64_t{1}));
    map.add(64, 64);
    EXPECT_EQ(run(60, 300), std::pair(true, uint64_t{200})) << "twice is once";
}

TEST(OverlayBackend, AWriteCountsForWhatWasDoneOfIt) {
    auto owned = std::make_unique<ManualBackend>();
    ManualBackend& files = *owned;
    OverlayMap map{100};
    OverlayBackend overlay{std::move(owned), map, kSize};
    std::array<char, 4096> data{};
    const iovec memory[] = {{data.data(), 1536}};
    std::vector<BlockBackend::End> ends;
    const auto end_with = [&](int32_t result) {
        files.ends = {{3, result}};
        ends.clear();
        overlay.wait(ends, BlockBackend::kForever);
    };
    overlay.start(3, {.kind = Kind::write, .offset = 512, .length = 1536, .memory = memory});
    EXPECT_EQ(files.started.back().operation.file, kLayerFile);
    end_with(-ENOSPC);
    EXPECT_FALSE(map.run(1, 1).in_layer) << "what was below is still there";
    overlay.start(3, {.kind = Kind::write, .offset = 512, .length = 1536, .memory = memory});
    end_with(700);
    EXPECT_TRUE(map.run(1, 1).in_layer);
    EXPECT_FALSE(map.run(2, 1).in_layer) << "half of it only";
    overlay.start(3, {.kind = Kind::write, .offset = 1212, .length = 836, .memory = memory});
    end_with(836);
    EXPECT_EQ(map.run(1, 99).sectors, 3U);
    // A read goes as far as one of the two reaches.
    overlay.start(3, {.kind = Kind::read, .offset = 0, .length = 1536, .memory = memory});
    EXPECT_EQ(files.started.back().operation.file, 0);
    EXPECT_EQ(files.started.back().operation.length, 512U);
    ASSERT_EQ(files.started.back().operation.memory.size(), 1U);
    EXPECT_EQ(files.started.back().operation.memory[0].iov_len, 512U);
    end_with(512);
    overlay.start(3, {.kind = Kind::read, .offset = 700, .length = 1500, .memory = memory});
    EXPECT_EQ(files.started.back().operation.file, kLayerFile);
    EXPECT_EQ(files.started.back().operation.length, 4U * 512 - 700);
    end_with(1348);
    overlay.start(3, {.kind = Kind::flush});
    EXPECT_EQ(files.started.size(), 5U) << "there is nothing to flush";
    end_with(0);
    EXPECT_FALSE(ends.empty());
    overlay.start(3, {.kind = Kind::discard, .offset = 0, .length = 512});
    EXPECT_EQ(files.started.back().operation.kind, Kind::unmap_zeroes);
    end_with(0);
    EXPECT_TRUE(map.run(0, 1).in_layer) << "what was below must not come back";
}

}  // namespace
}  // namespace hull::virtio
