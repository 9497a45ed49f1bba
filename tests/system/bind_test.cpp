// Drivers that come and go in a guest, again and again, leave nothing behind on the host.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/resident.h"
#include "tests/support/storage_daemon.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using testing::HasSubstr;

namespace fs = std::filesystem;

/// How often each driver is unbound and bound, all its devices taken together: 5, or $HULL_BINDS.
int rounds() {
    const char* text = std::getenv("HULL_BINDS");
    return text == nullptr ? 5 : std::stoi(text);
}

/// What a process holds of its host.
struct Footprint {
    ptrdiff_t descriptors = 0;
    ptrdiff_t threads = 0;
    ptrdiff_t maps = 0;
    uint64_t kib = 0;
};

Footprint footprint(pid_t process) {
    const auto count = [&](const char* folder) {
        return std::distance(fs::directory_iterator{"/proc/" + std::to_string(process) + folder},
                             fs::directory_iterator{});
    };
    std::ifstream maps{"/proc/" + std::to_string(process) + "/maps"};
    return {.descriptors = count("/fd"),
            .threads = count("/task"),
            .maps = std::count(std::istreambuf_iterator<char>{maps}, {}, '\n'),
            .kib = resident_kib(process)};
}

/// Of a process, all that it has started, and all that these have.
void add_processes(pid_t process, std::map<pid_t, std::string>& names) {
    const std::string folder = "/proc/" + std::to_string(process);
    std::getline(std::ifstream{folder + "/comm"}, names[process]);
    std::ifstream children{folder + "/task/" + std::to_string(process) + "/children"};
    for (pid_t child = 0; children >> child;) {
        add_processes(child, names);
    }
}

std::map<pid_t, Footprint> footprints(const std::map<pid_t, std::string>& processes) {
    std::map<pid_t, Footprint> all;
    for (const auto& [process, name] : processes) {
        all[process] = footprint(process);
    }
    return all;
}

/// Expects that no process holds more than it did. What it gives back a moment later is waited for, and so
/// is, for a while, what is not to be waited for: then this fails.
void expect_no_more(const std::map<pid_t, std::string>& processes, const std::map<pid_t, Footprint>& before) {
    const auto holds_more = [&] {
        std::string text;
        for (const auto& [process, now] : footprints(processes)) {
            const Footprint& then = before.at(process);
            const auto tell = [&, name = processes.at(process)](const char* what, auto had, auto has,
                                                                decltype(had) slack) {
                if (has > had + slack) {
                    text += name + " has " + std::to_string(has) + " " + what + " and had " +
                            std::to_string(had) + "\n";
                }
            };
            tell("descriptors", then.descriptors, now.descriptors, 0);
            tell("threads", then.threads, now.threads, 0);
            // An allocator does not always give back what it could.
            tell("maps", then.maps, now.maps, 8);
            // The host may join pages of it to a huge one at any time.
            tell("KiB", then.kib, now.kib, 2048 + 512);
        }
        return text;
    };
    std::string text = holds_more();
    for (int tries = 0; !text.empty() && tries < 50; ++tries) {
        std::this_thread::sleep_for(std::chrono::milliseconds{100});
        text = holds_more();
    }
    EXPECT_EQ(text, "");
}

/// Tap devices hullbind0 and so on, of which the last two have several queues.
class TapDevices {
  public:
    static constexpr int kCount = 4;
    TapDevices() {
        for (int number = 0; number < kCount; ++number) {
            const std::string name = name_of(number);
            made_ = made_ && run("ip tuntap add dev " + name + " mode tap" +
                                 (number < 2 ? "" : " multi_queue") + " && ip link set " + name + " up");
        }
    }
    TapDevices(const TapDevices&) = delete;
    TapDevices& operator=(const TapDevices&) = delete;
    ~TapDevices() {
        for (int number = 0; number < kCount; ++number) {
            run("ip link del " + name_of(number));
        }
    }
    [[nodiscard]] bool made() const { return made_; }
    static std::string name_of(int number) { return "hullbind" + std::to_string(number); }

  private:
    static bool run(const std::string& command) {
        return std::system(("(" + command + ") 2>/dev/null").c_str()) == 0;
    }
    bool made_ = true;
};

/// For the guest's shell. `all_rounds COUNT` unbinds and binds each driver, of all devices at the same time;
/// now and then a device is used before, so that it has requests under way when it goes. (Of the ports the
/// first is used, since a write to one waits for somebody at the host's side.) Most of a round is the guest's
/// kernel waiting for other processors, for which it is told not to take its time.
constexpr const char* kFunctions = R"sh(use() {
case $2 in
virtio_blk) for b in /sys/bus/virtio/devices/$1/block/*; do cat /dev/${b##*/} >/dev/null 2>&1 & done ;;
virtio_net) for n in /sys/bus/virtio/devices/$1/net/*; do ip link set ${n##*/} up; done ;;
virtio_console) [ ! -c /dev/vport${1#virtio}p1 ] || echo used >/dev/vport${1#virtio}p1 ;;
vmw_vsock_virtio_transport) vsock connect 2 99 </dev/null 2>/dev/null ;;
virtiofs) mount -t virtiofs t /mnt && ls /mnt >/dev/null; umount /mnt ;;
esac
}
driver_of() { d=$(readlink /sys/bus/virtio/devices/$1/driver); echo ${d##*/}; }
rounds() {
driver=$(driver_of $1) i=0
while [ $i -lt $2 ]; do
[ $((i % 10)) != 0 ] || use $1 $driver
[ $((i % 50)) != 49 ] || echo round $i of $1
echo $1 >/sys/bus/virtio/drivers/$driver/unbind
echo $1 >/sys/bus/virtio/drivers/$driver/bind
i=$((i + 1))
done
echo $driver has $1 again.
}
all_rounds() {
plan=
for d in $others; do
alike=0; for o in $others; do [ $(driver_of $o) != $(driver_of $d) ] || alike=$((alike + 1)); done
plan="$plan $d:$((($1 + alike - 1) / alike))"
done
for p in $plan; do rounds ${p%:*} ${p#*:} & pids="$pids $!"; done
wait $pids; pids=
}
echo 0 >/proc/sys/kernel/printk; echo 1 >/sys/kernel/rcu_expedited; mkdir -p /mnt; cd /sys/bus/virtio/devices
for d in *; do [ ! -e $d/virtio-ports/vport${d#virtio}p0 ] || hvc=$d; done
for d in *; do [ $d = $hvc ] || others="$others $d"; done
cd /; all_rounds 5; echo warm $((1 + 1))
)sh";

class Bind : public testing::TestWithParam<Way> {};

TEST_P(Bind, ADriverThatComesAndGoesLeavesNothingOnTheHost) {
    const TapDevices taps;
    if (!taps.made()) {
        GTEST_SKIP() << "this user may not make a tap device";
    }
    if (access("/dev/vhost-net", R_OK | W_OK) != 0) {
        GTEST_SKIP() << "this host has no vhost-net for this user";
    }
    const TemporaryFolder folder;
    const auto path = [&](const char* name) { return (folder.path() / name).string(); };
    const auto disk = folder.file("disk", std::string(size_t{1} << 20, 'd'));
    const auto served = folder.file("served", std::string(size_t{1} << 20, 's'));
    const auto shared = folder.file("shared/file", "x").parent_path();
    const StorageDaemon daemon{served, path("daemon"), "raw"};
    const auto tap = [](int number, const char* how) { return "tap=" + TapDevices::name_of(number) + how; };
    HullProcess hull{boot(GetParam(), "",
                          // Two wait for each other in each round, too long where there are thousands.
                          {"--cpus",
                           rounds() > 1000 ? "1" : "2",
                           "--console",
                           "virtio",
                           "--rng",
                           "--disk",
                           disk.string() + ",queues=2",
                           "--disk",
                           "socket=" + path("daemon"),
                           "--net",
                           "user",
                           "--net",
                           tap(0, ",vhost=off"),
                           "--net",
                           tap(1, ",vhost=on"),
                           "--net",
                           tap(2, ",queues=2,vhost=off"),
                           "--net",
                           tap(3, ",queues=2,vhost=on"),
                           "--port",
                           "file,file=" + path("port"),
                           "--port",
                           "socket,socket=" + path("ports"),
                           "--vsock",
                           "cid=7,socket=" + path("vsock"),
                           "--share",
                           "tag=t,path=" + shared.string()}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    hull.type(kFunctions);
    ASSERT_TRUE(hull.wait_for("warm 2\r\n"));

    std::map<pid_t, std::string> processes;
    add_processes(hull.keeper(), processes);
    EXPECT_GE(processes.size(), 5U) << "keeper, machine, the user network, and two for the folder";
    const auto before = footprints(processes);
    const size_t begin = hull.out().size();
    hull.type("all_rounds " + std::to_string(rounds()) + "; echo done $((40 + 2))\n");
    ASSERT_TRUE(hull.wait_for("done 42\r\n"));
    std::map<std::string, int> drivers;
    std::istringstream lines{hull.out().substr(begin)};
    for (std::string line; std::getline(lines, line);) {
        if (const size_t end = line.find(" has virtio"); line.find(" again.") != std::string::npos) {
            ++drivers[line.substr(0, end)];
        }
    }
    EXPECT_EQ(drivers, (std::map<std::string, int>{{"virtio_blk", 2},
                                                   {"virtio_console", 1},
                                                   {"virtio_net", 5},
                                                   {"virtio_rng", 1},
                                                   {"virtiofs", 1},
                                                   {"vmw_vsock_virtio_transport", 1}}))
        << hull.out().substr(begin).substr(0, 4000);
    expect_no_more(processes, before);

    // Each still works.
    hull.type(
        "for b in vda vdb; do cat /dev/$b | tr -d ds | wc -c; done; head -c 16 /dev/hwrng | wc -c\n"
        "ls /sys/class/net | wc -w; mount -t virtiofs t /mnt && cat /mnt/file; umount /mnt; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("\r\n0\r\n0\r\n16\r\n"));
    EXPECT_EQ(hull.err(), "");
}

INSTANTIATE_TEST_SUITE_P(Kernels, Bind,
                         testing::Values(Way{"small_pci", "small/bzImage", "initramfs-small", "acpi", "pci"},
                                         Way{"debian_mmio", "debian/vmlinuz", "initramfs-debian", "acpi",
                                             "mmio"}),
                         [](const auto& way) { return std::string{way.param.name}; });

}  // namespace
}  // namespace hull::test
