// What a machine costs whose guest does nothing.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <thread>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

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

/// A tap device to which the host sends nothing of its own.
class SilentTap {
  public:
    SilentTap()
        : made_{run("ip tuntap add dev hullidle0 mode tap && "
                    "echo 1 >/proc/sys/net/ipv6/conf/hullidle0/disable_ipv6 && ip link set hullidle0 up")} {}
    SilentTap(const SilentTap&) = delete;
    SilentTap& operator=(const SilentTap&) = delete;
    ~SilentTap() { run("ip link del hullidle0"); }
    [[nodiscard]] bool made() const { return made_; }

  private:
    static bool run(const std::string& command) {
        return std::system(("(" + command + ") 2>/dev/null").c_str()) == 0;
    }
    bool made_;
};

class Idle : public testing::TestWithParam<Way> {};

TEST_P(Idle, NoThreadButTheVcpusWakes) {
    const SilentTap tap;
    if (!tap.made()) {
        GTEST_SKIP() << "this user may not make a tap device";
    }
    const TemporaryFolder folder;
    const auto disk = folder.file("disk", std::string(size_t{1} << 20, 'd'));
    HullProcess hull{
        boot(GetParam(), "",
             {"--cpus", "2", "--disk", disk.string() + ",queues=2", "--rng", "--net", "tap=hullidle0"}),
        HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    // Each device has worked before it rests. The guest, too, sends nothing of its own; and its kernel must
    // not ask for random numbers now and then.
    hull.type(
        "cat /dev/vda | wc -c; head -c 16 /dev/hwrng | wc -c\n"
        "echo none >/sys/class/misc/hw_random/rng_current\n"
        "echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; ip addr add 10.201.8.2/24 dev eth0\n"
        "ip link set eth0 up; ping -c 1 -W 1 10.201.8.1; echo all devices $((1 + 1))\n");
    ASSERT_TRUE(hull.wait_for("all devices 2"));
    std::this_thread::sleep_for(std::chrono::seconds{5});  // until the guest has given up its ping's ARP
    const auto machine = switches(hull.machine());
    const auto keeper = switches(hull.keeper());
    EXPECT_GE(machine.size(), 4U)
        << "a thread for each queue of the disk, the network and the random numbers";
    std::this_thread::sleep_for(std::chrono::seconds{5});
    EXPECT_EQ(switches(hull.machine()), machine);
    EXPECT_EQ(switches(hull.keeper()), keeper);
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
