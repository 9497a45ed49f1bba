// Disks whose host's side fails, and whether what was written is what is read, on every way to it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/programs_disk.h"
#include "tests/support/ram_file_system.h"
#include "tests/support/storage_daemon.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using testing::HasSubstr;

constexpr size_t kMiB = size_t{1} << 20;

bool run(const std::string& command) {
    return std::system(("PATH=$PATH:/sbin:/usr/sbin; " + command + " >/dev/null 2>&1").c_str()) == 0;
}

const char* no_ram_disk() {
    return std::filesystem::exists("/dev/ram0") ? nullptr : "there is no /dev/ram0 here (modprobe brd)";
}

std::filesystem::path disk_of(const std::filesystem::path& folder, const std::string& name, size_t size) {
    const std::filesystem::path path = folder / name;
    std::ofstream{path}.flush();
    std::filesystem::resize_file(path, size);
    return path;
}

std::vector<std::string> boot_small(const char* bus, const std::vector<std::string>& disks) {
    std::vector<std::string> words;
    for (const std::string& disk : disks) {
        words.insert(words.end(), {"--disk", disk});
    }
    return boot({"small", "small/bzImage", "initramfs-small", "acpi", bus}, "", words);
}

/// A device of 8 MiB on the RAM disk, of which the third MiB gives errors.
class FailingDevice {
  public:
    FailingDevice() {
        made_ =
            run("dmsetup create --noudevsync hulltest --table '"
                "0 4096 linear /dev/ram0 0\n4096 2048 error\n6144 10240 linear /dev/ram0 6144' && "
                "dmsetup mknodes hulltest");
    }
    FailingDevice(const FailingDevice&) = delete;
    FailingDevice& operator=(const FailingDevice&) = delete;
    ~FailingDevice() {
        // A ring that knew it gives it up in the background.
        for (int tries = 0; made_ && !run("dmsetup remove --noudevsync hulltest") && tries < 1000; ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds{10});
        }
    }
    [[nodiscard]] bool made() const { return made_; }
    /// From now on all of it gives errors.
    static bool fail() {
        return run("dmsetup reload hulltest --table '0 16384 error' && dmsetup resume --noudevsync hulltest");
    }
    static constexpr const char* kPath = "/dev/mapper/hulltest";

  private:
    bool made_ = false;
};

TEST(DiskFault, APartThatCannotBeReadOrWrittenIsAnErrorAndTheRestGoesOn) {
    if (const char* reason = no_ram_disk()) {
        GTEST_SKIP() << reason;
    }
    const FailingDevice device;
    ASSERT_TRUE(device.made());
    const TemporaryFolder folder;
    const auto other = disk_of(folder.path(), "other", kMiB);
    const std::string path = FailingDevice::kPath;
    // With the host's cache a write fails when it is flushed; without, at once. As a partition it begins at
    // 1 MiB.
    for (const auto& [disk, first] : {std::pair{path, 0}, std::pair{path + ",direct", 0},
                                      std::pair{"part=" + path + ",part=" + other.string(), 1}}) {
        SCOPED_TRACE(disk);
        HullProcess hull{boot_small("pci", {disk}), HullProcess::Input::pipe};
        ASSERT_TRUE(hull.wait_for("hull#"));
        const auto mib = [first = first](int number) { return std::to_string(first + number); };
        hull.type(
            "r() { dd if=/dev/vda of=/dev/null bs=4096 count=1 skip=$(($1 * 256)) 2>/dev/null && echo read "
            "$1 "
            "|| echo no read $1; }\n"
            "w() { dd if=/bin/busybox of=/dev/vda bs=4096 count=2 conv=fsync seek=$(($1 * 256)) 2>/dev/null "
            "&& echo wrote $1 || echo no write $1; }\n"
            "r " +
            mib(1) + "; r " + mib(2) + "; r " + mib(3) + "; w " + mib(4) + "; r " + mib(4) + "; w " + mib(2) +
            "; r " + mib(5) + "; poweroff -f\n");
        EXPECT_EQ(hull.wait(), 0) << hull.err();
        for (const int number : {1, 3, 4, 5}) {
            EXPECT_THAT(hull.out(), HasSubstr("\nread " + mib(number)));
        }
        EXPECT_THAT(hull.out(), HasSubstr("\nno read " + mib(2)));
        EXPECT_THAT(hull.out(), HasSubstr("\nwrote " + mib(4)));
        EXPECT_THAT(hull.out(), HasSubstr("\nno write " + mib(2)));
        EXPECT_EQ(hull.err(), "");
    }
}

TEST(DiskFault, AGuestOutlivesTheDiskItHasMounted) {
    if (const char* reason = no_ram_disk()) {
        GTEST_SKIP() << reason;
    }
    const FailingDevice device;
    ASSERT_TRUE(device.made());
    HullProcess hull{boot_small("pci", {FailingDevice::kPath}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(
        "mke2fs /dev/vda 1900 >/dev/null && mkdir m && mount /dev/vda m && "
        "head -c 500000 /bin/busybox >m/first && sync && echo mounted\n");
    ASSERT_TRUE(hull.wait_for("\nmounted\r\n"));
    ASSERT_TRUE(FailingDevice::fail());
    hull.type(
        "(head -c 500000 /bin/busybox >m/second && sync && dd if=/dev/vda of=/dev/null bs=4096 skip=400 "
        "count=1 "
        "iflag=direct) 2>/dev/null || echo gone\n"
        "echo still $((40 + 2)); poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("gone\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("still 42\r\n"));
}

TEST(DiskFault, OnAFileSystemThatBecomesReadOnlyGivesErrors) {
    if (const char* reason = no_ram_disk()) {
        GTEST_SKIP() << reason;
    }
    const RamFileSystem file_system;
    ASSERT_TRUE(file_system.made());
    const auto disk = disk_of(file_system.path(), "disk", 8 * kMiB);
    HullProcess hull{boot_small("pci", {disk}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type("dd if=/bin/busybox of=/dev/vda bs=64k conv=fsync 2>/dev/null && echo written\n");
    ASSERT_TRUE(hull.wait_for("\nwritten\r\n"));
    // As ext4 does by itself where its journal fails.
    ASSERT_TRUE(run("mount -o remount,abort '" + file_system.path().string() + "'"));
    hull.type(
        "dd if=/bin/busybox of=/dev/vda bs=64k seek=64 count=4 conv=fsync 2>/dev/null || echo refused\n"
        "dd if=/dev/vda bs=4096 count=1 2>/dev/null | wc -c; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("refused\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("\r\n4096\r\n"));
}

/// A block device whose contents are a file's.
class LoopDevice {
  public:
    explicit LoopDevice(const std::string& file) {
        const TemporaryFolder folder;
        const auto name = folder.file("name", "");
        if (std::system(("losetup -f --show '" + file + "' >" + name.string()).c_str()) == 0) {
            std::getline(std::ifstream{name}, path_);
        }
    }
    LoopDevice(const LoopDevice&) = delete;
    LoopDevice& operator=(const LoopDevice&) = delete;
    ~LoopDevice() { run("losetup -d " + path_); }
    /// Empty where there is none.
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
};

/// For this thread and those that it starts, the kernel has no io_uring.
void deny_io_uring() {
    sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{.len = std::size(filter), .filter = filter};
    ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ASSERT_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

/// Whether a process has an io_uring open.
bool has_io_uring(pid_t process) {
    for (const auto& entry :
         std::filesystem::directory_iterator{"/proc/" + std::to_string(process) + "/fd"}) {
        std::error_code gone;
        if (std::filesystem::read_symlink(entry, gone) == "anon_inode:[io_uring]") {
            return true;
        }
    }
    return false;
}

struct VerifyWay {
    const char* name;
    const char* bus;
    bool io_uring;
};

class DiskVerify : public testing::TestWithParam<VerifyWay> {};

/// How many MiB are written to each disk, and read again: 1, or $HULL_VERIFY_MIB.
std::string verified_mib() {
    const char* text = std::getenv("HULL_VERIFY_MIB");
    return text == nullptr ? "1" : text;
}

TEST_P(DiskVerify, FindsWhatItWroteOnEveryKindOfDisk) {
    if (const char* reason = no_ram_disk()) {
        GTEST_SKIP() << reason;
    }
    const RamFileSystem file_system;
    ASSERT_TRUE(file_system.made());
    const TemporaryFolder folder;
    const std::string programs = programs_disk(folder, {"fio"});
    const auto disk = [&](const char* name) { return disk_of(file_system.path(), name, 4 * kMiB).string(); };
    const LoopDevice device{disk("device")};
    ASSERT_FALSE(device.path().empty());
    const std::string socket = folder.path() / "socket";
    const StorageDaemon daemon{disk("served"), socket, "raw"};
    const std::vector<std::string> disks{programs + ",readonly",
                                         disk("plain") + ",queues=2",
                                         disk("direct") + ",direct",
                                         disk("overlay") + ",overlay",
                                         "part=" + disk("first") + ",part=" + disk("second") + ",direct",
                                         "part=" + disk("third") + ",overlay",
                                         device.path() + ",direct",
                                         "socket=" + socket};
    std::string jobs;
    for (const char* name : {"vdb", "vdc", "vdd", "vde1", "vde2", "vdf1", "vdg", "vdh"}) {
        jobs += std::string{" --name="} + name + " --filename=/dev/" + name;
    }
    const auto scenario = [&] {
        if (!GetParam().io_uring) {
            deny_io_uring();
        }
        auto words = boot_small(GetParam().bus, disks);
        words.insert(words.end(), {"--cpus", "2"});
        HullProcess hull{words, HullProcess::Input::pipe};
        ASSERT_TRUE(hull.wait_for("hull#"));
        EXPECT_EQ(has_io_uring(hull.machine()), GetParam().io_uring);
        // Many MiB take longer than a test waits for a word.
        hull.type(mount_programs("/dev/vda") +
                  "while sleep 20; do echo goes on; done & chroot /programs fio --thread --ioengine=libaio "
                  "--iodepth=8 --direct=1 --rw=randrw "
                  "--bsrange=512-16k --bs_unaligned=0 --size=4M --io_size=" +
                  verified_mib() +
                  "M --fsync=64 --verify=crc32c "
                  "--verify_fatal=1 --do_verify=1 --output-format=terse" +
                  jobs +
                  " >/tmp/fio 2>&1; echo fio $?; wc -l </tmp/fio; head -c 2000 /tmp/fio; "
                  "echo verified $((40 + 2)); poweroff -f\n");
        EXPECT_TRUE(hull.wait_for("verified 42"));
        EXPECT_EQ(hull.wait(), 0) << hull.err();
        EXPECT_THAT(hull.out(), HasSubstr("fio 0\r\n")) << hull.out();
        EXPECT_EQ(hull.err(), "");
    };
    std::thread{scenario}.join();  // what is denied is for a thread
}

INSTANTIATE_TEST_SUITE_P(Ways, DiskVerify,
                         testing::Values(VerifyWay{"pci", "pci", true}, VerifyWay{"mmio", "mmio", true},
                                         VerifyWay{"pci_synchronous", "pci", false},
                                         VerifyWay{"mmio_synchronous", "mmio", false}),
                         [](const auto& way) { return std::string{way.param.name}; });

}  // namespace
}  // namespace hull::test
