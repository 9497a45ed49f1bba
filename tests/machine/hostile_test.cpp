// A guest that is an enemy (guest/hostile), on each bus, with every device that needs no program beside it.
// What it does is told by its seed; under the sanitizers that this test is built with, nothing of it may be
// found.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/virtio_ids.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "tests/machine/small_guest.h"
#include "tests/support/files.h"
#include "tests/support/fresh_process.h"
#include "tests/support/hostile_guest.h"
#include "tests/support/hostile_peers.h"
#include "tests/support/sockets.h"
#include "vmm/jail/seccomp.h"
#include "vmm/machine/device_files.h"

// Of the sanitizer that the test is built with, if it is.
extern "C" size_t __sanitizer_get_current_allocated_bytes() __attribute__((weak));

namespace hull {
namespace {

size_t allocated_bytes() {
    return __sanitizer_get_current_allocated_bytes != nullptr ? __sanitizer_get_current_allocated_bytes() : 0;
}

/// What this process holds; the most of several looks.
struct Footprint {
    size_t descriptors = 0;
    size_t threads = 0;
    size_t bytes = 0;
    void look() {
        descriptors = std::max(descriptors, test::entries_of("/proc/self/fd"));
        threads = std::max(threads, test::entries_of("/proc/self/task"));
        bytes = std::max(bytes, allocated_bytes());
    }
};

/// What is there at last: a thread that was joined is there for a moment more.
Footprint footprint_at_rest(const Footprint& wanted) {
    Footprint now;
    for (int tries = 0; tries < 100; ++tries) {
        now = {};
        now.look();
        if (now.threads <= wanted.threads) {
            break;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{50});
    }
    return now;
}

class HostileMachineTest : public test::MachineTest {
  protected:
    HostileMachineTest() {
        config_.kernel = HULL_HOSTILE_KERNEL;
        config_.cmdline_raw = test::hostile_cmdline(test::hostile_rounds());
        for (const char* how : {"", ",overlay", ",readonly,queues=2", ",iops=10000,bps=100M"}) {
            const std::string name = "disk" + std::to_string(config_.disks.size());
            config_.disks.push_back(
                DiskConfig::parse(folder_.file(name, std::string(size_t{1} << 20, 'd')).string() + how));
        }
        config_.disks.push_back(
            DiskConfig::parse("part=" + folder_.file("p1", std::string(65536, 'p')).string() +
                              ",part=" + folder_.file("p2", std::string(4096, 'p')).string()));
        config_.nets.resize(2);
        config_.nets[1].kind = NetConfig::Kind::socket;
        config_.rng = true;
        config_.console.virtio = true;
        config_.vsock = VsockConfig{.cid = 5, .path = path("vsock")};
        config_.ports = {PortConfig::parse("file,file=" + path("file")),
                         PortConfig::parse("socket,socket=" + path("port"))};
    }

    std::string path(const char* name) const { return (folder_.path() / name).string(); }

    /// A pair of connected sockets that do not block; the first is kept.
    UniqueFd make_link(int type) {
        std::array<int, 2> ends{};
        EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
        links_.emplace_back(ends[0]);
        return UniqueFd{ends[1]};
    }

    MachineFiles hostile_files() {
        MachineFiles files;
        files.kvm = open_kvm();
        files.kernel = open_input_file(config_.kernel, "kernel");
        for (size_t number = 0; number < config_.disks.size(); ++number) {
            files.disks.push_back(open_disk(config_.disks[number], config_.disks[number].name(number)));
        }
        for (const int type : {SOCK_SEQPACKET, SOCK_STREAM}) {
            files.nets.emplace_back().links.push_back({make_link(type), UniqueFd{}});
        }
        files.vsock = test::listen_unix(path("vsock"), SOCK_NONBLOCK);
        files.vsock_connector = virtio::connect_beside(path("vsock"));
        files.ports.resize(2);
        files.ports[0].output = UniqueFd{open(path("file").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
        files.ports[1].listener = test::listen_unix(path("port"), SOCK_NONBLOCK);
        files.console_output = std::move(output_.write_end);
        files.console_input = std::move(input_.read_end);
        return files;
    }

    /// Runs the guest to its end, and expects that it gets there and that nothing is left of it.
    void expect_nothing_happens() {
        Footprint before;
        before.look();
        Footprint most;
        std::optional<test::HostilePeers> peers;
        const ExitStatus status = run(hostile_files(), [&] {
            std::vector<int> links;
            std::ranges::transform(links_, std::back_inserter(links), &UniqueFd::get);
            peers.emplace(path("vsock"), path("port"), links, [&most] { most.look(); });
        });
        peers.reset();
        links_.clear();
        const Footprint after = footprint_at_rest(before);
        EXPECT_EQ(status, ExitStatus::success);
        const test::HostileReport report{printed_};
        EXPECT_EQ(report.rounds, test::hostile_rounds() * config_.cpus) << printed_.substr(0, 1000);
        EXPECT_EQ(report.devices, (std::map<int, int>{{VIRTIO_ID_BLOCK, 5},
                                                      {VIRTIO_ID_NET, 2},
                                                      {VIRTIO_ID_VSOCK, 1},
                                                      {VIRTIO_ID_RNG, 1},
                                                      {VIRTIO_ID_CONSOLE, 2}}));
        for (const auto& [type, answers] : report.answers) {
            EXPECT_GT(answers, 0U) << "no device of type " << type << " got as far as an answer";
            RecordProperty("answers_of_type_" + std::to_string(type), std::to_string(answers));
        }
        // Two more were made before the first look: the pipes of the console, which are closed by now.
        EXPECT_LE(after.descriptors, before.descriptors);
        EXPECT_EQ(after.threads, before.threads);
        // Of a leak with each reset or request there would be more than that.
        EXPECT_LT(most.descriptors, before.descriptors + 700) << "512 streams and each device's own";
        EXPECT_LT(most.threads, before.threads + 40);
        EXPECT_LT(most.bytes, before.bytes + (size_t{96} << 20));
    }

    /// The same guest on a machine whose threads are guarded, in a process of its own.
    void expect_no_call_is_refused() {
        const test::Ended ended = test::run_in_fresh_process(
            [this] {
                MachineFiles files = hostile_files();
                files.vsock_connector = [](uint32_t /*port*/) {
                    return UniqueFd{};
                };  // as the keeper may say
                jail::install_thread_guard(jail::Refusal::fail);
                std::optional<test::HostilePeers> peers;
                const ExitStatus status = run(std::move(files), [&] {
                    std::vector<int> links;
                    std::ranges::transform(links_, std::back_inserter(links), &UniqueFd::get);
                    peers.emplace(path("vsock"), path("port"), links, [] {});
                });
                return status == ExitStatus::success ? 0 : 1;
            },
            folder_.path().string());
        EXPECT_EQ(ended.status, 0) << ended.errors;
        EXPECT_EQ(ended.errors.find("the jail refuses"), std::string::npos) << ended.errors;
    }

    const test::TemporaryFolder folder_;
    std::vector<UniqueFd> links_;
};

TEST_F(HostileMachineTest, NothingHappensOnPci) {
    config_.bus = VirtioBus::pci;
    expect_nothing_happens();
}

TEST_F(HostileMachineTest, NothingHappensOnMmio) {
    config_.bus = VirtioBus::mmio;
    expect_nothing_happens();
}

TEST_F(HostileMachineTest, NothingHappensOnPciFromTwoProcessors) {
    config_.bus = VirtioBus::pci;
    config_.cpus = 2;
    expect_nothing_happens();
}

TEST_F(HostileMachineTest, NothingHappensOnMmioFromTwoProcessorsAndBesideAClock) {
    config_.platform = boot::PlatformTables::fdt;  // it has a clock by ports, and MMIO alone
    config_.bus = VirtioBus::mmio;
    config_.cpus = 2;
    expect_nothing_happens();
}

TEST_F(HostileMachineTest, NoCallIsRefusedToItsThreadsOnPci) {
    config_.bus = VirtioBus::pci;
    expect_no_call_is_refused();
}

TEST_F(HostileMachineTest, NoCallIsRefusedToItsThreadsOnMmioBesideAClock) {
    config_.platform = boot::PlatformTables::fdt;
    config_.bus = VirtioBus::mmio;
    expect_no_call_is_refused();
}

}  // namespace
}  // namespace hull
