#include "devices/block/bounce.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "tests/support/manual_backend.h"

namespace hull::virtio {
namespace {

using test::ManualBackend;
using Kind = BlockOperation::Kind;

class BounceBackendTest : public testing::Test {
  protected:
    int32_t end_with(int32_t result) {
        files_.ends = {{5, result}};
        std::vector<BlockBackend::End> ends;
        bounce_.wait(ends, BlockBackend::kForever);
        EXPECT_EQ(ends.size(), 1U);
        return ends.empty() ? INT32_MIN : ends[0].result;
    }
    [[nodiscard]] const BlockOperation& last() const { return files_.started.back().operation; }
    static char* data_of(const BlockOperation& operation) {
        return static_cast<char*>(operation.memory.front().iov_base);
    }

    std::unique_ptr<ManualBackend> owned_ = std::make_unique<ManualBackend>();
    ManualBackend& files_ = *owned_;
    BounceBackend bounce_{std::move(owned_), 512, 512, 16};
    alignas(4096) std::array<char, 2 * BounceBackend::kMostAtOnce + 4096> room_{};
};

TEST_F(BounceBackendTest, AlignedMemoryIsNotCopied) {
    const iovec memory[] = {{room_.data() + 512, 1024}, {room_.data() + 4096, 512}};
    for (const Kind kind : {Kind::read, Kind::write}) {
        bounce_.start(5, {.kind = kind, .offset = 0, .length = 1536, .memory = memory});
        EXPECT_EQ(last().memory.data(), memory);
        EXPECT_EQ(end_with(1536), 1536);
    }
    bounce_.start(5, {.kind = Kind::discard, .offset = 4096, .length = 512});
    EXPECT_EQ(last().kind, Kind::discard);
    EXPECT_EQ(end_with(-EOPNOTSUPP), -EOPNOTSUPP);
}

TEST_F(BounceBackendTest, OtherMemoryIsReadIntoAndWrittenFromByWayOfAligned) {
    // At no boundary; and at one, but cut within a block.
    const iovec odd[] = {{room_.data() + 1, 1024}};
    const iovec cut[] = {{room_.data(), 100}, {room_.data() + 512, 924}};
    for (const std::span<const iovec> memory : {std::span<const iovec>{odd}, std::span<const iovec>{cut}}) {
        char value = 'a';
        for (const iovec& segment : memory) {
            std::memset(segment.iov_base, value++, segment.iov_len);
        }
        bounce_.start(5, {.kind = Kind::write, .offset = 512, .length = 1024, .file = 1, .memory = memory});
        EXPECT_EQ(last().offset, 512U);
        EXPECT_EQ(last().length, 1024U);
        EXPECT_EQ(last().file, 1);
        ASSERT_EQ(last().memory.size(), 1U);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(data_of(last())) % 4096, 0U);
        const std::string written{data_of(last()), last().memory[0].iov_len};
        std::string expected;
        for (const iovec& segment : memory) {
            expected.append(static_cast<char*>(segment.iov_base), segment.iov_len);
        }
        EXPECT_EQ(written, expected);
        EXPECT_EQ(end_with(1024), 1024);

        const auto before = room_;
        bounce_.start(5, {.kind = Kind::read, .offset = 0, .length = 1024, .memory = memory});
        std::memset(data_of(last()), 'r', 1024);
        EXPECT_EQ(end_with(512), 512) << "less was there";
        EXPECT_EQ(std::ranges::count(room_, 'r'), 512);
        EXPECT_EQ(*static_cast<char*>(memory[0].iov_base), 'r');
        room_ = before;
        bounce_.start(5, {.kind = Kind::read, .offset = 0, .length = 1024, .memory = memory});
        std::memset(data_of(last()), 'r', 1024);
        EXPECT_EQ(end_with(-EIO), -EIO);
        EXPECT_EQ(room_, before) << "nothing was read";
    }
}

TEST_F(BounceBackendTest, TakesSoMuchAtOnceOnly) {
    const iovec memory[] = {{room_.data() + 8, 2 * BounceBackend::kMostAtOnce}};
    bounce_.start(
        5, {.kind = Kind::read, .offset = 0, .length = 2 * BounceBackend::kMostAtOnce, .memory = memory});
    EXPECT_EQ(last().length, BounceBackend::kMostAtOnce);
    EXPECT_EQ(last().memory[0].iov_len, BounceBackend::kMostAtOnce);
    EXPECT_EQ(end_with(static_cast<int32_t>(BounceBackend::kMostAtOnce)),
              static_cast<int32_t>(BounceBackend::kMostAtOnce));
}

}  // namespace
}  // namespace hull::virtio
