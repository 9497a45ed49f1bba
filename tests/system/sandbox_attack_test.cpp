// What a command in `hull sandbox` does to use up the host, which stays usable meanwhile and has nothing left
// of it behind.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/hull_process.h"
#include "tests/support/sandbox_rig.h"
#include "tests/support/sockets.h"

namespace hull::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;

/// A user of the host's beside the attack: runs a command now and then, and sees what the sandbox's processes
/// hold.
class Beside {
  public:
    Beside()
        : thread_{[this] {
              while (!stop_) {
                  const auto begin = std::chrono::steady_clock::now();
                  run_a_command();
                  waits_.push_back(std::chrono::steady_clock::now() - begin);
                  look();
                  std::this_thread::sleep_for(100ms);
              }
          }} {}
    Beside(const Beside&) = delete;
    Beside& operator=(const Beside&) = delete;
    ~Beside() {
        stop_ = true;
        thread_.join();
        EXPECT_FALSE(waits_.empty());
        std::ranges::sort(waits_);
        const auto ms = [](std::chrono::nanoseconds time) {
            return std::chrono::duration<double, std::milli>{time}.count();
        };
        GTEST_LOG_(INFO) << "a command on the host, " << waits_.size() << " times: median "
                         << ms(waits_[waits_.size() / 2]) << " ms, longest " << ms(waits_.back())
                         << " ms; the sandbox held at most " << most_kib_ / 1024 << " MiB and "
                         << most_threads_ << " threads";
        // The guest's 256 MiB, and what its processes are themselves.
        EXPECT_LT(most_kib_, (256 + 96) * 1024);
        // A booted guest has touched more than Hull takes itself.
        EXPECT_GT(most_kib_, 24 * 1024) << "those are not the sandbox's processes";
        EXPECT_LT(most_threads_, 100);
    }

  private:
    static void run_a_command() {
        char program[] = "/bin/true";
        char* const words[] = {program, nullptr};
        pid_t child = -1;
        ASSERT_EQ(posix_spawn(&child, program, nullptr, nullptr, words, nullptr), 0)
            << "the host has no process left";
        int status = -1;
        waitpid(child, &status, 0);
        EXPECT_EQ(status, 0);
    }
    void look() {
        long kib = 0;
        long threads = 0;
        for (const auto& entry : fs::directory_iterator{"/proc"}) {
            std::error_code gone;
            const std::string program = fs::read_symlink(entry.path() / "exe", gone).filename();
            if (program == "hull_system_tests" || !program.starts_with("hull")) {
                continue;
            }
            std::ifstream status{entry.path() / "status"};
            std::string key;
            for (long number = 0; status >> key;) {
                if (key == "Threads:" && status >> number) {
                    threads += number;
                } else if (key == "RssAnon:" && status >> number) {
                    kib += number;
                }
            }
        }
        most_kib_ = std::max(most_kib_, kib);
        most_threads_ = std::max(most_threads_, threads);
    }

    std::vector<std::chrono::nanoseconds> waits_;
    long most_kib_ = 0;
    long most_threads_ = 0;
    std::atomic<bool> stop_{false};
    std::thread thread_;  // last: it uses all of the above
};

class SandboxAttack : public SandboxRig {
  protected:
    void TearDown() override {
        EXPECT_EQ(shell("$S -- echo fine").out, "fine\n");
        SandboxRig::TearDown();
    }
};

TEST_P(SandboxAttack, ForkBomb) {
    const Beside beside;
    EXPECT_EQ(shell("$S --timeout 12 --memory 256M -- bash -c ':(){ :|:& };:; wait; sleep 1000' 2>/dev/null")
                  .status,
              124);
}

TEST_P(SandboxAttack, MemoryHog) {
    const Beside beside;
    // The kernel of the guest ends whoever is too much.
    EXPECT_EQ(shell("$S --timeout 60 --memory 256M -- tail /dev/zero 2>/dev/null").status, 137);
    EXPECT_EQ(
        shell("$S --timeout 12 --memory 256M -- sh -c 'while :; do tail /dev/zero & tail /dev/zero; done' "
              "2>/dev/null")
            .status,
        124);
}

TEST_P(SandboxAttack, DiskFiller) {
    const Beside beside;
    for (const char* file : {"/tmp/filler", "/filler", "/usr/filler", "/dev/shm/filler"}) {
        SCOPED_TRACE(file);
        const Ended ended =
            shell("$S --timeout 60 --memory 256M -- dd if=/dev/zero bs=1M of=" + std::string{file} + " 2>&1");
        EXPECT_TRUE(ended.status == 1 || ended.status == 137) << ended.status << ended.out;
    }
    const Ended ended = shell(
        "$S --timeout 60 --memory 256M --out back --out-limit 2M -- sh -c 'dd if=/dev/zero of=/out/filler "
        "bs=1M "
        "count=64; for i in 1 2 3 4 5 6 7 8 9; do ln /out/filler /out/$i; done' 2>&1; echo $?; du -sk back | "
        "cut -f 1");
    EXPECT_THAT(ended.out, HasSubstr("more than the limit"));
    EXPECT_THAT(ended.out, HasSubstr("\n125\n"));
    EXPECT_LE(std::stol(ended.out.substr(ended.out.rfind("\n125\n") + 5)), 3 * 1024) << ended.out;
}

TEST_P(SandboxAttack, PacketFlood) {
    if (std::system("ip addr replace 192.0.2.77/32 dev lo && ip link set lo up") != 0) {
        GTEST_SKIP() << "only root can give the host an address";
    }
    {
        const UniqueFd sink{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
        const sockaddr_in address = at("192.0.2.77", 7009);
        ASSERT_EQ(bind(sink.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        const Beside beside;
        // By many sockets, and by calls that nobody answers, at once.
        const Ended ended = shell(
            "$S --net user --timeout 15 --memory 256M -- bash -c 'printf -v long %01400d 0; "
            "for i in 1 2 3 4; do while :; do exec 3<>/dev/udp/192.0.2.77/7009; "
            "for j in {1..500}; do echo $long >&3; done; done & done; "
            "while :; do (exec 3<>/dev/tcp/192.0.2.77/7010) & (exec 3<>/dev/tcp/192.0.2.78/7010) & sleep "
            "0.05; done' "
            "2>/dev/null");
        EXPECT_EQ(ended.status, 124) << ended.out;
        char byte = 0;
        EXPECT_EQ(recv(sink.get(), &byte, 1, 0), 1) << "nothing came";
    }
    EXPECT_EQ(std::system("ip addr del 192.0.2.77/32 dev lo"), 0);
}

TEST_P(SandboxAttack, EndlessOutput) {
    const Beside beside;
    const Ended ended = shell(
        "for to in 1 2; do { $S --timeout 8 --memory 256M -- sh -c \"cat /dev/zero >&$to\" 2>&1; echo $? "
        ">status; } | "
        "wc -c; cat status; done");
    std::istringstream words{ended.out};
    for (int stream = 1; stream <= 2; ++stream) {
        uint64_t bytes = 0;
        int status = 0;
        words >> bytes >> status;
        EXPECT_GT(bytes, 1'000'000U) << ended.out;
        EXPECT_EQ(status, 124) << ended.out;
    }
}

INSTANTIATE_TEST_SUITE_P(Users, SandboxAttack, testing::Values(Who::root, Who::ordinary),
                         [](const auto& who) { return who.param == Who::root ? "root" : "ordinary_user"; });

}  // namespace
}  // namespace hull::test
