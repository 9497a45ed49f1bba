// What a disk's backends do on real files, by io_uring and without.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "base/io_ring.h"
#include "devices/block/file_backend.h"
#include "tests/support/files.h"
#include "tests/support/ram_file_system.h"

namespace hull::virtio {
namespace {

using Kind = BlockOperation::Kind;

constexpr uint64_t kSize = 1 << 20;
constexpr uint16_t kSlots = 64;

struct Way {
    const char* name;
    BlockBackendMaker (*make)(const DiskImage& image);
};

class BlockBackendTest : public testing::TestWithParam<Way> {
  protected:
    void SetUp() override {
        path_ = folder_.file("disk", std::string(kSize, 'f'));
        image_ = open_disk_image(path_, DiskUse::write, false);
        backend_ = GetParam().make(image_)(kSlots, kick_.get(), stop_.get());
        backend_->begin();
    }
    /// Waits until `count` operations have ended, and answers their results by slot.
    std::array<int32_t, kSlots> results(size_t count) {
        std::array<int32_t, kSlots> by_slot;
        by_slot.fill(INT32_MIN);
        for (std::vector<BlockBackend::End> ends; count > 0; ends.clear()) {
            backend_->wait(ends, BlockBackend::kForever);
            for (const BlockBackend::End& end : ends) {
                by_slot.at(end.slot) = end.result;
                --count;
            }
        }
        return by_slot;
    }
    int32_t result_of(const BlockOperation& operation) {
        backend_->start(7, operation);
        return results(1)[7];
    }
    std::string contents(uint64_t offset, uint64_t length) {
        std::string text(length, ' ');
        EXPECT_EQ(pread(image_.files[0].get(), text.data(), length, static_cast<off_t>(offset)),
                  static_cast<ssize_t>(length));
        return text;
    }

    test::TemporaryFolder folder_;
    std::filesystem::path path_;
    DiskImage image_;
    UniqueFd kick_ = make_eventfd();
    UniqueFd stop_ = make_eventfd();
    std::unique_ptr<BlockBackend> backend_;
};

TEST_P(BlockBackendTest, ReadsAndWritesInParts) {
    std::string first(512, 'a');
    std::string second(1536, 'b');
    const iovec write[] = {{first.data(), first.size()}, {second.data(), second.size()}};
    EXPECT_EQ(result_of({.kind = Kind::write, .offset = 4096, .length = 2048, .memory = write}), 2048);
    EXPECT_EQ(contents(4095, 2050), "f" + first + second + "f");
    std::string whole(1024, ' ');
    const iovec read[] = {{whole.data(), 100}, {whole.data() + 100, 924}};
    EXPECT_EQ(result_of({.kind = Kind::read, .offset = 4096, .length = 1024, .memory = read}), 1024);
    EXPECT_EQ(whole, first + std::string(512, 'b'));
    EXPECT_EQ(result_of({Kind::flush}), 0);
}

TEST_P(BlockBackendTest, GivesRoomBack) {
    const auto blocks = [&] {
        struct stat status {};
        fstat(image_.files[0].get(), &status);
        return status.st_blocks;
    };
    ASSERT_EQ(result_of({Kind::flush}), 0);
    const auto before = blocks();
    for (const Kind kind : {Kind::discard, Kind::unmap_zeroes}) {
        const uint64_t offset = kind == Kind::discard ? 0 : kSize / 2;
        EXPECT_EQ(result_of({kind, offset, kSize / 4}), 0);
        EXPECT_EQ(contents(offset, kSize / 4), std::string(kSize / 4, '\0'));
    }
    EXPECT_EQ(blocks(), before / 2);
    EXPECT_EQ(contents(kSize / 4, kSize / 4), std::string(kSize / 4, 'f'));
    // Some file systems cannot do this one; they must say so and leave all as it is.
    const int32_t zeroed = result_of({Kind::write_zeroes, kSize / 4, 4096});
    EXPECT_TRUE(zeroed == 0 || zeroed == -EOPNOTSUPP) << zeroed;
    EXPECT_EQ(contents(kSize / 4, 4096), std::string(4096, zeroed == 0 ? '\0' : 'f'));
    struct stat status {};
    fstat(image_.files[0].get(), &status);
    EXPECT_EQ(status.st_size, static_cast<off_t>(kSize)) << "the disk has become shorter";
}

TEST_P(BlockBackendTest, HasManyUnderWay) {
    std::array<std::array<char, 4096>, kSlots> buffers{};
    std::array<iovec, kSlots> memory{};
    // The first is under way when the others come, so that these are not done in place.
    backend_->start(0, {Kind::write_zeroes, kSize / 2, 4096});
    for (uint16_t slot = 1; slot < kSlots; ++slot) {
        buffers[slot].fill(static_cast<char>(slot));
        memory[slot] = {buffers[slot].data(), buffers[slot].size()};
        backend_->start(slot, {.kind = Kind::write,
                               .offset = uint64_t{4096} * slot,
                               .length = 4096,
                               .memory = std::span{&memory[slot], 1}});
    }
    const auto ended = results(kSlots);
    EXPECT_TRUE(
        std::ranges::all_of(std::span{ended}.subspan(1), [](int32_t result) { return result == 4096; }));
    for (uint16_t slot = 1; slot < kSlots; ++slot) {
        EXPECT_EQ(contents(uint64_t{4096} * slot, 4096), std::string(4096, static_cast<char>(slot)));
    }
}

TEST_P(BlockBackendTest, TellsErrorsAndTheEndOfTheFile) {
    ASSERT_EQ(truncate(path_.c_str(), 1024), 0);
    std::string room(2048, ' ');
    const iovec memory[] = {{room.data(), room.size()}};
    EXPECT_EQ(result_of({.kind = Kind::read, .offset = 512, .length = 2048, .memory = memory}), 512);
    EXPECT_EQ(result_of({.kind = Kind::read, .offset = 4096, .length = 2048, .memory = memory}), 0);
    backend_.reset();
    image_ = {};
    image_ = open_disk_image(path_, DiskUse::read, false);
    backend_ = GetParam().make(image_)(kSlots, kick_.get(), stop_.get());
    EXPECT_EQ(result_of({.kind = Kind::write, .offset = 0, .length = 2048, .memory = memory}), -EBADF);
}

TEST_P(BlockBackendTest, WakesForKicksAndForTheEndOnce) {
    std::vector<BlockBackend::End> ends;
    for (int round = 0; round < 3; ++round) {
        std::thread kicker{[&] { signal_eventfd(kick_.get()); }};
        EXPECT_TRUE(backend_->wait(ends, BlockBackend::kForever));
        kicker.join();
    }
    signal_eventfd(stop_.get());
    while (backend_->wait(ends, BlockBackend::kForever)) {
    }
    signal_eventfd(kick_.get());
    EXPECT_TRUE(backend_->wait(ends, BlockBackend::kForever)) << "it was told already";
    EXPECT_TRUE(ends.empty());

    // And once more each time that the device is active.
    for (int round = 0; round < 3; ++round) {
        drain_eventfd(stop_.get());
        backend_->begin();
        EXPECT_EQ(result_of({Kind::flush}), 0);
        EXPECT_TRUE(backend_->wait(ends, std::chrono::milliseconds{5})) << "that was for the time before";
        signal_eventfd(stop_.get());
        while (backend_->wait(ends, BlockBackend::kForever)) {
        }
    }
}

TEST_P(BlockBackendTest, IsToldToStopHoweverMuchIsDoneInPlace) {
    char byte = ' ';
    const iovec memory[] = {{&byte, 1}};
    const BlockOperation operation{.kind = Kind::read, .offset = 0, .length = 1, .memory = memory};
    signal_eventfd(stop_.get());
    std::vector<BlockBackend::End> ends;
    int rounds = 0;
    do {
        backend_->start(0, operation);
    } while (backend_->wait(ends, BlockBackend::kForever) && ++rounds < 1000);
    EXPECT_LT(rounds, 1000);
}

TEST_P(BlockBackendTest, AnOverlayLeavesTheDiskAsItIs) {
    backend_.reset();
    image_ = {};
    const DiskImage image = open_disk_image(path_, DiskUse::overlay, false);
    EXPECT_FALSE(image.readonly);
    const DiskImage other = open_disk_image(path_, DiskUse::overlay, false);
    const BlockBackendMaker make = GetParam().make(image);
    backend_ = make(kSlots, kick_.get(), stop_.get());
    std::string data(1024, 'o');
    const iovec memory[] = {{data.data(), data.size()}};
    EXPECT_EQ(result_of({.kind = Kind::write, .offset = 4096, .length = 1024, .memory = memory}), 1024);
    EXPECT_EQ(result_of({.kind = Kind::flush}), 0);
    EXPECT_EQ(result_of({.kind = Kind::discard, .offset = 8192, .length = 512}), 0);
    // Another queue of the same disk sees the same.
    backend_ = make(kSlots, kick_.get(), stop_.get());
    std::string whole(8192, ' ');
    for (uint64_t done = 0; done < whole.size();) {
        const iovec rest[] = {{whole.data() + done, whole.size() - done}};
        const int32_t got = result_of(
            {.kind = Kind::read, .offset = 1024 + done, .length = whole.size() - done, .memory = rest});
        ASSERT_GT(got, 0);
        done += static_cast<uint64_t>(got);
    }
    EXPECT_EQ(whole, std::string(3072, 'f') + data + std::string(3072, 'f') + std::string(512, '\0') +
                         std::string(512, 'f'));
    image_ = {};
    image_ = open_disk_image(path_, DiskUse::read, false);
    EXPECT_EQ(contents(0, kSize), std::string(kSize, 'f'));
}

TEST_P(BlockBackendTest, SeveralFilesAreOneDisk) {
    backend_.reset();
    image_ = {};
    const std::filesystem::path paths[] = {path_, folder_.file("second", std::string(4096, 's'))};
    image_ = open_joined_image(paths, "d", DiskUse::write, false);
    const BlockBackendMaker make = GetParam().make(image_);
    backend_ = make(kSlots, kick_.get(), stop_.get());
    const auto second = image_.table->partitions()[1];
    std::string room(1536, 'w');
    const iovec memory[] = {{room.data(), room.size()}};
    const uint64_t end = second.start + second.size;
    EXPECT_EQ(result_of({.kind = Kind::write, .offset = second.start, .length = 1536, .memory = memory}),
              1536);
    EXPECT_EQ(result_of({.kind = Kind::read, .offset = end - 512, .length = 1536, .memory = memory}), 512);
    EXPECT_EQ(room, std::string(512, 's') + std::string(1024, 'w'));
    EXPECT_EQ(result_of({.kind = Kind::read, .offset = 0, .length = 1536, .memory = memory}), 1536);
    EXPECT_EQ(room.substr(510, 10),
              "\x55\xaa"
              "EFI PART");
    EXPECT_EQ(result_of({.kind = Kind::write, .offset = 0, .length = 1536, .memory = memory}), -EIO);
    EXPECT_EQ(result_of({Kind::flush}), 0);
    EXPECT_EQ(result_of({Kind::unmap_zeroes, second.start, second.size}), 0);
    std::string whole(4096, ' ');
    EXPECT_EQ(pread(image_.files[1].get(), whole.data(), whole.size(), 0), 4096);
    EXPECT_EQ(whole, std::string(4096, '\0'));
    EXPECT_EQ(contents(0, kSize), std::string(kSize, 'f')) << "the other file is as it was";

    // With an overlay all of it can be written to, the table too.
    backend_.reset();
    image_ = {};
    image_ = open_joined_image(paths, "d", DiskUse::overlay, false);
    const BlockBackendMaker make_overlay = GetParam().make(image_);
    backend_ = make_overlay(kSlots, kick_.get(), stop_.get());
    room.assign(1536, 'o');
    for (const uint64_t offset : {uint64_t{0}, second.start}) {
        EXPECT_EQ(result_of({.kind = Kind::write, .offset = offset, .length = 1536, .memory = memory}), 1536);
    }
    room.assign(1536, ' ');
    EXPECT_EQ(result_of({.kind = Kind::read, .offset = second.start, .length = 1536, .memory = memory}),
              1536);
    EXPECT_EQ(room, std::string(1536, 'o'));
    EXPECT_EQ(pread(image_.files[1].get(), whole.data(), whole.size(), 0), 4096);
    EXPECT_EQ(whole, std::string(4096, '\0'));
}

TEST_P(BlockBackendTest, DirectTakesMemoryThatIsNotAligned) {
    if (!std::filesystem::exists("/dev/ram0")) {
        GTEST_SKIP() << "there is no /dev/ram0 here (modprobe brd)";
    }
    const test::RamFileSystem file_system;
    ASSERT_TRUE(file_system.made());
    const auto path = file_system.path() / "disk";
    std::ofstream{path} << std::string(kSize, 'd') << std::flush;
    backend_.reset();
    image_ = {};
    image_ = open_disk_image(path, DiskUse::write, true);
    EXPECT_GE(image_.memory_alignment, 2U) << "the test would see nothing";
    alignas(4096) std::array<char, 3 * 65536> room{};
    // What the kernel says to it without help.
    EXPECT_EQ(pread(image_.files[0].get(), room.data() + 1, 4096, 0), -1);
    EXPECT_EQ(errno, EINVAL);
    const BlockBackendMaker make = GetParam().make(image_);
    backend_ = make(kSlots, kick_.get(), stop_.get());
    std::memset(room.data(), 'w', room.size());
    // At no boundary; and cut within a block.
    const iovec odd[] = {{room.data() + 1, 100'000}, {room.data() + 130'000, 2400}};
    EXPECT_EQ(result_of({.kind = Kind::write, .offset = 4096, .length = 102'400, .memory = odd}), 65536);
    const iovec cut[] = {{room.data(), 100}, {room.data() + 512, 412}};
    EXPECT_EQ(result_of({.kind = Kind::write, .offset = 512, .length = 512, .memory = cut}), 512);
    EXPECT_EQ(result_of({Kind::flush}), 0);
    std::memset(room.data(), ' ', room.size());
    EXPECT_EQ(result_of({.kind = Kind::read, .offset = 0, .length = 102'400, .memory = odd}), 65536);
    const std::string expected = std::string(512, 'd') + std::string(512, 'w') + std::string(3072, 'd') +
                                 std::string(65536 - 4096, 'w');
    EXPECT_EQ(std::string(room.data() + 1, 65536), expected);
    EXPECT_EQ(room[0], ' ');
    EXPECT_EQ(room[65537], ' ');
    const iovec aligned[] = {{room.data(), 8192}};
    EXPECT_EQ(result_of({.kind = Kind::read, .offset = 0, .length = 8192, .memory = aligned}), 8192);
    EXPECT_EQ(std::string(room.data(), 8192), expected.substr(0, 8192));
    backend_.reset();
    image_ = {};
}

TEST_P(BlockBackendTest, SleepsNoLongerThanItIsLet) {
    std::vector<BlockBackend::End> ends;
    EXPECT_TRUE(backend_->wait(ends, std::chrono::milliseconds{20}));
    EXPECT_TRUE(ends.empty());
}

INSTANTIATE_TEST_SUITE_P(Ways, BlockBackendTest,
                         testing::Values(Way{"io_uring", make_file_backends},
                                         Way{"synchronous", make_synchronous_backends}),
                         [](const auto& way) { return std::string{way.param.name}; });

TEST(IoRing, IsThereOnTheHostThatTheTestsRunOn) {
    const UniqueFd event = make_eventfd();
    const int files[] = {event.get()};
    EXPECT_TRUE(IoRing::make(4, files)) << "the tests above did not try io_uring";
}

TEST(IoRing, DoesNothingElseThanItIsFor) {
    const UniqueFd event = make_eventfd();
    const int files[] = {event.get()};
    auto ring = IoRing::make(4, files);
    ASSERT_TRUE(ring);
    // A file that is not one of its own.
    ring->watch(1, 9);
    std::array<IoRing::End, 4> ends;
    ASSERT_EQ(ring->wait(ends, IoRing::kForever), 1U);
    EXPECT_EQ(ends[0].tag, 9U);
    EXPECT_EQ(ends[0].result, -EBADF);
}

}  // namespace
}  // namespace hull::virtio
