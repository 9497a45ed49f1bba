// A guest that is an enemy (guest/hostile), with every device that a machine can have and the programs that
// serve them, beside a machine of somebody else's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/virtio_ids.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/hostile_guest.h"
#include "tests/support/hostile_peers.h"
#include "tests/support/hull_process.h"
#include "tests/support/neighbour.h"
#include "tests/support/resident.h"
#include "tests/support/storage_daemon.h"
#include "tests/support/way.h"

namespace hull::test {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using testing::HasSubstr;

/// What a process holds at most, of several looks while it runs.
struct Most {
    void look(pid_t process) {
        const auto count = [process](const char* folder) {
            std::error_code gone;
            const fs::directory_iterator entries{"/proc/" + std::to_string(process) + folder, gone};
            return static_cast<size_t>(std::distance(begin(entries), end(entries)));
        };
        descriptors = std::max(descriptors, count("/fd"));
        threads = std::max(threads, count("/task"));
        kib = std::max(kib, resident_kib(process));
    }
    size_t descriptors = 0;
    size_t threads = 0;
    uint64_t kib = 0;
};

std::string contents(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream{path, std::ios::binary}.rdbuf();
    return text.str();
}

class Hostile : public testing::TestWithParam<const char*> {};

TEST_P(Hostile, AGuestHarmsNobodyButItself) {
    const TemporaryFolder folder;
    const auto path = [&](const char* name) { return (folder.path() / name).string(); };
    const auto disk = [&](const char* name) {
        return folder.file(name, std::string(size_t{1} << 20, 'd')).string();
    };
    const auto shared = folder.file("shared/file", "x").parent_path();
    const StorageDaemon daemon{disk("served"), path("daemon"), "raw"};
    Neighbour neighbour{
        std::make_unique<HullProcess>(boot({"small", "small/bzImage", "initramfs-small", "acpi", "pci"}, "",
                                           {"--memory", "128M", "--disk", disk("neighbours")}),
                                      HullProcess::Input::pipe)};
    HullProcess hull{{"boot",
                      "--kernel",
                      HULL_HOSTILE_KERNEL,
                      "--memory",
                      "128M",
                      "--cpus",
                      "2",
                      "--bus",
                      GetParam(),
                      "--cmdline-raw",
                      hostile_cmdline(hostile_rounds()),
                      "--console",
                      "virtio:file:" + path("console"),
                      "--disk",
                      disk("disk"),
                      "--disk",
                      disk("overlay") + ",overlay",
                      "--disk",
                      disk("readonly") + ",readonly,queues=2",
                      "--disk",
                      "socket=" + path("daemon"),
                      "--net",
                      "user",
                      "--share",
                      "tag=t,path=" + shared.string(),
                      "--vsock",
                      "cid=5,socket=" + path("vsock"),
                      "--rng",
                      "--port",
                      "file,file=" + path("file"),
                      "--port",
                      "socket,socket=" + path("port")}};
    const auto start = Clock::now();
    ASSERT_TRUE(wait_until([&] { return contents(path("console")).find("hostile: ") != std::string::npos; }))
        << "the guest does not start";
    const pid_t machine = hull.machine();  // by now the helpers' processes are their own programs
    Most most;
    {
        const HostilePeers peers{path("vsock"), path("port"), {}, [&] { most.look(machine); }};
        // Many rounds take longer than a test waits otherwise; an emulated host does some seven a second.
        const auto deadline = start + HullProcess::kPatience + std::chrono::seconds{hostile_rounds()};
        while (hull.read_for(std::chrono::seconds{1}) && Clock::now() < deadline) {
        }
        EXPECT_EQ(hull.wait(), 0) << hull.err();
    }
    const std::vector<double> waits = neighbour.end();

    const std::string printed = contents(path("console"));
    const HostileReport report{printed};
    EXPECT_EQ(report.rounds, 2 * hostile_rounds()) << printed.substr(0, 1000);
    EXPECT_EQ(report.devices, (std::map<int, int>{{VIRTIO_ID_BLOCK, 4},
                                                  {VIRTIO_ID_NET, 1},
                                                  {VIRTIO_ID_FS, 1},
                                                  {VIRTIO_ID_VSOCK, 1},
                                                  {VIRTIO_ID_RNG, 1},
                                                  {VIRTIO_ID_CONSOLE, 2}}));
    for (const auto& [type, answers] : report.answers) {
        EXPECT_GT(answers, 0U) << "no device of type " << type << " got as far as an answer";
    }
    // The programs that serve its devices may say something, too, before they give up.
    EXPECT_EQ(hull.err().find("Sanitizer"), std::string::npos) << hull.err();
    EXPECT_EQ(hull.err().find("runtime error"), std::string::npos) << hull.err();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - start).count();
    EXPECT_LE(std::ranges::count(hull.err(), '\n'), 100 + 12 * seconds) << "it fills the log";
    EXPECT_LT(most.descriptors, 800U) << "512 streams and each device's own";
    EXPECT_GE(most.threads, 5U) << "that is not the machine";
    EXPECT_LT(most.threads, 80U);
    EXPECT_LT(most.kib, 128U * 1024);

    ASSERT_FALSE(waits.empty()) << "the neighbour was not served";
    RecordProperty("neighbours_writes", std::to_string(waits.size()));
    RecordProperty("neighbours_median_ms", std::to_string(waits[waits.size() / 2] * 1000));
    RecordProperty("neighbours_longest_ms", std::to_string(waits.back() * 1000));
    GTEST_LOG_(INFO) << "the neighbour's disk: " << waits.size() << " writes of 32 KiB with a flush, median "
                     << waits[waits.size() / 2] * 1000 << " ms, longest " << waits.back() * 1000
                     << " ms; hull held at most " << most.descriptors << " descriptors, " << most.threads
                     << " threads, " << most.kib << " KiB";
}

INSTANTIATE_TEST_SUITE_P(Buses, Hostile, testing::Values("pci", "mmio"),
                         [](const auto& bus) { return std::string{bus.param}; });

}  // namespace
}  // namespace hull::test
