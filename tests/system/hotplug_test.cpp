// Disks and network devices that come and go while a real kernel runs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <string>

#include "tests/support/files.h"
#include "tests/support/own_machine.h"
#include "tests/support/tap_device.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using testing::HasSubstr;

constexpr size_t kMiB = size_t{1} << 20;

bool is_unlocked(const std::filesystem::path& path) {
    const UniqueFd file{open(path.c_str(), O_RDWR | O_CLOEXEC)};
    return flock(file.get(), LOCK_EX | LOCK_NB) == 0;
}

class Hotplug : public testing::TestWithParam<Way> {
  protected:
    std::filesystem::path disk_of(const std::string& name, size_t size) const {
        return folder_.file(name, std::string(size, '\0'));
    }
    static void add(OwnMachine& own, const std::string& disk) {
        const DiskConfig config = DiskConfig::parse(disk);
        own.machine().add_disk(config, open_disk(config, config.id));
    }

    const TemporaryFolder folder_;
};

constexpr const char* kRescan = "echo 1 >/sys/bus/pci/rescan";

TEST_P(Hotplug, ADiskComesIsUsedAndGoes) {
    const auto first = disk_of("first", kMiB);
    const auto second = disk_of("second", 16 * kMiB);
    OwnMachine own{GetParam(), {DiskConfig::parse(first.string())}};
    const ExitStatus status = own.run([&] {
        EXPECT_EQ(own.ask("ls /dev/vdb 2>/dev/null"), "");
        add(own, second.string() + ",id=second,queues=2");
        EXPECT_EQ(own.ask(std::string{kRescan} + "; cat /sys/block/vdb/size /sys/block/vdb/serial; echo"),
                  "32768\r\nsecond\r\n");
        EXPECT_EQ(own.ask("mkdir m; mke2fs /dev/vdb >/dev/null && mount /dev/vdb m && cp /bin/busybox m && "
                          "umount m; echo 3 >/proc/sys/vm/drop_caches; mount /dev/vdb m && cmp m/busybox "
                          "/bin/busybox && echo same; umount m"),
                  "same\r\n")
            << own.ask("dmesg | tail -n 40; cat /proc/iomem");
        EXPECT_FALSE(is_unlocked(second));
        EXPECT_EQ(own.ask("d=$(basename $(readlink -f /sys/block/vdb/../../..)); echo $d; "
                          "echo 1 >/sys/bus/pci/devices/$d/remove; ls /dev/vdb 2>/dev/null"),
                  "0000:00:02.0\r\n");
        own.machine().remove("second");
        EXPECT_TRUE(is_unlocked(second));
        EXPECT_EQ(own.ask(std::string{kRescan} + "; ls /sys/bus/pci/devices | tr '\\n' ' '"),
                  "0000:00:00.0 0000:00:01.0 ");
    });
    EXPECT_EQ(status, ExitStatus::success);
    EXPECT_EQ(std::system(("e2fsck -fn '" + second.string() + "' >/dev/null 2>&1").c_str()), 0);
}

TEST_P(Hotplug, RoundsOfDisksAndNetworkDevicesLeaveNothing) {
    const TapDevice tap;
    if (!tap.made()) {
        GTEST_SKIP() << "this user may not make a tap device";
    }
    const auto disk = disk_of("disk", kMiB);
    OwnMachine own{GetParam()};
    own.run([&] {
        size_t descriptors = 0;
        size_t threads = 0;
        for (int round = 0; round <= 6; ++round) {
            add(own, disk.string() + ",id=disk");
            const NetConfig net = NetConfig::parse("tap=hulltest0,mac=02:00:00:00:07:02");
            own.machine().add_net("net", net, open_net(net));
            const std::string both = own.ask(
                std::string{kRescan} +
                "; dd if=/dev/urandom of=/dev/vda bs=65536 count=16 conv=fsync 2>/dev/null && echo written; "
                "ip addr add 10.201.7.2/24 dev eth0; ip link set eth0 up; "
                "ping -c 1 -s 3000 10.201.7.1 | grep -c 'bytes from'; "
                "for d in 01 02; do echo 1 >/sys/bus/pci/devices/0000:00:$d.0/remove; done");
            EXPECT_THAT(both, HasSubstr("written\r\n"));
            EXPECT_THAT(both, HasSubstr("\r\n1\r\n")) << "ping";
            own.machine().remove("disk");
            own.machine().remove("net");
            EXPECT_TRUE(is_unlocked(disk));
            // The first round loads what stays.
            if (round == 0) {
                descriptors = entries_of("/proc/self/fd");
                threads = entries_of("/proc/self/task");
            }
        }
        EXPECT_EQ(entries_of("/proc/self/fd"), descriptors);
        EXPECT_LE(threads_down_to(threads), threads);
    });
}

TEST_P(Hotplug, ADiskThatIsTornOutHurtsNothingElse) {
    const auto kept = disk_of("kept", kMiB);
    const auto torn = disk_of("torn", 64 * kMiB);
    OwnMachine own{GetParam(), {DiskConfig::parse(kept.string())}};
    const ExitStatus status = own.run([&] {
        add(own, torn.string() + ",id=torn,queues=2");
        EXPECT_EQ(
            own.ask(
                std::string{kRescan} +
                "; (while dd if=/dev/zero of=/dev/vdb bs=65536 count=1000 conv=fsync; do echo n >>/written; "
                "done) >/dev/null 2>&1 & until [ -s /written ]; do usleep 10000; done; echo writing"),
            "writing\r\n");
        own.machine().remove("torn");
        EXPECT_TRUE(is_unlocked(torn));
        EXPECT_EQ(
            own.ask("echo kept >/note; dd if=/note of=/dev/vda conv=sync,fsync 2>/dev/null && head -n 1 "
                    "/dev/vda; ls /sys/bus/pci/devices | tr '\n' ' '"),
            "kept\r\n0000:00:00.0 0000:00:01.0 0000:00:02.0 ");
        EXPECT_THROW(own.machine().remove("torn"), Error);
        // Another one comes in its slot, which the guest has not noticed, and goes.
        add(own, disk_of("next", kMiB).string() + ",id=next");
        own.ask(kRescan);
        own.machine().remove("next");
        EXPECT_EQ(own.ask("head -n 1 /dev/vda"), "kept\r\n");
    });
    EXPECT_EQ(status, ExitStatus::success);
}

INSTANTIATE_TEST_SUITE_P(Kernels, Hotplug,
                         testing::Values(Way{"debian", "debian/vmlinuz", "initramfs-debian", "acpi", "pci"},
                                         Way{"small", "small/bzImage", "initramfs-small", "acpi", "pci"}),
                         [](const auto& way) { return std::string{way.param.name}; });

}  // namespace
}  // namespace hull::test
