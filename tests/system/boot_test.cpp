// Real kernels boot, find what the machine has, and end it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/resident.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

using testing::HasSubstr;
using testing::Not;

const Way kDebianBzImage{"debian_bzimage_acpi", "debian/vmlinuz", "initramfs-debian", "acpi"};
const Way kDebianVmlinux{"debian_vmlinux_acpi", "debian/vmlinux", "initramfs-debian", "acpi"};
const Way kSmallBzImage{"small_bzimage_acpi", "small/bzImage", "initramfs-small", "acpi"};
const Way kSmallVmlinux{"small_vmlinux_acpi", "small/vmlinux", "initramfs-small", "acpi"};
const Way kSmallBzImageFdt{"small_bzimage_fdt", "small/bzImage", "initramfs-small", "fdt"};
const Way kSmallVmlinuxFdt{"small_vmlinux_fdt", "small/vmlinux", "initramfs-small", "fdt"};

struct WayAndCpus {
    Way way;
    int cpus;
};

class EveryWay : public testing::TestWithParam<WayAndCpus> {};

TEST_P(EveryWay, BootsSeesItsCpusAndMemoryAndPowersOff) {
    const auto& [way, cpus] = GetParam();
    HullProcess hull{
        boot(way, "hull.run=cpus,meminfo,devices", {"--cpus", std::to_string(cpus), "--memory", "128M"})};
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("cpus: " + std::to_string(cpus)));
    for (int cpu = 0; cpu < cpus; ++cpu) {
        const std::string number = std::to_string(cpu);
        EXPECT_THAT(hull.out(),
                    HasSubstr("cpu" + number + ": socket 0 core " + number + " threads " + number));
    }
    std::smatch found;
    ASSERT_TRUE(std::regex_search(hull.out(), found, std::regex{"MemTotal: +([0-9]+) kB"})) << hull.out();
    const int kib = std::stoi(found[1]);
    EXPECT_GT(kib, 80 * 1024) << "the kernel takes some for itself";
    EXPECT_LE(kib, 128 * 1024);
    EXPECT_THAT(hull.out(), HasSubstr("clock: kvm-clock"));
    EXPECT_THAT(hull.out(), HasSubstr("ttyS0"));
}

INSTANTIATE_TEST_SUITE_P(Kernels, EveryWay,
                         testing::Values(WayAndCpus{kDebianBzImage, 1}, WayAndCpus{kDebianBzImage, 2},
                                         WayAndCpus{kDebianVmlinux, 1}, WayAndCpus{kSmallBzImage, 1},
                                         WayAndCpus{kSmallBzImage, 2}, WayAndCpus{kSmallVmlinux, 2},
                                         WayAndCpus{kSmallBzImageFdt, 1}, WayAndCpus{kSmallBzImageFdt, 2},
                                         WayAndCpus{kSmallVmlinuxFdt, 1}),
                         [](const auto& test) {
                             return std::string{test.param.way.name} + "_" + std::to_string(test.param.cpus) +
                                    "cpu";
                         });

TEST(Memory, GoesOnBeyondTheHoleBelow4GiB) {
    HullProcess hull{boot(kSmallBzImage, "hull.run=meminfo,touch", {"--memory", "5G"})};
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("100000000-"));
    EXPECT_THAT(hull.out(), HasSubstr("pages written and read back"));
    EXPECT_THAT(hull.out(), Not(HasSubstr("read back differently")));
}

TEST(Memory, HullTakesLittleBesideTheGuest) {
    HullProcess hull{boot(kSmallBzImage, "hull.run=echo", {"--memory", "128M"}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull: init is up"));
    // A huge page under the stack of one thread would be 2 MiB more.
    EXPECT_LT(resident_kib(hull.machine()), 3 * 1024u);
    EXPECT_GT(resident_kib(hull.machine()), 512u) << "was the right process looked at?";
    hull.type("enough\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
}

TEST(Memory, ASmallGuestBootsTheSmallKernel) {
    HullProcess hull{boot(kSmallBzImage, "hull.run=meminfo", {"--memory", "32M"})};
    EXPECT_EQ(hull.wait(), 0) << hull.err() << hull.out();
    EXPECT_THAT(hull.out(), HasSubstr("MemTotal"));
}

/// The host's pool of huge pages, as it was found again when destroyed.
class HugePagePool {
  public:
    HugePagePool() { std::ifstream{kFile} >> found_; }
    HugePagePool(const HugePagePool&) = delete;
    HugePagePool& operator=(const HugePagePool&) = delete;
    ~HugePagePool() { std::ofstream{kFile} << found_; }

    /// False where the host has not that many, or this user may not ask for them.
    bool grow_by(int pages) {
        std::ofstream{kFile} << found_ + pages;
        int now = 0;
        std::ifstream{kFile} >> now;
        return now >= found_ + pages;
    }

  private:
    static constexpr const char* kFile = "/proc/sys/vm/nr_hugepages";
    int found_ = 0;
};

TEST(Memory, MayLieOnHugePages) {
    HugePagePool pool;
    if (!pool.grow_by(64)) {
        GTEST_SKIP()
            << "64 huge pages cannot be had here (as root only, and where memory is not too fragmented)";
    }
    HullProcess hull{boot(kSmallBzImage, "hull.run=meminfo,touch", {"--memory", "128M", "--hugepages"})};
    EXPECT_EQ(hull.wait(), 0) << hull.err() << hull.out();
    EXPECT_THAT(hull.out(), HasSubstr("MemTotal"));
}

TEST(Boot, WithNoOptionsBootsWhatWasFetched) {
    HullProcess hull{{"boot", "--cmdline", "hull.demo"}};
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("Debian"));
    EXPECT_THAT(hull.out(), HasSubstr("seconds after the kernel's start"));
}

TEST(Boot, AKernelWhosePayloadIsNotUnderstoodUnpacksItself) {
    // As with LZO, but by a header that says a wrong place: what unpacks a kernel in the guest does not use
    // it.
    std::string image = (std::stringstream{} << std::ifstream{guest_file("small/bzImage")}.rdbuf()).str();
    constexpr size_t kPayloadOffset = 0x248;
    ASSERT_GT(image.size(), kPayloadOffset + 4);
    image[kPayloadOffset] = static_cast<char>(image[kPayloadOffset] ^ 0x10);
    const TemporaryFolder folder;
    HullProcess hull{{"boot", "--kernel", folder.file("bzImage", image), "--initramfs",
                      guest_file("initramfs-small"), "--cmdline", "hull.run=cpus", "--timing"}};
    EXPECT_EQ(hull.wait(), 0) << hull.err() << hull.out();
    EXPECT_THAT(hull.out(), HasSubstr("cpus: 1"));
}

TEST(Boot, SeveralInitramfsFilesAreJoined) {
    // The second one brings a file that the first one's init reads: /lib/modules/order, with nothing in it.
    HullProcess hull{
        boot(kSmallBzImage, "hull.run=devices", {"--initramfs", guest_file("initramfs-debian")})};
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    EXPECT_THAT(hull.out(), HasSubstr("hull: init is up"));
}

TEST(Boot, TimingTellsEveryStep) {
    HullProcess hull{boot(kSmallBzImage, "hull.run=poweroff", {"--timing"})};
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    for (const char* step : {"KVM ready", "image loaded", "first instruction", "first line of init"}) {
        EXPECT_THAT(hull.err(), HasSubstr(std::string{"hull: timing: "} + step + " after "));
    }
}

std::string text_address(const std::string& cmdline) {
    HullProcess hull{boot(kDebianBzImage, cmdline), HullProcess::Input::pipe};
    EXPECT_TRUE(hull.wait_for("hull#"));
    hull.type("grep ' _text$' /proc/kallsyms; poweroff -f\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    std::smatch found;
    return std::regex_search(hull.out(), found, std::regex{"([0-9a-f]{16}) T _text"}) ? found[1].str()
                                                                                      : hull.out();
}

TEST(Randomization, MovesTheKernelUnlessToldNotTo) {
    EXPECT_EQ(text_address("nokaslr"), "ffffffff81000000");
    const std::string first = text_address("");
    const std::string second = text_address("");
    // Two out of some five hundred places; a third boot makes an accident one in a quarter million.
    EXPECT_TRUE(first != second || first != text_address("")) << first;
}

std::string kernel_code_address() {
    HullProcess hull{boot(kSmallVmlinux, "hull.run=meminfo")};
    EXPECT_EQ(hull.wait(), 0) << hull.err();
    std::smatch found;
    return std::regex_search(hull.out(), found, std::regex{"([0-9a-f]+)-[0-9a-f]+ : Kernel code"})
               ? found[1].str()
               : "nowhere: " + hull.out();
}

TEST(Randomization, MovesAVmlinuxThatHasItsRelocations) {
    const std::string first = kernel_code_address();
    const std::string second = kernel_code_address();
    EXPECT_TRUE(first != second || first != kernel_code_address()) << first;
}

struct Ending {
    const char* name;
    Way way;
    const char* cmdline;
    int status;
};

class EveryEnding : public testing::TestWithParam<Ending> {};

TEST_P(EveryEnding, IsToldByTheExitStatus) {
    HullProcess hull{boot(GetParam().way, GetParam().cmdline)};
    EXPECT_EQ(hull.wait(), GetParam().status) << hull.out() << hull.err();
}

INSTANTIATE_TEST_SUITE_P(
    Endings, EveryEnding,
    testing::Values(Ending{"debian_power_off", kDebianBzImage, "hull.run=poweroff", 0},
                    Ending{"debian_reboot", kDebianBzImage, "hull.run=reboot", 10},
                    Ending{"debian_panic", kDebianBzImage, "hull.run=panic", 12},
                    Ending{"small_power_off", kSmallBzImage, "hull.run=poweroff", 0},
                    Ending{"small_reboot", kSmallBzImage, "hull.run=reboot", 10},
                    Ending{"small_triple_fault", kSmallBzImage, "hull.run=reboot reboot=t", 11},
                    Ending{"small_panic", kSmallBzImage, "hull.run=panic", 12},
                    Ending{"small_panic_for_ever", kSmallBzImage, "hull.run=panic panic=0", 12},
                    Ending{"fdt_power_off", kSmallBzImageFdt, "hull.run=poweroff", 0},
                    Ending{"fdt_reboot", kSmallBzImageFdt, "hull.run=reboot", 10},
                    Ending{"fdt_panic", kSmallBzImageFdt, "hull.run=panic", 12}),
    [](const auto& test) { return test.param.name; });

class PowerButton : public testing::TestWithParam<Way> {};

TEST_P(PowerButton, IsPressedBySigtermAndPowersOff) {
    HullProcess hull{boot(GetParam(), ""), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    kill(hull.keeper(), SIGTERM);
    EXPECT_EQ(hull.wait(), 0) << hull.err();
}

INSTANTIATE_TEST_SUITE_P(Kernels, PowerButton, testing::Values(kDebianBzImage, kSmallBzImage),
                         [](const auto& test) { return test.param.name; });

TEST(PowerButton, AGuestThatIgnoresItIsEndedAfterTheTimeout) {
    HullProcess hull{boot(kSmallBzImageFdt, "", {"--stop-timeout", "0.5"}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    kill(hull.keeper(), SIGTERM);
    EXPECT_EQ(hull.wait(), 14);
}

TEST(PowerButton, ASecondSignalEndsAtOnce) {
    HullProcess hull{boot(kSmallBzImageFdt, "", {"--stop-timeout", "3600"}), HullProcess::Input::pipe};
    ASSERT_TRUE(hull.wait_for("hull#"));
    kill(hull.keeper(), SIGINT);
    usleep(200'000);
    kill(hull.keeper(), SIGINT);
    EXPECT_EQ(hull.wait(), 14);
}

}  // namespace
}  // namespace hull::test
