// The whole machine, with a kernel of a few instructions: an ELF that is entered by PVH in 32-bit mode,
// without paging.
#include "vmm/machine/machine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <span>
#include <string>
#include <thread>

#include "tests/machine/guest_code.h"
#include "tests/machine/small_guest.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/kernel_builder.h"

namespace hull {
namespace {

using Clock = std::chrono::steady_clock;
using test::kernel_with;
using test::MachineTest;

using namespace std::chrono_literals;

TEST_F(MachineTest, DevicesAreWhereTheGuestsHereExpectThem) {
    EXPECT_EQ(raw(arch::kPowerPlace.node.range.start()), 0xfe00'0000U);
    EXPECT_EQ(raw(arch::kPvpanicPlace.node.range.start()), 0xfe00'1000U);
    EXPECT_EQ(raw(arch::kSerialPlace.node.range.start()), 0x3f8U);
}

HULL_GUEST_CODE(power_off, 32, PRINT("o") POWER_OFF)
TEST_F(MachineTest, PowerOffIsSuccess) {
    EXPECT_EQ(run(power_off()), ExitStatus::success);
    EXPECT_EQ(printed_, "o") << "printed just before the end, and lost";
    EXPECT_FALSE(keeper_was_gone_);
    EXPECT_LE(timeline_.kvm_ready, timeline_.image_loaded);
    EXPECT_LE(timeline_.image_loaded, timeline_.first_instruction);
}

HULL_GUEST_CODE(reset, 32, "mov dword ptr ds:[0xfe000008], 1\n1: hlt\njmp 1b")
TEST_F(MachineTest, TheResetRegisterIsAReboot) {
    EXPECT_EQ(run(reset()), ExitStatus::guest_reboot);
}

HULL_GUEST_CODE(reset_line, 32, RESET_LINE)
TEST_F(MachineTest, TheResetLineIsAReboot) {
    EXPECT_EQ(run(reset_line()), ExitStatus::guest_reboot);
}

HULL_GUEST_CODE(fault, 32, "lidt ds:[0]\nud2")
TEST_F(MachineTest, ATripleFaultIsTold) {
    EXPECT_EQ(run(fault()), ExitStatus::guest_triple_fault);
}

HULL_GUEST_CODE(panic, 32, PANIC PRINT("p") "1: jmp 1b")
TEST_F(MachineTest, APanicEndsTheMachineAfterItsLastWords) {
    EXPECT_EQ(run(panic()), ExitStatus::guest_panic);
    EXPECT_EQ(printed_, "p");
}

HULL_GUEST_CODE(panic_and_reset, 32, PANIC RESET_LINE)
TEST_F(MachineTest, AResetAfterAPanicIsAPanic) {
    EXPECT_EQ(run(panic_and_reset()), ExitStatus::guest_panic);
}

HULL_GUEST_CODE(panic_and_fault, 32, PANIC "lidt ds:[0]\nud2")
TEST_F(MachineTest, ATripleFaultAfterAPanicIsAPanic) {
    EXPECT_EQ(run(panic_and_fault()), ExitStatus::guest_panic);
}

HULL_GUEST_CODE(deaf, 32, "1: jmp 1b")
TEST_F(MachineTest, AGuestThatDoesNotHeedTheButtonIsEndedAfterTheTimeout) {
    config_.stop_timeout = 300ms;
    Clock::time_point pressed;
    EXPECT_EQ(run(deaf(),
                  [&] {
                      std::this_thread::sleep_for(50ms);
                      pressed = Clock::now();
                      tell_machine(KeeperMessage::press_power_button);
                  }),
              ExitStatus::forced_stop);
    EXPECT_GE(Clock::now() - pressed, 300ms);
    EXPECT_LT(Clock::now() - pressed, 10s);
}

// Reads the events' register until the power button is told.
HULL_GUEST_CODE(polite, 32, PRINT("r") "1: mov eax, ds:[0xfe00000c]\ntest eax, 1\njz 1b\n" POWER_OFF)
TEST_F(MachineTest, AGuestThatHeedsTheButtonPowersOff) {
    config_.stop_timeout = 60s;
    EXPECT_EQ(run(polite(), [&] { tell_machine(KeeperMessage::press_power_button); }), ExitStatus::success);
    EXPECT_EQ(printed_, "r");
}

TEST_F(MachineTest, TheKeeperCanEndItAtOnce) {
    config_.stop_timeout = 60s;
    EXPECT_EQ(run(deaf(), [&] { tell_machine(KeeperMessage::stop_now); }), ExitStatus::forced_stop);
    EXPECT_LT(took_, 20s);
}

TEST_F(MachineTest, ItEndsWhenItsKeeperIsGone) {
    EXPECT_EQ(run(deaf(), [&] { keepers_end_.reset(); }), ExitStatus::forced_stop);
    EXPECT_TRUE(keeper_was_gone_);
}

// Echoes what comes in until q comes.
HULL_GUEST_CODE(echo, 32, OPEN_SERIAL R"(
1:  mov dx, 0x3fd
    in al, dx
    test al, 1
    jz 1b
    mov dx, 0x3f8
    in al, dx
    cmp al, 'q'
    je 2f
    out dx, al
    jmp 1b
2:
)" POWER_OFF)
TEST_F(MachineTest, WhatIsPipedInComesOutWhole) {
    std::string text;
    for (int line = 0; line < 300; ++line) {
        text += "line " + std::to_string(line) + "\n";
    }
    EXPECT_EQ(run(echo(), [&] { test::write_all(input_.write_end.get(), text + "q"); }), ExitStatus::success);
    EXPECT_EQ(printed_, text);
}

// Copies five bytes of code to 0x70000 (a reset by the keyboard controller) and starts the second CPU there.
HULL_GUEST_CODE(second_resets, 32, R"(
    mov dword ptr ds:[0x70000], 0x64e6feb0
    mov byte ptr ds:[0x70004], 0xf4
    mov ebx, 0xfee00000
    mov dword ptr [ebx + 0xf0], 0x1ff
    mov dword ptr [ebx + 0x310], 0x01000000
    mov dword ptr [ebx + 0x300], 0x4500
    mov dword ptr [ebx + 0x310], 0x01000000
    mov dword ptr [ebx + 0x300], 0x4670
1:  hlt
    jmp 1b
)")
TEST_F(MachineTest, EveryCpuReachesTheDevices) {
    config_.cpus = 2;
    EXPECT_EQ(run(second_resets()), ExitStatus::guest_reboot);
}

TEST_F(MachineTest, AsManyCpusAsCanBe) {
    config_.cpus = arch::kMaxCpus;
    EXPECT_EQ(run(power_off()), ExitStatus::success);
}

TEST_F(MachineTest, MemoryPastTheHoleIsThere) {
    config_.memory = uint64_t{5} << 30;
    EXPECT_EQ(run(power_off()), ExitStatus::success);
}

TEST_F(MachineTest, DescribedByADeviceTreeItStartsByTheLinuxProtocol) {
    // 64-bit code at the ELF's own entry; paging is on, so only ports are reached for sure.
    constexpr size_t kEntry = 0x40;
    test::Bytes elf = test::build_elf({.pvh = true});
    const auto code = test::bytes_of("\xb0\xfe\xe6\x64\xf4");  // mov al, 0xfe; out 0x64, al; hlt
    std::copy(code.begin(), code.end(),
              elf.begin() + static_cast<ptrdiff_t>(test::kSegments[0].file_offset + kEntry));
    config_.platform = boot::PlatformTables::fdt;
    Machine machine{config_, files_with(elf), timeline_};
    EXPECT_EQ(machine.run(machines_end_.get()), ExitStatus::guest_reboot);
}

TEST_F(MachineTest, AFileThatIsNoKernelIsAnError) {
    test::expect_error([&] { Machine machine(config_, files_with(test::bytes_of("hello")), timeline_); },
                       ExitStatus::bad_file, {"test-kernel"});
}

// After whatever the guest did: the serial port set up anew prints, and the machine powers off.
#define LIVES \
    "mov dx, 0x3fb\nmov al, 3\nout dx, al\nmov dx, 0x3fc\nmov al, 0\nout dx, al\n" PRINT("!") POWER_OFF

class HostileGuestTest : public MachineTest {
  protected:
    void expect_to_live_with(std::span<const std::byte> code) {
        EXPECT_EQ(run(code), ExitStatus::success);
        EXPECT_TRUE(printed_.ends_with("!")) << "the serial port does not work any more";
        // Another machine is as it was.
        output_ = test::make_pipe();
        EXPECT_EQ(run(power_off()), ExitStatus::success);
        EXPECT_EQ(printed_, "o");
    }
};

// Every port is written, and those of a PC's own devices are read too and written by words. 0xaa is no reset
// anywhere.
HULL_GUEST_CODE(every_port, 32, R"(
    xor edx, edx
1:  mov eax, 0xaaaaaaaa
    out dx, al
    cmp edx, 0x400
    jae 2f
    in eax, dx
    out dx, ax
2:  inc edx
    cmp edx, 0x10000
    jne 1b
)" LIVES)
TEST_F(HostileGuestTest, WritesEveryPort) {
    expect_to_live_with(every_port());
}

// The registers of the memory-mapped devices at every alignment and width, and around their ends. 0xfe is no
// power off, no reset and no panic.
HULL_GUEST_CODE(every_register, 32, R"(
    mov ebx, 0xfdfffff0
1:  mov byte ptr [ebx], 0xfe
    mov word ptr [ebx], 0xfefe
    mov dword ptr [ebx], 0xfefefefe
    mov al, [ebx]
    mov ax, [ebx]
    mov eax, [ebx]
    inc ebx
    cmp ebx, 0xfe000020
    jne 2f
    mov ebx, 0xfe000ff0
2:  cmp ebx, 0xfe001010
    jne 1b
)" LIVES)
TEST_F(HostileGuestTest, WritesEveryRegister) {
    expect_to_live_with(every_register());
}

// Places all over the fourth GiB.
HULL_GUEST_CODE(anywhere, 32, R"(
    mov esi, 12345
    mov ecx, 2000
1:  imul esi, esi, 1664525
    add esi, 1013904223
    mov ebx, esi
    shr ebx, 2
    or ebx, 0xc0000000
    mov dword ptr [ebx], 0xfefefefe
    mov eax, [ebx]
    dec ecx
    jnz 1b
)" LIVES)
TEST_F(HostileGuestTest, WritesAnywhere) {
    expect_to_live_with(anywhere());
}

}  // namespace
}  // namespace hull
