#include "devices/bus/bus.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "tests/support/errors.h"

namespace hull {
namespace {

/// Answers with a byte of its own and remembers the last access.
class Probe final : public BusDevice {
  public:
    explicit Probe(uint8_t answer) : answer_{answer} {}
    void read(uint64_t offset, std::span<std::byte> data) override {
        for (const std::byte byte : data) {
            all_ones_before = all_ones_before && byte == std::byte{0xff};
        }
        data[0] = std::byte{answer_};
        last_offset = offset;
        last_size = data.size();
        ++accesses;
    }
    void write(uint64_t offset, std::span<const std::byte> data) override {
        last_offset = offset;
        last_size = data.size();
        last_written = std::to_integer<uint8_t>(data[0]);
        ++accesses;
    }

    bool all_ones_before = true;
    uint64_t last_offset = 0;
    size_t last_size = 0;
    uint8_t last_written = 0;
    int accesses = 0;

  private:
    uint8_t answer_;
};

class BusTest : public testing::Test {
  protected:
    BusTest() {
        bus_.attach(GuestRange::of(0x200, 0x10), second_, "second");
        bus_.attach(GuestRange::of(0x100, 0x10), first_, "first");
        bus_.attach(GuestRange::of(0x110, 0x8), neighbour_, "neighbour");
        bus_.attach(GuestRange::of(UINT64_MAX - 7, 8), top_, "top");
    }

    Probe first_{1};
    Probe second_{2};
    Probe neighbour_{3};
    Probe top_{4};
    Bus bus_;
};

TEST_F(BusTest, OverlapIsRefusedNamingBoth) {
    const std::vector<GuestRange> wrong = {GuestRange::of(0x10f, 1), GuestRange::of(0, 0x101),
                                           GuestRange::of(0x100, 0x10), GuestRange::of(0, 0x1000),
                                           GuestRange::of(0x104, 2)};
    for (const GuestRange& range : wrong) {
        Probe other{9};
        test::expect_error([&] { bus_.attach(range, other, "newcomer"); }, ExitStatus::internal_failure,
                           {"'newcomer'", "'first'", "overlap"});
    }
    // What was refused is not there.
    std::array<std::byte, 1> data{};
    EXPECT_FALSE(bus_.read(GuestAddress{0}, data));
}

TEST_F(BusTest, EachAccessReachesItsDeviceAtItsOffset) {
    for (const size_t width : {1, 2, 4, 8}) {
        std::vector<std::byte> data(width, std::byte{0});
        EXPECT_TRUE(bus_.read(GuestAddress{0x108}, data));
        EXPECT_EQ(data[0], std::byte{1});
        EXPECT_EQ(data[width - 1], width == 1 ? std::byte{1} : std::byte{0xff});
        EXPECT_EQ(first_.last_offset, 8U);
        EXPECT_EQ(first_.last_size, width);
        data[0] = std::byte{0x5a};
        EXPECT_TRUE(bus_.write(GuestAddress{0x110}, data));
        EXPECT_EQ(neighbour_.last_offset, 0U);
        EXPECT_EQ(neighbour_.last_size, width);
        EXPECT_EQ(neighbour_.last_written, 0x5aU);
    }
    EXPECT_TRUE(first_.all_ones_before);
    EXPECT_EQ(second_.accesses, 0);
}

TEST_F(BusTest, GapsAndStraddlingAccessesReadAllOnesAndReachNobody) {
    struct Row {
        uint64_t address;
        size_t width;
    };
    const std::vector<Row> rows = {
        {0, 1},
        {0xff, 1},
        {0xff, 2},
        {0x10f, 2},
        {0x10d, 4},
        {0x10c, 8},
        {0x118, 1},
        {0x117, 2},
        {0x1ff, 1},
        {0x1ff, 4},
        {0x20f, 2},
        {0x210, 8},
        {0xf8, 8 + 1},
        {UINT64_MAX - 8, 8},
        {UINT64_MAX, 2},
        {UINT64_MAX - 3, 8},
        {UINT64_MAX - 8, 1},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(testing::Message() << std::hex << row.address << " width " << row.width);
        std::vector<std::byte> data(row.width, std::byte{0});
        EXPECT_FALSE(bus_.read(GuestAddress{row.address}, data));
        EXPECT_EQ(data, std::vector<std::byte>(row.width, std::byte{0xff}));
        EXPECT_FALSE(bus_.write(GuestAddress{row.address}, data));
    }
    EXPECT_EQ(first_.accesses + second_.accesses + neighbour_.accesses + top_.accesses, 0);
    std::array<std::byte, 8> data{};
    EXPECT_TRUE(bus_.read(GuestAddress{UINT64_MAX - 7}, data));
    EXPECT_EQ(data[0], std::byte{4});
}

TEST(Bus, AnEmptyBusReadsAllOnes) {
    const Bus bus;
    std::array<std::byte, 4> data{};
    EXPECT_FALSE(bus.read(GuestAddress{0x80}, data));
    EXPECT_EQ(data[3], std::byte{0xff});
    EXPECT_FALSE(bus.write(GuestAddress{0x80}, data));
}

}  // namespace
}  // namespace hull
