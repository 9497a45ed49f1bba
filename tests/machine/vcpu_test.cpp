// One vCPU and its exits.
#include "vmm/kvm/vcpu.h"

#include <gtest/gtest.h>
#include <linux/kvm.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/irq_line.h"
#include "devices/legacy/serial.h"
#include "tests/machine/guest_code.h"
#include "tests/machine/tiny_machine.h"
#include "tests/support/fake_devices.h"
#include "vmm/machine/vcpu_thread.h"

namespace hull {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using test::TinyMachine;

class VcpuTest : public test::KvmTest {};

template <typename Bytes>
uint32_t value_of(Bytes data) {
    uint32_t value = 0;
    std::memcpy(&value, data.data(), data.size());
    return value;
}

/// The next exit is an access of this kind.
template <typename Access>
Access next(TinyMachine& machine) {
    const VcpuExit exit = machine.run();
    if (const auto* access = std::get_if<Access>(&exit)) {
        return *access;
    }
    throw std::runtime_error{"another kind of exit: " + std::to_string(exit.index())};
}

// KVM makes a new vCPU with the rate that it found when it was loaded, which may be wrong (see arch.cpp).
TEST_F(VcpuTest, CountsTimeAtTheHostsRateWhateverKvmMadeItWith) {
    TinyMachine machine;
    Vcpu& vcpu = machine.vcpus.front();
    vcpu.request(KVM_SET_TSC_KHZ, nullptr, "KVM_SET_TSC_KHZ");
    const int host_rate = vcpu.request(KVM_GET_TSC_KHZ, nullptr, "KVM_GET_TSC_KHZ");
    // Within what KVM takes without help of the processor (tsc_tolerance_ppm: 250).
    const auto other_rate = static_cast<uintptr_t>(host_rate - host_rate / 10'000);
    // NOLINTNEXTLINE(performance-no-int-to-ptr): the ioctl takes a number
    vcpu.request(KVM_SET_TSC_KHZ, reinterpret_cast<const void*>(other_rate), "KVM_SET_TSC_KHZ");
    ASSERT_NE(host_rate, vcpu.request(KVM_GET_TSC_KHZ, nullptr, "KVM_GET_TSC_KHZ"));

    arch::prepare_vcpu(machine.kvm, vcpu, 1);

    EXPECT_EQ(host_rate, vcpu.request(KVM_GET_TSC_KHZ, nullptr, "KVM_GET_TSC_KHZ"));
}

HULL_GUEST_CODE(port_accesses, 32, R"(
    mov dx, 0x500
    mov al, 0x11
    out dx, al
    mov ax, 0x2222
    out dx, ax
    mov eax, 0x33333333
    out dx, eax
    in al, dx
    out 0x80, al
    in ax, dx
    out 0x80, ax
    in eax, dx
    out 0x80, eax
)")

TEST_F(VcpuTest, PortAccessesCarryDataBothWays) {
    TinyMachine machine;
    machine.load(port_accesses());
    for (const uint32_t expected : {0x11U, 0x2222U, 0x33333333U}) {
        const auto write = next<vcpu_exit::PortWrite>(machine);
        EXPECT_EQ(write.port, 0x500);
        EXPECT_EQ(write.count, 1U);
        EXPECT_EQ(value_of(write.data), expected);
    }
    for (const size_t width : {1, 2, 4}) {
        const auto read = next<vcpu_exit::PortRead>(machine);
        EXPECT_EQ(read.port, 0x500);
        ASSERT_EQ(read.data.size(), width);
        std::memset(read.data.data(), 0xc4, width);
        const auto echo = next<vcpu_exit::PortWrite>(machine);
        EXPECT_EQ(echo.port, 0x80);
        EXPECT_EQ(value_of(echo.data), 0xc4c4c4c4U >> (32 - 8 * width));
    }
}

HULL_GUEST_CODE(memory_accesses, 32, R"(
    mov ebx, 0xd0000000
    mov byte ptr [ebx], 0x11
    mov word ptr [ebx + 2], 0x2222
    mov dword ptr [ebx + 4], 0x33333333
    mov al, [ebx + 8]
    out 0x80, al
    mov ax, [ebx + 8]
    out 0x80, ax
    mov eax, [ebx + 8]
    out 0x80, eax
)")

TEST_F(VcpuTest, MemoryAccessesCarryDataBothWays) {
    TinyMachine machine;
    machine.load(memory_accesses());
    uint64_t address = 0xd000'0000;
    for (const auto& [expected, width] : {std::pair{0x11U, 1U}, {0x2222U, 2U}, {0x33333333U, 4U}}) {
        const auto write = next<vcpu_exit::MemoryWrite>(machine);
        EXPECT_EQ(raw(write.address), address);
        ASSERT_EQ(write.data.size(), width);
        EXPECT_EQ(value_of(write.data), expected);
        address += width == 1 ? 2 : width;
    }
    for (const size_t width : {1, 2, 4}) {
        const auto read = next<vcpu_exit::MemoryRead>(machine);
        EXPECT_EQ(raw(read.address), 0xd000'0008);
        ASSERT_EQ(read.data.size(), width);
        std::memset(read.data.data(), 0xc4, width);
        EXPECT_EQ(value_of(next<vcpu_exit::PortWrite>(machine).data), 0xc4c4c4c4U >> (32 - 8 * width));
    }
}

HULL_GUEST_CODE(triple_fault, 32, "ud2")

TEST_F(VcpuTest, ATripleFaultIsAShutdown) {
    TinyMachine machine;  // its interrupt table has no entries
    machine.load(triple_fault());
    EXPECT_TRUE(std::holds_alternative<vcpu_exit::Shutdown>(machine.run()));
}

HULL_GUEST_CODE(spin, 32, "1: pause\njmp 1b")

TEST_F(VcpuTest, ARequestedExitComesAtOnce) {
    TinyMachine machine;
    machine.load(spin());
    machine.vcpus.front().request_exit();
    EXPECT_TRUE(std::holds_alternative<vcpu_exit::Interrupted>(machine.vcpus.front().run()));
}

TEST_F(VcpuTest, ARefusedRequestNamesItself) {
    TinyMachine machine;
    EXPECT_FALSE(machine.vcpus.front().try_request(KVM_SET_SREGS, nullptr));
    try {
        machine.vcpus.front().request(KVM_SET_SREGS, nullptr, "KVM_SET_SREGS");
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.status(), ExitStatus::host_unfit);
        EXPECT_NE(std::string{error.what()}.find("KVM_SET_SREGS for vCPU 0"), std::string::npos)
            << error.what();
    }
}

/// Remembers what is written, counts what is read.
class Recorder final : public BusDevice {
  public:
    void read(uint64_t /*offset*/, std::span<std::byte> data) override {
        const std::lock_guard lock{mutex_};
        for (std::byte& byte : data) {
            byte = std::byte{++reads_};
        }
    }
    void write(uint64_t /*offset*/, std::span<const std::byte> data) override {
        const std::lock_guard lock{mutex_};
        for (const std::byte byte : data) {
            written_.push_back(static_cast<char>(byte));
        }
    }
    std::string written() {
        const std::lock_guard lock{mutex_};
        return written_;
    }
    /// Waits until so much was written; what was written by then.
    std::string wait_for(size_t size) {
        const auto deadline = Clock::now() + 20s;
        while (written().size() < size && Clock::now() < deadline) {
            std::this_thread::sleep_for(1ms);
        }
        return written();
    }

  private:
    std::mutex mutex_;
    std::string written_;
    uint8_t reads_ = 0;
};

/// vCPU threads with a recorder at ports 0x80 to 0x8f and one at 0x500.
class VcpuThreadTest : public test::KvmTest {
  protected:
    void SetUp() override {
        test::KvmTest::SetUp();
        VcpuThread::install_kick_handler();
        ports_.attach(GuestRange::of(0x80, 0x10), told_, "told");
        ports_.attach(GuestRange::of(0x500, 4), data_, "data");
    }
    void start(TinyMachine& machine) {
        for (Vcpu& vcpu : machine.vcpus) {
            threads_.push_back(std::make_unique<VcpuThread>(std::move(vcpu), surroundings_));
            threads_.back()->start();
        }
    }

    Recorder told_;
    Recorder data_;
    Bus ports_;
    Bus memory_;
    std::atomic<int> ends_{0};
    const VcpuSurroundings surroundings_{
        ports_, memory_, [this](uint32_t, const VcpuExit& exit) {
            ++ends_;
            if (const auto* failure = std::get_if<vcpu_exit::Failure>(&exit)) {
                ADD_FAILURE() << failure->why;
            }
        }};
    std::vector<std::unique_ptr<VcpuThread>> threads_;
};

HULL_GUEST_CODE(string_io, 32, R"(
    cld
    mov dx, 0x500
    mov esi, 0x3000
    mov ecx, 5
    rep outsb
    mov esi, 0x3000
    mov ecx, 2
    rep outsd
    mov edi, 0x3100
    mov ecx, 3
    rep insw
    out 0x80, al
1:  hlt
    jmp 1b
)")

TEST_F(VcpuThreadTest, StringInstructionsMoveEveryElement) {
    TinyMachine machine;
    machine.load(string_io());
    const std::string text = "hello, world";
    machine.put(0x3000, std::as_bytes(std::span{text}));
    start(machine);
    EXPECT_EQ(told_.wait_for(1).size(), 1U);
    EXPECT_EQ(data_.written(), "hellohello, w");
    EXPECT_EQ(machine.memory.read<uint64_t>(GuestAddress{0x3100}), 0x0000'0605'0403'0201U);
}

HULL_GUEST_CODE(halt, 32, R"(
    mov al, 'h'
    out 0x80, al
1:  hlt
    jmp 1b
)")

TEST_F(VcpuThreadTest, AHaltStaysInTheKernelAndIsInterrupted) {
    TinyMachine machine;
    machine.load(halt());
    start(machine);
    EXPECT_EQ(told_.wait_for(1), "h");
    timespec before{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    std::this_thread::sleep_for(200ms);
    timespec after{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    EXPECT_LT((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1'000'000, 100)
        << "ms of processor time: a halted guest keeps the host busy";
    const auto start_of_end = Clock::now();
    threads_.clear();
    EXPECT_LT(Clock::now() - start_of_end, 5s);
    EXPECT_EQ(ends_, 0);
}

TEST_F(VcpuThreadTest, AGuestThatSpinsIsInterrupted) {
    for (int round = 0; round < 20; ++round) {  // at once, and a little later
        TinyMachine machine;
        machine.load(spin());
        start(machine);
        std::this_thread::sleep_for(round * 1ms);
        const auto start_of_end = Clock::now();
        threads_.clear();
        EXPECT_LT(Clock::now() - start_of_end, 5s);
    }
    EXPECT_EQ(ends_, 0);
}

TEST_F(VcpuThreadTest, ATripleFaultEndsTheThread) {
    TinyMachine machine;
    machine.load(triple_fault());
    start(machine);
    const auto deadline = Clock::now() + 20s;
    while (ends_ == 0 && Clock::now() < deadline) {
        std::this_thread::sleep_for(1ms);
    }
    threads_.clear();
    EXPECT_EQ(ends_, 1);
}

// The local APIC is at 0xfee00000: 0x300 and 0x310 send interrupts between processors (Intel SDM 3A, 11.6.1).
HULL_GUEST_CODE(start_second, 32, R"(
    mov ebx, 0xfee00000
    mov dword ptr [ebx + 0xf0], 0x1ff
    mov dword ptr [ebx + 0x310], 0x01000000
    mov dword ptr [ebx + 0x300], 0x4500
    mov dword ptr [ebx + 0x310], 0x01000000
    mov dword ptr [ebx + 0x300], 0x4608
1:  hlt
    jmp 1b
)")
HULL_GUEST_CODE(second, 16, R"(
    mov eax, 1
    cpuid
    shr ebx, 24
    mov al, bl
    out 0x80, al
    mov al, '!'
    out 0x80, al
1:  hlt
    jmp 1b
)")

TEST_F(VcpuThreadTest, InitAndStartUpStartASecondCpu) {
    TinyMachine machine{2};
    machine.load(start_second());
    machine.put(0x8000, second());
    start(machine);
    EXPECT_EQ(told_.wait_for(2), "\x01!");
    threads_.clear();
    EXPECT_EQ(ends_, 0);
}

// The PICs, which would deliver it too, are masked. I/O APIC input 4 becomes vector 0x30; its handler reads
// the serial port's byte.
HULL_GUEST_CODE(wait_for_serial, 32, R"(
    mov al, 0xff
    out 0x21, al
    out 0xa1, al
    lidt ds:[0x600]
    mov ebx, 0xfee00000
    mov dword ptr [ebx + 0xf0], 0x1ff
    mov ebx, 0xfec00000
    mov dword ptr [ebx], 0x18
    mov dword ptr [ebx + 0x10], 0x30
    mov dword ptr [ebx], 0x19
    mov dword ptr [ebx + 0x10], 0
    mov dx, 0x3fc
    mov al, 8
    out dx, al
    mov dx, 0x3f9
    mov al, 1
    out dx, al
    sti
    mov al, 'r'
    out 0x80, al
1:  hlt
    jmp 1b
)")
HULL_GUEST_CODE(serial_handler, 32, R"(
    mov dx, 0x3f8
    in al, dx
    out 0x80, al
    mov dword ptr ds:[0xfee000b0], 0
    iretd
)")

TEST_F(VcpuThreadTest, ASerialInterruptArrivesByItsEventfd) {
    constexpr uint32_t kHandler = 0x1800;
    constexpr uint32_t kTable = 0x2000;
    TinyMachine machine;
    machine.load(wait_for_serial());
    machine.put(kHandler, serial_handler());
    // An interrupt gate for vector 0x30, and what LIDT reads.
    const uint64_t gate = uint64_t{kHandler} | uint64_t{0x10} << 16 | uint64_t{0x8e00} << 32;
    ASSERT_TRUE(machine.memory.write(GuestAddress{kTable + 0x30 * 8}, gate));
    ASSERT_TRUE(machine.memory.write(GuestAddress{0x600}, uint16_t{0x31 * 8 - 1}));
    ASSERT_TRUE(machine.memory.write(GuestAddress{0x602}, kTable));

    test::RecordingSink sink;
    EventfdIrqLine irq;
    machine.vm.connect_irqfd(arch::kSerialPlace.node.interrupt.value(), irq.fd());
    Serial serial{sink, irq, [] {}};
    ports_.attach(arch::kSerialPlace.node.range, serial, "serial");
    start(machine);
    EXPECT_EQ(told_.wait_for(1), "r");
    std::string expected = "r";
    for (const uint8_t byte : {'a', 'b', 'c'}) {
        EXPECT_EQ(serial.receive({&byte, 1}), 1U);
        expected.push_back(static_cast<char>(byte));
        EXPECT_EQ(told_.wait_for(expected.size()), expected);
    }
    threads_.clear();
    EXPECT_EQ(ends_, 0);
}

}  // namespace
}  // namespace hull
