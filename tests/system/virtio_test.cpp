// Real kernels' drivers find virtio devices and use them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using testing::HasSubstr;

class Virtio : public testing::TestWithParam<Way> {};

TEST_P(Virtio, TheEntropyDeviceGivesBytes) {
    HullProcess hull{boot(GetParam(), "", {"--rng"}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type("cat /sys/class/misc/hw_random/rng_current; head -c 100000 /dev/hwrng | wc -c; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("virtio_rng.0"));
    EXPECT_THAT(hull.out(), HasSubstr("100000\r\n"));
}

/// A file of this many bytes, all of them `value`.
std::filesystem::path disk_of(const TemporaryFolder& folder, const std::string& name, size_t size,
                              char value) {
    return folder.file(name, std::string(size, value));
}

constexpr size_t kMiB = size_t{1} << 20;

/// The words that boot the small kernel with one disk.
std::vector<std::string> boot_with_disk(const std::string& disk, const std::string& cmdline = "",
                                        std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--disk", disk});
    return boot({"small", "small/bzImage", "initramfs-small", "acpi"}, cmdline, std::move(more));
}

TEST_P(Virtio, DisksAreFormattedFilledAndReadBack) {
    const TemporaryFolder folder;
    const auto first = disk_of(folder, "first", 16 * kMiB, '\0');
    const auto second = disk_of(folder, "second", 1536, 's');
    HullProcess hull{
        boot(GetParam(), "",
             {"--disk", first.string() + ",id=the-first", "--disk", second.string() + ",readonly"}),
        HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(
        "readlink /sys/block/vda; cd /sys/block; cat vda/size vda/serial vda/ro vdb/size vdb/serial vdb/ro | "
        "tr '\\n' ' '; cd /\n"
        "mke2fs /dev/vda >/dev/null && mkdir m && mount /dev/vda m && cp /bin/busybox m && umount m\n"
        "echo 3 >/proc/sys/vm/drop_caches; mount /dev/vda m && cmp m/busybox /bin/busybox && echo same\n"
        "echo kept >m/note; rm m/busybox; fstrim -v m | grep -c trimmed; umount m\n"
        "tr -d s </dev/vdb | wc -c; dd if=/dev/vdb bs=512 2>/dev/null | wc -c\n"
        "(echo x >/dev/vdb) 2>/dev/null || echo refused\n"
        "poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    const std::string bus = GetParam().bus == nullptr ? "mmio" : GetParam().bus;
    EXPECT_EQ(hull.out().find("/pci0000:00/") != std::string::npos, bus == "pci");
    EXPECT_THAT(hull.out(), HasSubstr("32768 the-first0 3 disk11 "));
    EXPECT_THAT(hull.out(), HasSubstr("same\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("\r\n1\r\n")) << "fstrim";
    EXPECT_THAT(hull.out(), HasSubstr("\r\n0\r\n1536\r\n"));
    EXPECT_THAT(hull.out(), HasSubstr("refused\r\n"));
    // What is on the host's disk then: a clean file system with the note in it.
    EXPECT_EQ(std::system(("e2fsck -fn '" + first.string() + "' >/dev/null 2>&1").c_str()), 0);
    const std::string contents = contents_of(first);
    EXPECT_THAT(contents, HasSubstr("kept\n"));
    EXPECT_EQ(contents.size(), 16 * kMiB);
}

TEST_P(Virtio, FilesArePartitionsOfOneDisk) {
    const TemporaryFolder folder;
    const auto first = disk_of(folder, "first", 4 * kMiB, '\0');
    const auto second = disk_of(folder, "second", 4 * kMiB + 1536, '\0');
    const std::string parts = "part=" + first.string() + ",part=" + second.string();
    {
        HullProcess hull{boot(GetParam(), "", {"--disk", parts}), HullProcess::Input::pipe};
        ASSERT_TRUE(hull.wait_for("hull#"));
        hull.type(
            "cd /sys/block/vda; cat vda1/start vda1/size vda2/start vda2/size size | tr '\\n' ' '; cd /\n"
            "mkdir m n; for p in 1 2; do mke2fs /dev/vda$p >/dev/null; done\n"
            "mount /dev/vda1 m && mount /dev/vda2 n && cp /bin/busybox m && cp /bin/busybox n; umount m n\n"
            "echo 3 >/proc/sys/vm/drop_caches; mount /dev/vda1 m; mount /dev/vda2 n\n"
            "cmp m/busybox n/busybox && cmp m/busybox /bin/busybox && echo same\n"
            "echo kept >n/note; umount m n\n"
            "dd if=/dev/zero of=/dev/vda bs=4096 count=1 conv=fsync 2>/dev/null || echo refused\n"
            "poweroff -f\n");
        EXPECT_EQ(hull.wait(), 0) << hull.err();
        EXPECT_THAT(hull.out(), HasSubstr("2048 8192 10240 8195 20480 "));
        EXPECT_THAT(hull.out(), HasSubstr("same\r\n"));
        EXPECT_THAT(hull.out(), HasSubstr("refused\r\n"));
    }
    for (const auto& path : {first, second}) {
        EXPECT_EQ(std::system(("e2fsck -fn '" + path.string() + "' >/dev/null 2>&1").c_str()), 0);
    }
    const std::string contents = contents_of(second);
    EXPECT_THAT(contents, HasSubstr("kept\n"));
    // What was refused has not changed the table that the next one makes.
    HullProcess next{boot(GetParam(), "", {"--disk", parts + ",readonly"}), HullProcess::Input::pipe};
    ASSERT_TRUE(next.wait_for("hull#"));
    next.type("mkdir m; mount -o ro /dev/vda2 m; cat m/note; cat /sys/block/vda/ro; poweroff -f\n");
    EXPECT_EQ(next.wait(), 0) << next.err();
    EXPECT_THAT(next.out(), HasSubstr("kept\r\n1\r\n"));
}

TEST(Disk, WhatWasFlushedOutlivesAKilledMachine) {
    const TemporaryFolder folder;
    const auto disk = disk_of(folder, "disk", kMiB, '.');
    HullProcess hull{boot_with_disk(disk), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(
        "i=0; while [ $i -lt 2000 ]; do printf 'record %05d;' $i | dd of=/dev/vda bs=512 seek=$i "
        "conv=notrunc,fsync"
        " 2>/dev/null && echo \"acknowledged $i.\"; i=$((i + 1)); done\n");
    ASSERT_TRUE(hull.wait_for("acknowledged 30."));
    kill(hull.machine(), SIGKILL);
    EXPECT_EQ(hull.wait(), 15) << hull.err();
    const size_t at = hull.out().rfind("acknowledged ");
    const int last = std::stoi(hull.out().substr(at + std::string{"acknowledged "}.size()));
    const std::string contents = contents_of(disk);
    for (int record = 0; record < last; ++record) {
        const std::string number = std::to_string(record);
        EXPECT_EQ(contents.substr(512 * static_cast<size_t>(record), 13),
                  "record " + std::string(5 - number.size(), '0') + number + ";");
    }
    // Nothing holds the disk any more.
    HullProcess next{boot_with_disk(disk, "hull.run=poweroff")};
    EXPECT_EQ(next.wait(), 0) << next.err();
}

/// How often a machine is killed by the test below: 3, or $HULL_KILLS.
int kills() {
    const char* text = std::getenv("HULL_KILLS");
    return text == nullptr ? 3 : std::stoi(text);
}

TEST(Disk, AJournalOutlivesEveryKillAndItsFileSystemIsClean) {
    const TemporaryFolder folder;
    const auto disk = disk_of(folder, "disk", 32 * kMiB, '\0');
    const auto run = [&](const std::string& command) {
        return std::system((command + " >/dev/null 2>&1").c_str());
    };
    ASSERT_EQ(run("mkfs.ext4 -q -F " + disk.string()), 0);
    std::mt19937 chance{std::random_device{}()};
    int next = 0;  // the first record that was not acknowledged
    for (int round = 0; round < kills(); ++round) {
        SCOPED_TRACE(round);
        HullProcess hull{boot_with_disk(disk, "", {"--bus", round % 2 == 0 ? "pci" : "mmio"}),
                         HullProcess::Input::pipe};
        ASSERT_TRUE(hull.wait_for("hull#"));
        hull.type("mkdir m; mount /dev/vda m; i=" + std::to_string(next) +
                  "; while printf 'record %05d\\n' $i | dd of=m/log oflag=append conv=notrunc,fsync "
                  "2>/dev/null; do "
                  "echo \"acknowledged $i.\"; i=$((i + 1)); done\n");
        const int until = next + std::uniform_int_distribution{1, 40}(chance);
        ASSERT_TRUE(hull.wait_for("acknowledged " + std::to_string(until) + "."));
        usleep(std::uniform_int_distribution<useconds_t>{0, 50'000}(chance));
        // A machine whose keeper is killed ends too.
        const pid_t machine = hull.machine();
        kill(round % 3 == 2 ? hull.keeper() : machine, SIGKILL);
        const int status = hull.wait();
        EXPECT_TRUE(status == 15 || status == 1000 + SIGKILL) << status << hull.err();
        // What was being said at that moment may have lost its end.
        const std::string said = hull.out().substr(0, hull.out().rfind('.'));
        const size_t at = said.rfind("acknowledged ");
        const int last = std::stoi(said.substr(at + std::string{"acknowledged "}.size()));

        // As a boot would: what the journal holds is done, and then nothing is wrong.
        const int replayed = run("e2fsck -y -E journal_only " + disk.string());
        EXPECT_LE(WEXITSTATUS(replayed), 1);
        EXPECT_EQ(run("e2fsck -fn " + disk.string()), 0);
        const auto log = folder.path() / "log";
        EXPECT_EQ(run("debugfs -R 'dump /log " + log.string() + "' " + disk.string()), 0);
        const std::string records = contents_of(log);
        std::string expected;
        for (int record = 0; record <= last; ++record) {
            const std::string number = std::to_string(record);
            expected += "record " + std::string(5 - number.size(), '0') + number + "\n";
        }
        ASSERT_EQ(records.substr(0, expected.size()), expected);
        // One more may be there that was not acknowledged any more.
        ASSERT_EQ(records.size() % std::string{"record 00000\n"}.size(), 0U);
        next = static_cast<int>(records.size() / std::string{"record 00000\n"}.size());
    }
}

/// For the guest's shell: `r DEVICE BLOCK` and `w DEVICE BLOCK COUNT` tell whether blocks of 4 KiB could be
/// read or written, past the guest's cache.
constexpr const char* kTryDisks =
    "r() { echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/$1 of=/dev/null bs=4096 skip=$2 count=1 2>/dev/null "
    "&& echo $1 reads $2. || echo $1 does not read $2.; }\n"
    "w() { dd if=/dev/urandom of=/dev/$1 bs=4096 seek=$2 count=$3 conv=fsync 2>/dev/null && "
    "echo $1 writes $2. || echo $1 does not write $2.; }\n";

TEST(Disk, OnAFullFileSystemGivesErrorsAndTheGuestGoesOn) {
    const TemporaryFolder folder;
    const std::string mount_point = folder.path() / "full";
    std::filesystem::create_directory(mount_point);
    if (std::system(("mount -t tmpfs -o size=3m full '" + mount_point + "' 2>/dev/null").c_str()) != 0) {
        GTEST_SKIP() << "this user may not mount";
    }
    const auto sparse = [&](const std::string& name) {
        std::ofstream{name}.flush();
        std::filesystem::resize_file(name, 8 * kMiB);
        return name;
    };
    {
        std::ofstream{mount_point + "/filler"} << std::string(kMiB, 'f');
        const auto below = disk_of(folder, "below", 8 * kMiB, 'b');
        // An overlay's file is made where TMPDIR says.
        setenv("TMPDIR", mount_point.c_str(), 1);
        auto words = boot_with_disk(sparse(mount_point + "/disk"));
        words.insert(words.end(), {"--disk", "part=" + sparse(mount_point + "/part"), "--disk",
                                   below.string() + ",overlay"});
        HullProcess hull{words, HullProcess::Input::pipe};
        unsetenv("TMPDIR");
        ASSERT_TRUE(hull.wait_for("hull#"));
        hull.type(kTryDisks);
        hull.type(
            "w vda 0 10; w vda 0 2000; r vda 0; w vdb1 0 100; r vdb1 1000; w vdc 0 100; r vdc 1000; echo "
            "full\n");
        ASSERT_TRUE(hull.wait_for("\nfull\r\n"));
        std::filesystem::remove(mount_point + "/filler");
        hull.type("w vda 1900 10; w vdb1 100 10; w vdc 100 10; r vdb1 100; r vdc 100; poweroff -f\n");
        EXPECT_EQ(hull.wait(), 0) << hull.err();
        for (const char* line :
             {"vda writes 0.", "vda does not write 0.", "vda reads 0.", "vdb1 does not write 0.",
              "vdb1 reads 1000.", "vdc does not write 0.", "vdc reads 1000.", "vda writes 1900.",
              "vdb1 writes 100.", "vdc writes 100.", "vdb1 reads 100.", "vdc reads 100."}) {
            EXPECT_THAT(hull.out(), HasSubstr(std::string{"\n"} + line));
        }
        EXPECT_EQ(hull.err(), "");
    }
    EXPECT_EQ(std::system(("umount '" + mount_point + "'").c_str()), 0);
}

TEST(Disk, ThatWasCutOffGivesErrorsAndTheGuestGoesOn) {
    const TemporaryFolder folder;
    const auto disk = disk_of(folder, "disk", kMiB, 'd');
    const auto first = disk_of(folder, "first", kMiB, '1');
    const auto second = disk_of(folder, "second", kMiB, '2');
    const auto below = disk_of(folder, "below", kMiB, 'b');
    const auto whole = disk_of(folder, "whole", kMiB, 'w');
    auto words = boot_with_disk(disk.string() + ",queues=2", "", {"--cpus", "2"});
    for (const std::string& more : {"part=" + first.string() + ",part=" + second.string(),
                                    below.string() + ",overlay", whole.string()}) {
        words.insert(words.end(), {"--disk", more});
    }
    HullProcess hull{words, HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    for (const auto& path : {disk, first, below}) {
        std::filesystem::resize_file(path, kMiB / 2);
    }
    hull.type(kTryDisks);
    hull.type(
        "ls /sys/block/vda/mq | wc -l; for d in vda vdb1 vdb2 vdc vdd; do r $d 200; r $d 0; done\n"
        "w vdc 201 1; r vdc 201; w vdb2 200 1; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("\r\n2\r\n"));
    for (const char* line : {"vda does not read 200.", "vda reads 0.", "vdb1 does not read 200.",
                             "vdb1 reads 0.", "vdb2 reads 200.", "vdc does not read 200.", "vdc reads 0.",
                             "vdd reads 200.", "vdc writes 201.", "vdc reads 201.", "vdb2 writes 200."}) {
        EXPECT_THAT(hull.out(), HasSubstr(std::string{"\n"} + line));
    }
    EXPECT_EQ(hull.err(), "");
}

TEST(Disk, UnderAnOverlayStaysAsItIs) {
    const TemporaryFolder folder;
    const auto disk = disk_of(folder, "disk", 4 * kMiB, 'd');
    HullProcess hull{boot_with_disk(disk.string() + ",overlay"), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(
        "head -c 100 /dev/vda; mke2fs /dev/vda >/dev/null && mkdir m && mount /dev/vda m && cp /bin/busybox "
        "m && umount"
        " m\necho 3 >/proc/sys/vm/drop_caches; mount /dev/vda m && cmp m/busybox /bin/busybox && echo same\n"
        "umount m; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr(std::string(100, 'd')));
    EXPECT_THAT(hull.out(), HasSubstr("same\r\n"));
    const std::string contents = contents_of(disk);
    EXPECT_EQ(contents, std::string(4 * kMiB, 'd'));
}

TEST(Disk, MayBeABlockDeviceWithoutTheHostsCache) {
    const std::string device = "/dev/ram0";
    if (!std::filesystem::exists(device)) {
        GTEST_SKIP() << "there is no " << device << " here (modprobe brd)";
    }
    HullProcess hull{boot_with_disk(device + ",direct"), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(
        "mke2fs /dev/vda 60000 >/dev/null && mkdir m && mount /dev/vda m && cp /bin/busybox m && umount m\n"
        "echo 3 >/proc/sys/vm/drop_caches; mount /dev/vda m && cmp m/busybox /bin/busybox && echo same\n"
        "blkdiscard /dev/vda 2>/dev/null; umount m; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("same\r\n"));
}

INSTANTIATE_TEST_SUITE_P(
    Kernels, Virtio,
    testing::Values(Way{"debian_pci", "debian/vmlinuz", "initramfs-debian", "acpi", "pci"},
                    Way{"debian_mmio", "debian/vmlinuz", "initramfs-debian", "acpi", "mmio"},
                    Way{"small_pci", "small/bzImage", "initramfs-small", "acpi", "pci"},
                    Way{"small_mmio", "small/bzImage", "initramfs-small", "acpi", "mmio"},
                    Way{"small_fdt", "small/bzImage", "initramfs-small", "fdt"}),
    [](const auto& way) { return std::string{way.param.name}; });

}  // namespace
}  // namespace hull::test
