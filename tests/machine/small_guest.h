// The whole machine, with a kernel of a few instructions: an ELF that is entered by PVH in 32-bit mode,
// without paging.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "tests/machine/guest_code.h"
#include "tests/machine/tiny_machine.h"
#include "tests/support/files.h"
#include "tests/support/kernel_builder.h"
#include "vmm/machine/machine.h"

namespace hull::test {

// Registers at the places of vmm/arch/x86_64 (asserted below).
#define POWER_OFF "mov byte ptr ds:[0xfe000000], 0x34\n8: hlt\njmp 8b\n"
#define PANIC "mov byte ptr ds:[0xfe001000], 1\n"
#define RESET_LINE "mov al, 0xfe\nout 0x64, al\n7: hlt\njmp 7b\n"
#define PRINT(character) "mov dx, 0x3f8\nmov al, '" character "'\nout dx, al\n"

// What the guest does before it is given input.
#define OPEN_SERIAL "mov dx, 0x3fc\nmov al, 8\nout dx, al\nmov dx, 0x3f9\nmov al, 1\nout dx, al\n"

inline Bytes kernel_with(std::span<const std::byte> code) {
    constexpr size_t kPvhEntry = 0x80;  // of the first segment, as pvh_notes() says
    Bytes elf = build_elf({.pvh = true});
    std::copy(code.begin(), code.end(),
              elf.begin() + static_cast<ptrdiff_t>(kSegments[0].file_offset + kPvhEntry));
    return elf;
}

/// Runs machines whose kernel is a few instructions.
class MachineTest : public KvmTest {
  protected:
    MachineTest() {
        config_.kernel = "test-kernel";
        config_.memory = uint64_t{64} << 20;
        config_.cmdline_raw = "nokaslr";
        int ends[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
            throw std::runtime_error{"socketpair"};
        }
        keepers_end_ = UniqueFd{ends[0]};
        machines_end_ = UniqueFd{ends[1]};
        signal(SIGPIPE, SIG_IGN);
    }

    MachineFiles files_with(const Bytes& kernel) {
        MachineFiles files;
        files.kvm = open_kvm();
        files.kernel = file_of(kernel);
        files.console_output = std::move(output_.write_end);
        files.console_input = std::move(input_.read_end);
        return files;
    }

    /// Runs a machine with this guest to its end; `meanwhile` runs beside it on a thread of its own.
    ExitStatus run(
        std::span<const std::byte> code, const std::function<void()>& meanwhile = [] {}) {
        return run(files_with(kernel_with(code)), meanwhile);
    }
    ExitStatus run(MachineFiles files, const std::function<void()>& meanwhile) {
        const auto start = std::chrono::steady_clock::now();
        ExitStatus status{};
        std::thread reader;
        printed_.clear();
        {
            Machine machine{config_, std::move(files), timeline_};
            machine_ = &machine;
            reader = std::thread{[&] { read_output(); }};
            std::thread beside{[&] { meanwhile(); }};
            status = machine.run(machines_end_.get());
            keeper_was_gone_ = machine.keeper_is_gone();
            beside.join();
        }
        reader.join();  // the console is closed now, and with it written to its end
        took_ = std::chrono::steady_clock::now() - start;
        return status;
    }
    /// Waits until it has printed so many characters; false where it does not.
    bool wait_for_output(size_t count) {
        std::unique_lock lock{mutex_};
        return has_printed_.wait_for(lock, std::chrono::seconds{60},
                                     [&] { return printed_.size() >= count; });
    }
    void tell_machine(KeeperMessage message) {
        write_all(keepers_end_.get(), std::string(1, static_cast<char>(message)));
    }

    /// What the machine answers: why it did not, or nothing.
    std::string ask_machine(KeeperMessage message, std::span<const int> descriptors = {}) {
        EXPECT_TRUE(send_request(keepers_end_.get(), message, descriptors));
        return receive_answer(keepers_end_.get()).value_or("it is gone");
    }

  private:
    void read_output() {
        std::array<char, 4096> part{};
        ssize_t got = 0;
        while ((got = read(output_.read_end.get(), part.data(), part.size())) > 0) {
            const std::lock_guard lock{mutex_};
            printed_.append(part.data(), static_cast<size_t>(got));
            has_printed_.notify_all();
        }
    }

    std::mutex mutex_;  // printed_, while the machine runs
    std::condition_variable has_printed_;

  protected:
    MachineConfig config_;
    Timeline timeline_;
    UniqueFd keepers_end_;
    UniqueFd machines_end_;
    Pipe output_ = make_pipe();
    Pipe input_ = make_pipe();
    std::string printed_;
    bool keeper_was_gone_ = false;
    std::chrono::steady_clock::duration took_{};
    Machine* machine_ = nullptr;  // while it runs
};

}  // namespace hull::test
