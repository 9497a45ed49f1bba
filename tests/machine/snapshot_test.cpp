// A machine that is paused, frozen to files and goes on, with guests of a few instructions.
#include "vmm/machine/snapshot.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <array>
#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/machine/guest_code.h"
#include "tests/machine/small_guest.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"

namespace hull {
namespace {

using namespace std::chrono_literals;

class SnapshotMachineTest : public test::MachineTest {
  protected:
    /// Pauses the machine that runs, freezes it, and lets it go on.
    void freeze() {
        EXPECT_EQ(ask_machine(KeeperMessage::pause), "");
        EXPECT_EQ(ask_machine(KeeperMessage::save, files_), "");
        EXPECT_EQ(ask_machine(KeeperMessage::resume), "");
    }
    /// What goes on from there, with a console of its own.
    MachineFiles frozen() {
        output_ = test::make_pipe();
        input_ = test::make_pipe();
        std::vector<std::byte> bytes(size_t{1} << 20);
        const ssize_t size = pread(state_.get(), bytes.data(), bytes.size(), 0);
        EXPECT_GT(size, 0);
        bytes.resize(static_cast<size_t>(size));
        MachineFiles again;
        again.kvm = open_kvm();
        again.console_output = std::move(output_.write_end);
        again.console_input = std::move(input_.read_end);
        again.frozen.emplace(FrozenMachine{
            SnapshotState::parse(bytes, "state"),
            {duplicate(memory_.get()), static_cast<uint64_t>(lseek(memory_.get(), 0, SEEK_END)), "memory"}});
        return again;
    }

    const UniqueFd state_{memfd_create("state", MFD_CLOEXEC)};
    const UniqueFd memory_{memfd_create("memory", MFD_CLOEXEC)};
    const std::array<int, 2> files_{state_.get(), memory_.get()};
};

// Prints a to z again and again, one character an exit, until something comes in.
HULL_GUEST_CODE(alphabet, 32, R"(
1:  mov bl, 'a'
2:  mov dx, 0x3f8
    mov al, bl
    out dx, al
    mov dx, 0x3fd
    in al, dx
    test al, 1
    jnz 3f
    inc bl
    cmp bl, 'z'
    jbe 2b
    jmp 1b
3:
)" POWER_OFF)
TEST_F(SnapshotMachineTest, DoesNothingWhilePausedAndLosesNothing) {
    constexpr int kRounds = 50;
    EXPECT_EQ(run(alphabet(),
                  [&] {
                      for (int round = 0; round < kRounds; ++round) {
                          EXPECT_EQ(ask_machine(KeeperMessage::pause), "");
                          EXPECT_EQ(ask_machine(KeeperMessage::pause), "") << "which it is already";
                          EXPECT_EQ(ask_machine(KeeperMessage::resume), "");
                          EXPECT_EQ(ask_machine(KeeperMessage::resume), "");
                      }
                      std::this_thread::sleep_for(20ms);
                      tell_machine(KeeperMessage::pause);
                      EXPECT_EQ(receive_answer(keepers_end_.get()), "");
                      tell_machine(KeeperMessage::resume);
                      EXPECT_EQ(receive_answer(keepers_end_.get()), "");
                      tell_machine(KeeperMessage::stop_now);
                  }),
              ExitStatus::forced_stop);
    ASSERT_FALSE(printed_.empty());
    for (size_t at = 0; at < printed_.size(); ++at) {
        ASSERT_EQ(printed_[at], static_cast<char>('a' + at % 26)) << "at " << at << " of " << printed_.size();
    }
}

// Powers off where the button is pressed, and else does nothing.
HULL_GUEST_CODE(polite_guest, 32, "1: mov eax, ds:[0xfe00000c]\ntest eax, 1\njz 1b\n" POWER_OFF)
TEST_F(SnapshotMachineTest, HeedsThePowerButtonThoughPaused) {
    config_.stop_timeout = 60s;
    EXPECT_EQ(run(polite_guest(),
                  [&] {
                      EXPECT_EQ(ask_machine(KeeperMessage::pause), "");
                      tell_machine(KeeperMessage::press_power_button);
                  }),
              ExitStatus::success);
}

TEST_F(SnapshotMachineTest, CanBeEndedThoughPaused) {
    EXPECT_EQ(run(polite_guest(),
                  [&] {
                      EXPECT_EQ(ask_machine(KeeperMessage::pause), "");
                      tell_machine(KeeperMessage::stop_now);
                  }),
              ExitStatus::forced_stop);
}

// Says that it is up, and then echoes what comes in, after a q of which it powers off. What it has counted in
// memory and in a register goes with it.
HULL_GUEST_CODE(counting_echo, 32, PRINT("u") OPEN_SERIAL R"(
    mov ebx, '0'
    mov dword ptr ds:[0x80000], '0'
1:  mov dx, 0x3fd
    in al, dx
    test al, 1
    jz 1b
    mov dx, 0x3f8
    in al, dx
    cmp al, 'q'
    je 2f
    inc ebx
    inc dword ptr ds:[0x80000]
    mov al, bl
    out dx, al
    mov al, ds:[0x80000]
    out dx, al
    jmp 1b
2:
)" POWER_OFF)
TEST_F(SnapshotMachineTest, GoesOnFromItsFilesAsOftenAsOneLikes) {
    EXPECT_EQ(run(counting_echo(),
                  [&] {
                      test::write_all(input_.write_end.get(), "xx");
                      EXPECT_TRUE(wait_for_output(5));
                      EXPECT_NE(ask_machine(KeeperMessage::save, files_).find("pause it first"),
                                std::string::npos);
                      freeze();
                      test::write_all(input_.write_end.get(), "xq");
                  }),
              ExitStatus::success);
    EXPECT_EQ(printed_, "u112233") << "it goes on itself, too";
    for (int round = 0; round < 2; ++round) {
        EXPECT_EQ(run(frozen(), [&] { test::write_all(input_.write_end.get(), "xxq"); }),
                  ExitStatus::success);
        EXPECT_EQ(printed_, "3344") << "round " << round;
    }
}

TEST_F(SnapshotMachineTest, WithOtherDevicesOrMemoryIsRefused) {
    EXPECT_EQ(run(counting_echo(),
                  [&] {
                      freeze();
                      test::write_all(input_.write_end.get(), "q");
                  }),
              ExitStatus::success);
    MachineConfig other = config_;
    other.rng = true;
    test::expect_error([&] { Machine(other, frozen(), timeline_); }, ExitStatus::bad_file, {"saved state"});
    other = config_;
    other.memory *= 2;
    test::expect_error([&] { Machine(other, frozen(), timeline_); }, ExitStatus::bad_file, {"128M"});
    other = config_;
    other.cpus = 2;
    test::expect_error([&] { Machine(other, frozen(), timeline_); }, ExitStatus::bad_file, {"'vcpu 1'"});
}

}  // namespace
}  // namespace hull
