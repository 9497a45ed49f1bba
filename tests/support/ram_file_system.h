// A file system for tests that need more of it than /tmp has: direct I/O, errors.
#pragma once

#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "tests/support/files.h"

namespace hull::test {

/// An ext4 of 64 MiB on /dev/ram0, which takes O_DIRECT; there for one test, which must run as root.
class RamFileSystem {
  public:
    RamFileSystem() {
        made_ = std::system(("mkfs.ext4 -q -F /dev/ram0 64M 2>/dev/null && mount /dev/ram0 '" +
                             folder_.path().string() + "'")
                                .c_str()) == 0;
    }
    RamFileSystem(const RamFileSystem&) = delete;
    RamFileSystem& operator=(const RamFileSystem&) = delete;
    ~RamFileSystem() {
        // A ring that knew a file of it gives that up in the background.
        int tries = 0;
        while (made_ && umount(folder_.path().c_str()) != 0 && ++tries < 1000) {
            std::this_thread::sleep_for(std::chrono::milliseconds{10});
        }
        EXPECT_LT(tries, 1000) << errno;
    }
    [[nodiscard]] bool made() const { return made_; }
    [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }

  private:
    TemporaryFolder folder_;
    bool made_ = false;
};

}  // namespace hull::test
