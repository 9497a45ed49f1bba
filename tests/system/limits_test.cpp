// What a machine may use of its host: groups of processes of both versions, as root and as somebody else.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/ordinary_user.h"
#include "tests/support/ram_file_system.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

const fs::path kGroups = "/sys/fs/cgroup";

void write_file(const fs::path& path, const std::string& text) {
    std::ofstream file{path};
    file << text << std::flush;
    EXPECT_TRUE(file.good()) << path << " '" << text << "'";
}

/// The group of version 2 that a process is in, as a folder.
fs::path group_of(pid_t pid) {
    const std::string text = contents_of("/proc/" + std::to_string(pid) + "/cgroup");
    const size_t at = text.find("0::");
    return kGroups.string() + text.substr(at + 3, text.find('\n', at) - at - 3);
}

std::vector<std::string> boot_small(std::vector<std::string> more) {
    return boot({"small", "small/bzImage", "initramfs-small", "acpi"}, "", std::move(more));
}

/// How many groups there are on the host.
long count_groups() {
    return std::ranges::count_if(fs::recursive_directory_iterator{kGroups},
                                 [](const auto& entry) { return entry.is_directory(); });
}

const char* no_groups() {
    if (geteuid() != 0) {
        return "only root may make groups of processes everywhere";
    }
    return fs::exists(kGroups / "cgroup.controllers") ? nullptr : "no groups of version 2 are mounted here";
}

class Limits : public testing::Test {
  protected:
    void SetUp() override {
        if (const char* reason = no_groups()) {
            GTEST_SKIP() << reason;
        }
        groups_ = count_groups();
    }
    void TearDown() override {
        if (no_groups() == nullptr) {
            EXPECT_EQ(count_groups(), groups_);
        }
    }

  private:
    long groups_ = 0;
};

TEST_F(Limits, HoldForTheMachineAndItsHelpersAndLeaveNothing) {
    if (!fs::exists("/dev/ram0")) {
        GTEST_SKIP() << "there is no /dev/ram0 here (modprobe brd)";
    }
    const RamFileSystem files;
    ASSERT_TRUE(files.made());
    const fs::path disk = files.path() / "disk";
    std::ofstream{disk}.flush();
    fs::resize_file(disk, size_t{8} << 20);
    HullProcess hull{boot_small({"--disk", disk, "--net", "user", "--cpu-quota", "0.5", "--memory-limit",
                                 "700M", "--pids-limit", "99", "--io-limit", "wbps=100M,riops=5000"}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    const fs::path group = group_of(hull.machine());
    EXPECT_EQ(group.parent_path(), kGroups / "hull");
    EXPECT_EQ(contents_of(group / "cpu.max"), "50000 100000\n");
    EXPECT_EQ(contents_of(group / "memory.max"), std::to_string(uint64_t{700} << 20) + "\n");
    EXPECT_EQ(contents_of(group / "pids.max"), "99\n");
    EXPECT_EQ(contents_of(group / "io.max"), "1:0 rbps=max wbps=104857600 riops=5000 wiops=max\n");
    ASSERT_EQ(hull.helpers().size(), 1U);
    EXPECT_EQ(group_of(hull.helpers().front()), group);
    EXPECT_NE(group_of(hull.keeper()), group);
    // A guest that does nothing but count is held up.
    hull.type("timeout 2 sh -c 'while :; do :; done'; echo counted $((40 + 2))\n");
    ASSERT_TRUE(hull.wait_for("counted 42"));
    EXPECT_THAT(contents_of(group / "cpu.stat"), testing::Not(HasSubstr("nr_throttled 0\n")));
    hull.type("dd if=/dev/zero of=/dev/vda bs=1M count=4 conv=fsync 2>/dev/null && echo wrote\n");
    ASSERT_TRUE(hull.wait_for("\nwrote\r\n"));
    hull.type("poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0);
    EXPECT_EQ(hull.err(), "");
    EXPECT_FALSE(fs::exists(group));
}

TEST_F(Limits, AMachineThatNeedsMoreMemoryIsKilledAndThatIsTold) {
    HullProcess hull{boot_small({"--memory", "512M", "--memory-limit", "128M"}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type("mkdir m; mount -t tmpfs -o size=90% m m; dd if=/dev/zero of=m/f bs=1M count=400\n");
    EXPECT_EQ(hull.wait(), 15);
    EXPECT_THAT(hull.err(), HasSubstr("--memory-limit 128M"));
}

TEST_F(Limits, ThatNoMachineCanStartWithEndItWithASentence) {
    HullProcess hull{boot_small({"--pids-limit", "1"})};
    EXPECT_EQ(hull.wait(), 5);
    EXPECT_THAT(hull.err(), HasSubstr("thread"));
}

TEST_F(Limits, WhatAKilledKeeperLeavesIsRemovedByTheNext) {
    fs::path left;
    {
        HullProcess hull{boot_small({"--pids-limit", "50"}), HullProcess::Input::pipe};
        ASSERT_TRUE(hull.wait_for("hull#"));
        left = group_of(hull.machine());
        const pid_t machine = hull.machine();
        kill(hull.keeper(), SIGKILL);
        hull.wait();
        for (int tries = 0; fs::exists("/proc/" + std::to_string(machine)) && tries < 1000; ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds{10});
        }
    }
    EXPECT_TRUE(fs::exists(left));
    HullProcess next{boot_small({"--pids-limit", "50"}), HullProcess::Input::pipe};
    ASSERT_TRUE(next.wait_for("hull#"));
    EXPECT_FALSE(fs::exists(left));
    next.type("poweroff -f\n");
    EXPECT_EQ(next.wait(), 0);
}

TEST_F(Limits, AreHeldByGroupsOfVersion1Too) {
    const TemporaryFolder folder;
    // The kernel gives a controller to one of the two at a time.
    write_file(kGroups / "cgroup.subtree_control", "-pids");
    if (mount("groups", folder.path().c_str(), "cgroup", 0, "pids") != 0) {
        GTEST_SKIP() << "no groups of version 1 can be mounted here: " << errno;
    }
    {
        HullProcess hull{boot_small({"--pids-limit", "77"}), HullProcess::Input::pipe};
        EXPECT_TRUE(hull.wait_for("hull#"));
        const fs::path group = folder.path() / ("hull-" + std::to_string(hull.keeper()));
        EXPECT_EQ(contents_of(group / "pids.max"), "77\n");
        EXPECT_THAT(contents_of(group / "cgroup.procs"), HasSubstr(std::to_string(hull.machine()) + "\n"));
        hull.type("poweroff -f\n");
        EXPECT_EQ(hull.wait(), 0) << hull.err();
        EXPECT_FALSE(fs::exists(group));
    }
    EXPECT_EQ(umount(folder.path().c_str()), 0);
    // The kernel gives the controller back when it comes to it, and the next test wants it.
    bool is_back = false;
    for (int tries = 0; tries < 100 && !is_back; ++tries) {
        is_back = (std::ofstream{kGroups / "cgroup.subtree_control"} << "+pids" << std::flush).good();
        std::this_thread::sleep_for(std::chrono::milliseconds{100});
    }
    EXPECT_TRUE(is_back);
}

TEST_F(Limits, OnADiskThatTheHostCannotLimitAreRefused) {
    const TemporaryFolder folder;
    ASSERT_EQ(mount("t", folder.path().c_str(), "tmpfs", 0, "size=16m"), 0);
    const fs::path disk = folder.path() / "disk";
    std::ofstream{disk}.flush();
    fs::resize_file(disk, size_t{1} << 20);
    HullProcess hull{boot_small({"--disk", disk, "--io-limit", "rbps=1M"})};
    EXPECT_EQ(hull.wait(), 3);
    EXPECT_THAT(hull.err(), HasSubstr("no disk of the host's"));
    EXPECT_EQ(umount(folder.path().c_str()), 0);
}

TEST_F(Limits, OfAnOrdinaryUserNeedAGroupOfTheUsersOwn) {
    const OrdinaryUser user;
    {
        const auto hull = user.boot({"--memory-limit", "700M"});
        EXPECT_EQ(hull->wait(), 3);
        EXPECT_THAT(hull->err(), HasSubstr("Delegate=yes"));
    }
    // What a service manager does for a user.
    write_file(kGroups / "cgroup.subtree_control", "+memory +pids");
    const fs::path given = kGroups / "hull-test-given";
    ASSERT_EQ(mkdir(given.c_str(), 0755), 0);
    for (const char* file : {"", "cgroup.procs", "cgroup.subtree_control"}) {
        EXPECT_EQ(chown((given / file).c_str(), 1234, 1234), 0);
    }
    const fs::path before = group_of(getpid());
    write_file(given / "cgroup.procs", std::to_string(getpid()));
    {
        const auto hull =
            user.boot({"--memory-limit", "700M", "--pids-limit", "60"}, HullProcess::Input::pipe);
        EXPECT_TRUE(hull->wait_for("hull#"));
        const fs::path group = group_of(hull->machine());
        EXPECT_EQ(group.parent_path(), given);
        EXPECT_EQ(contents_of(group / "memory.max"), std::to_string(uint64_t{700} << 20) + "\n");
        EXPECT_EQ(contents_of(group / "pids.max"), "60\n");
        EXPECT_EQ(group_of(hull->keeper()), given / "hull-keeper");
        hull->type("poweroff -f\n");
        EXPECT_EQ(hull->wait(), 0) << hull->err();
        EXPECT_FALSE(fs::exists(group));
    }
    write_file(before / "cgroup.procs", std::to_string(getpid()));
    EXPECT_EQ(rmdir((given / "hull-keeper").c_str()), 0);
    EXPECT_EQ(rmdir(given.c_str()), 0);
}

}  // namespace
}  // namespace hull::test
