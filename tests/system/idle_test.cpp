// What a machine costs whose guest does nothing.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/storage_daemon.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using testing::HasSubstr;

/// How often each thread of a process that is not a vCPU has begun to sleep or was made to make room, by its
/// number and name.
std::map<std::string, long> switches(pid_t process) {
    std::map<std::string, long> by_thread;
    for (const auto& task :
         std::filesystem::directory_iterator{"/proc/" + std::to_string(process) + "/task"}) {
        std::ifstream status{task.path() / "status"};
        std::string name;
        long count = 0;
        for (std::string line; std::getline(status, line);) {
            if (line.starts_with("Name:")) {
                name = line.substr(line.find('\t') + 1);
            } else if (const size_t place = line.find("voluntary_ctxt_switches:");
                       place != std::string::npos) {
                count += std::atol(line.c_str() + line.find(':') + 1);
            }
        }
        if (!name.starts_with("vcpu")) {
            by_thread[task.path().filename().string() + " " + name] = count;
        }
    }
    return by_thread;
}

/// The same of all processes of a machine: the keeper's, its own, and those of what works for it.
std::map<std::string, long> all_switches(const HullProcess& hull) {
    std::map<std::string, long> all = switches(hull.keeper());
    std::vector<pid_t> left = hull.helpers();
    left.push_back(hull.machine());
    while (!left.empty()) {
        const pid_t process = left.back();
        left.pop_back();
        all.merge(switches(process));
        std::ifstream children{"/proc/" + std::to_string(process) + "/task/" + std::to_string(process) +
                               "/children"};
        for (pid_t child = 0; children >> child;) {
            left.push_back(child);
        }
    }
    return all;
}

/// Tap devices hullidle0 and hullidle1, to which the host sends nothing of its own.
class SilentTaps {
  public:
    SilentTaps()
        : made_{run("for t in hullidle0 hullidle1; do ip tuntap add dev $t mode tap && "
                    "echo 1 >/proc/sys/net/ipv6/conf/$t/disable_ipv6 && ip link set $t up || exit 1; done")} {
    }
    SilentTaps(const SilentTaps&) = delete;
    SilentTaps& operator=(const SilentTaps&) = delete;
    ~SilentTaps() { run("ip link del hullidle0; ip link del hullidle1"); }
    [[nodiscard]] bool made() const { return made_; }

  private:
    static bool run(const std::string& command) {
        return std::system(("(" + command + ") 2>/dev/null").c_str()) == 0;
    }
    bool made_;
};

class Idle : public testing::TestWithParam<Way> {};

TEST_P(Idle, NoThreadButTheVcpusWakes) {
    const SilentTaps taps;
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
    const auto shared = folder.file("shared/file", "shared").parent_path();
    const StorageDaemon daemon{served, path("daemon"), "raw"};
    HullProcess hull{boot(GetParam(), "",
                          {"--cpus",
                           "2",
                           "--rng",
                           "--console",
                           "virtio",
                           "--disk",
                           disk.string() + ",queues=2",
                           "--disk",
                           "socket=" + path("daemon"),
                           "--net",
                           "tap=hullidle0,vhost=off",
                           "--net",
                           "tap=hullidle1,vhost=on",
                           "--net",
                           "user",
                           "--vsock",
                           "cid=7,socket=" + path("vsock"),
                           "--share",
                           "tag=t,path=" + shared.string(),
                           "--port",
                           "file,file=" + path("port"),
                           "--port",
                           "socket,socket=" + path("ports")}),
                     HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    // Each device has worked before it rests. The guest, too, sends nothing of its own; and its kernel must
    // not ask for random numbers now and then.
    hull.type(
        "cat /dev/vda /dev/vdb | tr -d ds | wc -c; head -c 16 /dev/hwrng | wc -c\n"
        "echo none >/sys/class/misc/hw_random/rng_current\n"
        "for n in 0 1 2; do echo 1 >/proc/sys/net/ipv6/conf/eth$n/disable_ipv6; ip link set eth$n up; done\n"
        "ip addr add 10.201.8.2/24 dev eth0; ip addr add 10.201.9.2/24 dev eth1\n"
        "ip addr add 10.0.2.15/24 dev eth2; ping -c 1 10.0.2.2 | grep -c 'bytes from'\n"
        "ping -c 1 -W 1 10.201.8.1; ping -c 1 -W 1 10.201.9.1\n"
        "vsock connect 2 99 </dev/null; mkdir m; mount -t virtiofs t m; cat m/file; echo\n"
        "for p in /dev/vport*p1; do echo worked >$p; done; echo all devices $((1 + 1))\n");
    ASSERT_TRUE(hull.wait_for("all devices 2"));
    EXPECT_THAT(hull.out(), HasSubstr("\r\n0\r\n")) << "disks";
    EXPECT_THAT(hull.out(), HasSubstr("\r\n1\r\n")) << "user network";
    EXPECT_THAT(hull.out(), HasSubstr("\r\nshared\r\n"));
    std::this_thread::sleep_for(std::chrono::seconds{6});  // until the guest has given up its pings' ARP
    const auto before = all_switches(hull);
    EXPECT_GE(before.size(), 14U) << "threads of each device and of the two helpers";
    std::this_thread::sleep_for(std::chrono::seconds{5});
    EXPECT_EQ(all_switches(hull), before);
    hull.type("poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
}

INSTANTIATE_TEST_SUITE_P(Kernels, Idle,
                         // Debian's kernel goes on asking for random numbers.
                         testing::Values(Way{"small_pci", "small/bzImage", "initramfs-small", "acpi", "pci"},
                                         Way{"small_mmio", "small/bzImage", "initramfs-small", "acpi",
                                             "mmio"}),
                         [](const auto& way) { return std::string{way.param.name}; });

}  // namespace
}  // namespace hull::test
