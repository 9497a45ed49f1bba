#include "devices/block/disk_image.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/support/errors.h"
#include "tests/support/files.h"

namespace hull::virtio {
namespace {

constexpr uint64_t kDiskSize = 64 * 1024;

class DiskImageTest : public testing::Test {
  protected:
    test::TemporaryFolder folder_;
};

TEST_F(DiskImageTest, IsOneMachinesToWriteAndManysToRead) {
    const auto path = folder_.file("disk", std::string(kDiskSize, '\0'));
    {
        const DiskImage writer = open_disk_image(path, DiskUse::write, false);
        EXPECT_EQ(writer.size, kDiskSize);
        for (const DiskUse use : {DiskUse::write, DiskUse::read, DiskUse::overlay}) {
            test::expect_error([&] { open_disk_image(path, use, false); }, ExitStatus::bad_file,
                               {path.string(), "another machine", "readonly"});
        }
    }
    const DiskImage first = open_disk_image(path, DiskUse::read, false);
    const DiskImage second = open_disk_image(path, DiskUse::read, false);
    EXPECT_TRUE(second.readonly);
    test::expect_error([&] { open_disk_image(path, DiskUse::write, false); }, ExitStatus::bad_file,
                       {"another machine"});
}

TEST_F(DiskImageTest, WhatCannotBeADiskIsAnErrorForAPerson) {
    const auto refused = [](const std::filesystem::path& path,
                            std::initializer_list<std::string_view> words) {
        SCOPED_TRACE(path);
        test::expect_error([&] { open_disk_image(path, DiskUse::write, false); }, ExitStatus::bad_file,
                           words);
    };
    refused("/nonexistent/disk", {"cannot use disk '/nonexistent/disk'", "No such file", "check the path"});
    refused(folder_.path(), {"it is a folder"});
    refused(folder_.file("empty", ""), {"it is empty", "truncate"});
    refused(folder_.file("odd", std::string(513, '\0')), {"513 bytes", "not a multiple of 512"});
    refused("/dev/null", {"neither a regular file nor a block device"});
    const auto pipe = folder_.path() / "pipe";
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    refused(pipe, {"neither a regular file nor a block device"});
}

}  // namespace
}  // namespace hull::virtio
