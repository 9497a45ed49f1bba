// Disks made of several files: their partition table, and what is read and written where.
#include "devices/block/joined.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "devices/block/disk_image.h"
#include "tests/support/command.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/manual_backend.h"

namespace hull::virtio {
namespace {

using test::ManualBackend;
using Kind = BlockOperation::Kind;

constexpr uint64_t kMiB = uint64_t{1} << 20;

std::string bytes_of(const PartitionTable& table) {
    std::string bytes(table.disk_size(), 'x');
    // In pieces of an odd size, as the table may be asked.
    for (size_t at = 0; at < bytes.size();) {
        const size_t part = std::min<size_t>(7000, bytes.size() - at);
        table.read(at, std::as_writable_bytes(std::span{bytes}.subspan(at, part)));
        at += part;
    }
    return bytes;
}

std::string output_of(const std::string& command) {
    const test::Ran ran = test::run_command("PATH=$PATH:/sbin:/usr/sbin " + command);
    EXPECT_EQ(ran.status, 0) << command << "\n" << ran.out;
    return ran.out;
}

TEST(PartitionTable, IsSoundToProgramsThatReadSuch) {
    const test::TemporaryFolder folder;
    const uint64_t sizes[] = {4096, 3 * kMiB, kMiB - 4096, 8192};
    for (const uint32_t block : {512U, 4096U}) {
        SCOPED_TRACE(block);
        const PartitionTable table{sizes, block, "data"};
        EXPECT_EQ(table.disk_size(), 7 * kMiB);
        const auto path = folder.file("disk", bytes_of(table)).string();
        const std::string list = output_of("fdisk --sector-size " + std::to_string(block) +
                                           " --list --output Start,End,Sectors " + path);
        // Both are what it says to a broken table.
        EXPECT_THAT(list, testing::Not(testing::HasSubstr("corrupt")));
        EXPECT_THAT(list, testing::Not(testing::HasSubstr("mismatch")));
        for (const auto& [start, size] : table.partitions()) {
            EXPECT_EQ(start % kMiB, 0U);
            EXPECT_THAT(list, testing::ContainsRegex("\n *" + std::to_string(start / block) + " +" +
                                                     std::to_string((start + size) / block - 1) + " +" +
                                                     std::to_string(size / block) + "\n"));
        }
        if (block == 512) {
            // These take no other block size for a file.
            EXPECT_THAT(output_of("sfdisk --verify " + path), testing::HasSubstr("No errors detected"));
            EXPECT_THAT(output_of("sgdisk --verify " + path), testing::HasSubstr("No problems found"));
        }
    }
}

TEST(PartitionTable, IsTheSameEachTimeAndNoOtherDisks) {
    const std::vector<uint64_t> sizes(5, 512);
    const std::string first = bytes_of({sizes, 512, "disk0"});
    EXPECT_EQ(first, bytes_of({sizes, 512, "disk0"}));
    const std::string other = bytes_of({sizes, 512, "disk1"});
    constexpr size_t kEntries = 1024;
    for (size_t entry = 0; entry < sizes.size(); ++entry) {
        const std::string uuid = first.substr(kEntries + 128 * entry + 16, 16);
        EXPECT_EQ(other.find(uuid), std::string::npos) << "two disks have a partition of one UUID";
        EXPECT_EQ(first.find(uuid, kEntries + 128 * (entry + 1)),
                  first.size() - 512 - 128 * (PartitionTable::kMostPartitions - entry) + 16)
            << "two partitions have one UUID";
    }
}

/// Two partitions: 4096 bytes at 1 MiB, 8192 at 2 MiB; and a third file behind them.
class JoinedBackendTest : public testing::Test {
  protected:
    /// What the files were asked for by this, which is ended.
    std::vector<ManualBackend::Started> run(const BlockOperation& operation,
                                            const std::vector<int32_t>& results) {
        files_.started.clear();
        result_.reset();
        joined_.start(3, operation);
        std::vector<BlockBackend::End> ends;
        joined_.wait(ends, BlockBackend::kForever);
        for (const int32_t result : results) {
            EXPECT_TRUE(ends.empty()) << "it ended early";
            files_.ends = {{3, result}};
            joined_.wait(ends, BlockBackend::kForever);
        }
        EXPECT_EQ(ends.size(), 1U);
        if (!ends.empty()) {
            EXPECT_EQ(ends[0].slot, 3);
            result_ = ends[0].result;
        }
        return files_.started;
    }
    static void expect(const ManualBackend::Started& started, uint16_t file, uint64_t offset,
                       uint64_t length) {
        EXPECT_EQ(started.operation.file, file);
        EXPECT_EQ(started.operation.offset, offset);
        EXPECT_EQ(started.operation.length, length);
        uint64_t bytes = 0;
        for (const iovec& segment : started.operation.memory) {
            bytes += segment.iov_len;
        }
        EXPECT_TRUE(started.operation.memory.empty() || bytes == length);
    }

    const uint64_t sizes_[2] = {4096, 8192};
    const PartitionTable table_{sizes_, 512, "d"};
    std::unique_ptr<ManualBackend> owned_ = std::make_unique<ManualBackend>();
    ManualBackend& files_ = *owned_;
    JoinedBackend joined_{std::move(owned_), table_, 16};
    std::optional<int32_t> result_;
    std::string room_ = std::string(16384, 'r');
    const iovec memory_[2] = {{room_.data(), 1000}, {room_.data() + 1000, 7192}};
};

TEST_F(JoinedBackendTest, TransfersEndWhereAPartitionDoes) {
    for (const Kind kind : {Kind::read, Kind::write}) {
        auto started = run({.kind = kind, .offset = 2 * kMiB, .length = 8192, .memory = memory_}, {8192});
        ASSERT_EQ(started.size(), 1U);
        expect(started[0], 1, 0, 8192);
        EXPECT_EQ(result_, 8192);
        started = run({.kind = kind, .offset = kMiB + 3584, .length = 8192, .memory = memory_}, {512});
        ASSERT_EQ(started.size(), 1U);
        expect(started[0], 0, 3584, 512);
        EXPECT_EQ(result_, 512);
        started = run({.kind = kind, .offset = 2 * kMiB + 512, .length = 512, .memory = memory_}, {-ENOSPC});
        EXPECT_EQ(result_, -ENOSPC);
    }
}

TEST_F(JoinedBackendTest, OutsideOfPartitionsIsReadOnly) {
    EXPECT_TRUE(run({.kind = Kind::read, .offset = 0, .length = 8192, .memory = memory_}, {}).empty());
    EXPECT_EQ(result_, 8192);
    EXPECT_EQ(room_.substr(0, 8192), bytes_of(table_).substr(0, 8192));
    EXPECT_EQ(room_.substr(8192), std::string(8192, 'r'));
    // Up to the next partition, and up to the end.
    run({.kind = Kind::read, .offset = 2 * kMiB - 512, .length = 8192, .memory = memory_}, {});
    EXPECT_EQ(result_, 512);
    run({.kind = Kind::read, .offset = 3 * kMiB - 8192, .length = 8192, .memory = memory_}, {});
    EXPECT_EQ(result_, 8192);
    for (const uint64_t offset : {uint64_t{0}, kMiB - 512, kMiB + 4096, 2 * kMiB + 8192, 3 * kMiB - 512}) {
        for (const Kind kind : {Kind::write, Kind::discard, Kind::unmap_zeroes, Kind::write_zeroes}) {
            const bool transfers = kind == Kind::write;
            EXPECT_TRUE(run({.kind = kind,
                             .offset = offset,
                             .length = 512,
                             .memory = transfers ? std::span{memory_} : std::span<const iovec>{}},
                            {})
                            .empty());
            EXPECT_EQ(result_, -EIO) << offset;
        }
    }
}

TEST_F(JoinedBackendTest, AFlushReachesEachFile) {
    const auto started = run({Kind::flush}, {0, 0});
    ASSERT_EQ(started.size(), 2U);
    EXPECT_EQ(started[0].operation.file, 0);
    EXPECT_EQ(started[1].operation.file, 1);
    EXPECT_EQ(started[1].operation.kind, Kind::flush);
    EXPECT_EQ(result_, 0);
    EXPECT_EQ(run({Kind::flush}, {-EIO}).size(), 1U);
    EXPECT_EQ(result_, -EIO);
    EXPECT_EQ(run({Kind::flush}, {0, -EIO}).size(), 2U);
    EXPECT_EQ(result_, -EIO);
}

TEST_F(JoinedBackendTest, WhatClearsGoesOnUntilItLeavesThePartitions) {
    const auto started = run({.kind = Kind::discard, .offset = 2 * kMiB + 512, .length = 1024}, {0});
    ASSERT_EQ(started.size(), 1U);
    expect(started[0], 1, 512, 1024);
    EXPECT_EQ(result_, 0);
    EXPECT_EQ(run({.kind = Kind::write_zeroes, .offset = kMiB, .length = 8192}, {0}).size(), 1U);
    EXPECT_EQ(result_, -EIO) << "it was done by half";
    // Partitions that follow on each other.
    const uint64_t sizes[] = {kMiB, kMiB};
    const PartitionTable table{sizes, 512, "d"};
    auto owned = std::make_unique<ManualBackend>();
    ManualBackend& files = *owned;
    JoinedBackend joined{std::move(owned), table, 4};
    std::vector<BlockBackend::End> ends;
    joined.start(1, {.kind = Kind::unmap_zeroes, .offset = kMiB + 4096, .length = kMiB});
    files.ends = {{1, 0}};
    joined.wait(ends, BlockBackend::kForever);
    EXPECT_TRUE(ends.empty());
    files.ends = {{1, 0}};
    joined.wait(ends, BlockBackend::kForever);
    ASSERT_EQ(ends.size(), 1U);
    EXPECT_EQ(ends[0].result, 0);
    ASSERT_EQ(files.started.size(), 2U);
    expect(files.started[0], 0, 4096, kMiB - 4096);
    expect(files.started[1], 1, 0, 4096);
    EXPECT_EQ(files.started[1].operation.kind, Kind::unmap_zeroes);
}

TEST_F(JoinedBackendTest, FilesBehindThePartitionsArePassedOn) {
    const auto started =
        run({.kind = Kind::write, .offset = 0, .length = 8192, .file = 1, .memory = memory_}, {8192});
    ASSERT_EQ(started.size(), 1U);
    expect(started[0], 2, 0, 8192);
    EXPECT_EQ(result_, 8192);
    EXPECT_EQ(run({.kind = Kind::unmap_zeroes, .offset = 0, .length = 8192, .file = 1}, {0}).size(), 1U);
    EXPECT_EQ(result_, 0);
}

TEST(JoinedImage, HasAllOfItsFilesLocked) {
    const test::TemporaryFolder folder;
    const std::filesystem::path paths[] = {folder.file("a", std::string(4096, 'a')),
                                           folder.file("b", std::string(512, 'b'))};
    const DiskImage image = open_joined_image(paths, "d", DiskUse::write, false);
    EXPECT_EQ(image.size, image.table->disk_size());
    for (const auto& path : paths) {
        test::expect_error([&] { open_disk_image(path, DiskUse::read, false); }, ExitStatus::bad_file,
                           {path.string(), "another machine"});
    }
    const std::filesystem::path odd[] = {folder.file("c", std::string(4096, 'a')),
                                         folder.file("d", std::string(700, 'b'))};
    test::expect_error([&] { open_joined_image(odd, "d", DiskUse::write, false); }, ExitStatus::bad_file,
                       {odd[1].string(), "not a multiple of 512"});
    const std::filesystem::path twice[] = {odd[0], odd[0]};
    test::expect_error([&] { open_joined_image(twice, "d", DiskUse::write, false); }, ExitStatus::bad_file,
                       {"another disk of this one"});
    EXPECT_EQ(open_joined_image(twice, "d", DiskUse::read, false).files.size(), 2U);
}

}  // namespace
}  // namespace hull::virtio
