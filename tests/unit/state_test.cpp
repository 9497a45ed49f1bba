// What the parts of a machine save and load (base/state.h).
#include "base/state.h"

#include <gtest/gtest.h>
#include <linux/serial_reg.h>
#include <linux/virtio_blk.h>
#include <poll.h>

#include <memory>
#include <thread>

#include "base/device_node.h"
#include "devices/block/block.h"
#include "devices/block/file_backend.h"
#include "devices/legacy/power.h"
#include "devices/legacy/rtc.h"
#include "devices/legacy/serial.h"
#include "tests/support/errors.h"
#include "tests/support/fake_devices.h"
#include "tests/support/memory_disk.h"
#include "tests/support/side.h"

namespace hull {
namespace {

using test::kVersion1;

std::vector<std::byte> saved(const Stateful& part) {
    StateWriter state;
    part.save(state);
    return state.bytes();
}

void load(Stateful& part, std::span<const std::byte> bytes) {
    StateReader state{bytes};
    part.load(state);
    state.end();
}

/// Takes `part` as far as `bytes` let it.
bool is_taken(Stateful& part, std::span<const std::byte> bytes) {
    if (const auto error = test::error_of([&] { load(part, bytes); })) {
        EXPECT_EQ(error->status(), ExitStatus::bad_file);
        return false;
    }
    part.resume();
    return true;
}

/// State that is cut off or has a wrong byte is told, or makes a part that works, whatever it does: nothing
/// else is asked of it here than that it ends well.
template <typename Make>
void expect_bad_states_to_be_harmless(const std::vector<std::byte>& good, Make make) {
    for (size_t size = 0; size < good.size(); ++size) {
        EXPECT_FALSE(is_taken(make()->state(), std::span{good}.first(size))) << size;
    }
    std::vector<std::byte> longer = good;
    longer.push_back(std::byte{0});
    EXPECT_FALSE(is_taken(make()->state(), longer));
    for (size_t at = 0; at < good.size(); ++at) {
        for (const std::byte change : {std::byte{0x01}, std::byte{0x40}, std::byte{0x80}, std::byte{0xff}}) {
            std::vector<std::byte> bad = good;
            bad[at] ^= change;
            is_taken(make()->state(), bad);
        }
    }
}

// --- the form

TEST(State, WhatWasPutIsGot) {
    StateWriter out;
    out.begin("first");
    out.put(uint16_t{0x1234});
    out.put(true);
    out.begin("");
    const std::array<std::byte, 3> bytes{std::byte{1}, std::byte{2}, std::byte{3}};
    out.put_bytes(bytes);
    out.put(int64_t{-5});
    EXPECT_EQ(out.bytes()[6], std::byte{0x34}) << "the lower byte first";

    StateReader in{out.bytes()};
    in.begin("first");
    EXPECT_EQ(in.get<uint16_t>(), 0x1234);
    EXPECT_TRUE(in.get<bool>());
    in.begin("");
    EXPECT_TRUE(std::ranges::equal(in.get_bytes(), bytes));
    EXPECT_EQ(in.get<int64_t>(), -5);
    in.end();
    test::expect_error([&] { (void)in.get<uint8_t>(); }, ExitStatus::bad_file, {"cut off"});
}

TEST(State, WhatIsNotThereIsTold) {
    StateWriter out;
    out.begin("serial");
    out.put(uint32_t{1'000'000});
    const auto begun = [&] {
        StateReader in{out.bytes()};
        in.begin("serial");
        return in;
    };
    test::expect_error([&] { StateReader{out.bytes()}.begin("rtc"); }, ExitStatus::bad_file,
                       {"rtc", "another part"});
    test::expect_error([&] { (void)begun().get_bytes(); }, ExitStatus::bad_file, {"serial", "cut off"});
    test::expect_error([&] { (void)begun().get<uint64_t>(); }, ExitStatus::bad_file, {"cut off"});
    test::expect_error([&] { (void)begun().get<bool>(); }, ExitStatus::bad_file, {"neither"});
    test::expect_error([&] { begun().end(); }, ExitStatus::bad_file, {"more behind it"});
}

// --- a virtio device behind each transport

template <typename Transport>
class VirtioState : public testing::Test {
  protected:
    using Guest = test::TwoQueueGuest<Transport>;

    /// Another device and transport over the same memory, with what `guest` saves, resumed.
    struct Other {
        explicit Other(Guest& guest) : side{device, guest.memory} { device.offered |= test::kReset; }
        Stateful& state() { return side.state(); }
        test::RecordingDevice device;
        Transport side;
    };
    /// Two requests of the second queue are done, one was taken, one is still there.
    static void begin_work(Guest& guest) {
        guest.start();
        for (const uint16_t head : std::initializer_list<uint16_t>{0, 1, 2, 3}) {
            guest.second.add(guest.buffers, head);
        }
        for (int done = 0; done < 2; ++done) {
            guest.queue(1)->push(std::move(*guest.queue(1)->pop().value()), 1);
        }
        EXPECT_TRUE(guest.queue(1)->pop().value());
    }
    static void finish_work(Guest& guest, virtio::Activation& activation) {
        ASSERT_EQ(activation.queues.size(), 2U);
        virtio::VirtQueue& queue = activation.queues[1].queue;
        for (const uint16_t head : std::initializer_list<uint16_t>{2, 3}) {
            auto chain = queue.pop().value();
            ASSERT_TRUE(chain);
            EXPECT_EQ(chain->head(), head);
            queue.push(std::move(*chain), 1);
        }
        EXPECT_FALSE(queue.pop().value());
        EXPECT_EQ(guest.second.take_used().size(), 4U);
    }
};
using Transports = testing::Types<test::MmioSide, test::PciSide>;
TYPED_TEST_SUITE(VirtioState, Transports);

TYPED_TEST(VirtioState, ADeviceGoesOnInAnotherProcessWhereItWas) {
    typename TestFixture::Guest guest;
    this->begin_work(guest);
    guest.side.state().quiesce();
    EXPECT_FALSE(guest.device.activation);
    EXPECT_EQ(guest.device.resets, 0) << "the device forgot what its driver had set";

    typename TestFixture::Other other{guest};
    load(other.state(), saved(guest.side.state()));
    EXPECT_FALSE(other.device.activation) << "before resume()";
    other.state().resume();
    ASSERT_TRUE(other.device.activation);
    EXPECT_EQ(other.device.activation->features, kVersion1 | test::kReset);
    EXPECT_EQ(other.side.status(), test::kReadyToStart | VIRTIO_CONFIG_S_DRIVER_OK);
    EXPECT_TRUE(other.side.is_enabled(0));
    for (const uint16_t queue : std::initializer_list<uint16_t>{0, 1}) {
        EXPECT_GE(other.side.interrupts(queue), 1) << "what was given back last may not have been told";
    }
    this->finish_work(guest, *other.device.activation);
    other.side.negotiate(kVersion1);
    EXPECT_FALSE(other.device.activation) << "a reset of the driver's";
}

TYPED_TEST(VirtioState, ADeviceGoesOnAfterAPause) {
    typename TestFixture::Guest guest;
    this->begin_work(guest);
    guest.side.state().quiesce();
    guest.side.state().quiesce();
    guest.side.state().resume();
    ASSERT_TRUE(guest.device.activation);
    this->finish_work(guest, *guest.device.activation);
    guest.side.state().resume();
    EXPECT_EQ(guest.device.stops, 1);
    EXPECT_TRUE(guest.serves());
}

TYPED_TEST(VirtioState, ADriverGoesOnSettingUp) {
    typename TestFixture::Guest guest;
    guest.side.negotiate(kVersion1 | test::kReset);
    guest.side.set_queue(0, guest.first.config());
    guest.side.state().quiesce();
    typename TestFixture::Other other{guest};
    load(other.state(), saved(guest.side.state()));
    other.state().resume();
    EXPECT_FALSE(other.device.activation);
    EXPECT_EQ(other.side.status(), test::kReadyToStart);
    other.side.set_queue(1, guest.second.config());
    other.side.start();
    ASSERT_TRUE(other.device.activation);
    EXPECT_EQ(other.device.activation->queues.size(), 2U);
}

TYPED_TEST(VirtioState, ADeviceThatIsBrokenStaysSo) {
    typename TestFixture::Guest guest;
    guest.start();
    guest.device.activation->driver.needs_reset("a test");
    guest.side.state().quiesce();
    typename TestFixture::Other other{guest};
    load(other.state(), saved(guest.side.state()));
    other.state().resume();
    EXPECT_FALSE(other.device.activation);
    guest.side.state().resume();
    EXPECT_FALSE(guest.device.activation);
    EXPECT_NE(other.side.status() & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

TYPED_TEST(VirtioState, AnotherDeviceDoesNotTakeIt) {
    typename TestFixture::Guest guest;
    guest.start();
    guest.side.state().quiesce();
    typename TestFixture::Other other{guest};
    other.device.offered = 0;
    test::expect_error([&] { load(other.state(), saved(guest.side.state())); }, ExitStatus::bad_file,
                       {"recorder", "features"});
    virtio::Block disk{{.size = 1024, .id = ""}, virtio::make_synchronous_backends(virtio::DiskImage{})};
    TypeParam side{disk, guest.memory};
    test::expect_error([&] { load(side.state(), saved(guest.side.state())); }, ExitStatus::bad_file,
                       {"another kind"});
}

TYPED_TEST(VirtioState, BadStatesAreHarmless) {
    typename TestFixture::Guest guest;
    this->begin_work(guest);
    guest.side.state().quiesce();
    expect_bad_states_to_be_harmless(saved(guest.side.state()),
                                     [&] { return std::make_unique<typename TestFixture::Other>(guest); });
}

TEST(PciState, InterruptsGoWhereTheyWentAndWhatWasPendingIsNotLost) {
    test::TwoQueueGuest<test::PciSide> guest;
    guest.start();
    guest.side.driver().set_vector(2, 0xfee0'1000, 0x42, true);
    guest.device.activation->driver.used_buffers(1);
    guest.side.state().quiesce();

    test::RecordingDevice device;
    device.offered |= test::kReset;
    test::PciSide other{device, guest.memory};
    load(other.state(), saved(guest.side.state()));
    other.state().resume();
    EXPECT_EQ(other.interrupts(1), 0) << "masked";
    EXPECT_EQ(other.interrupts(0), 1);
    EXPECT_EQ(other.message(1).data, 1U);
    other.driver().set_vector(2, 0xfee0'1000, 0x42, false);
    EXPECT_EQ(other.interrupts(1), 1);
    EXPECT_EQ(other.message(2).address, 0xfee0'1000U);
    EXPECT_EQ(other.message(2).data, 0x42U);
    EXPECT_EQ(other.driver().config<uint16_t>(other.driver().msix + PCI_MSIX_FLAGS),
              PCI_MSIX_FLAGS_ENABLE | 2);
}

TEST(PciState, TheBusKnowsWhichSlotsAreTakenAndWhatThePortsPointAt) {
    constexpr GuestRange kWindow = GuestRange::of(0xe010'0000, pci::PciBus::kWindowSize);
    pci::PciBus bus{kWindow};
    const uint32_t address = 0x8000'0008;
    bus.ports().write(0, std::as_bytes(std::span{&address, 1}));
    const std::vector<std::byte> state = saved(bus);
    pci::PciBus other{kWindow};
    load(other, state);
    uint32_t found = 0;
    other.ports().read(0, std::as_writable_bytes(std::span{&found, 1}));
    EXPECT_EQ(found, address);

    test::TwoQueueGuest<test::PciSide> more;
    test::expect_error([&] { load(more.side.state(), state); }, ExitStatus::bad_file, {"pci", "slots"});
    test::expect_error([&] { load(other, saved(more.side.state())); }, ExitStatus::bad_file, {"slots"});
}

// --- a disk with requests under way

/// What ends an operation a moment later, on the thread that waits for it.
class SlowDisk final : public virtio::BlockBackend {
  public:
    SlowDisk(int kick_fd, int stop_fd) : kick_fd_{kick_fd}, stop_fd_{stop_fd} {}
    void start(uint16_t slot, const virtio::BlockOperation& operation) override {
        for (const iovec& segment : operation.memory) {
            std::memset(segment.iov_base, 0x5a, segment.iov_len);
        }
        under_way_.push_back({slot, static_cast<int32_t>(operation.length)});
    }
    bool wait(std::vector<End>& ends, std::chrono::nanoseconds /*most*/) override {
        if (!under_way_.empty()) {
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
            ends.push_back(under_way_.back());
            under_way_.pop_back();
            return true;
        }
        std::array<pollfd, 2> waits{{{stop_fd_, POLLIN, 0}, {kick_fd_, POLLIN, 0}}};
        poll(waits.data(), waits.size(), -1);
        if (waits[1].revents != 0) {
            drain_eventfd(kick_fd_);
        }
        return waits[0].revents == 0;
    }

  private:
    const int kick_fd_;
    const int stop_fd_;
    std::vector<End> under_way_;
};

virtio::BlockBackendMaker slow_disk() {
    return [](uint16_t /*slots*/, int kick_fd, int stop_fd) {
        return std::make_unique<SlowDisk>(kick_fd, stop_fd);
    };
}

template <typename Transport>
class BlockStateTest : public testing::Test {};
TYPED_TEST_SUITE(BlockStateTest, Transports);

TYPED_TEST(BlockStateTest, EveryRequestIsAnsweredOnceWhoeverServesIt) {
    constexpr uint16_t kRequests = 80;
    const GuestRange ranges[] = {GuestRange::of(0, 0x80000)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    test::DriverQueue queue{memory, 0x1000, 256};
    EXPECT_TRUE(memory.write(GuestAddress{0x8000}, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, 0}));

    struct Machine {
        explicit Machine(GuestMemory& guest) : side{disk, guest} {}
        virtio::Block disk{{.size = 1 << 20, .id = ""}, slow_disk()};
        TypeParam side;
    };
    auto machine = std::make_unique<Machine>(memory);
    machine->side.negotiate(kVersion1);
    machine->side.set_queue(0, queue.config());
    machine->side.start();
    std::vector<int> answers(kRequests);
    size_t under_way = 0;
    const auto take_answers = [&] {
        size_t count = 0;
        for (const vring_used_elem& element : queue.take_used()) {
            ++answers.at(element.id / 3);
            EXPECT_EQ(memory.read<uint8_t>(GuestAddress{0x9000 + element.id / 3}), VIRTIO_BLK_S_OK);
            EXPECT_EQ(memory.read<uint8_t>(GuestAddress{0x10000 + 512 * (element.id / 3)}), 0x5a);
            ++count;
        }
        under_way -= count;
        return count > 0;
    };
    for (uint16_t hop = 0, number = 0; hop < 8; ++hop) {
        for (; number < (hop + 1) * kRequests / 8; ++number) {
            const test::Buffer buffers[] = {
                {0x8000, 16, false}, {0x10000 + 512U * number, 512, true}, {0x9000U + number, 1, true}};
            queue.add(buffers, static_cast<uint16_t>(3 * number));
            ++under_way;
        }
        machine->side.kick(0);
        while (hop % 2 == 0 && !take_answers()) {
            std::this_thread::yield();
        }
        machine->side.state().quiesce();
        const std::vector<std::byte> state = saved(machine->side.state());
        machine.reset();
        machine = std::make_unique<Machine>(memory);
        load(machine->side.state(), state);
        machine->side.state().resume();
    }
    while (under_way > 0) {
        take_answers();
        std::this_thread::yield();
    }
    EXPECT_EQ(answers, std::vector<int>(kRequests, 1));
}

TEST(BlockStateTest, ADiskOfAnotherSizeDoesNotTakeIt) {
    const virtio::Block disk{{.size = 1 << 20, .id = ""}, slow_disk()};
    StateWriter state;
    disk.save(state);
    for (const virtio::BlockSettings& settings :
         {virtio::BlockSettings{.size = 1 << 19, .id = ""},
          virtio::BlockSettings{.size = 1 << 20, .block_size = 4096, .id = ""}}) {
        virtio::Block other{settings, slow_disk()};
        test::expect_error(
            [&] {
                StateReader reader{state.bytes()};
                other.load(reader);
            },
            ExitStatus::bad_file, {"disk"});
    }
}

// --- the chips of a PC

struct SerialPort {
    Stateful& state() { return serial; }
    test::RecordingSink sink;
    test::CountingIrqLine irq;
    int asked = 0;
    Serial serial{sink, irq, [this] { ++asked; }};
};

/// A port that is open, as Linux opens it, with the given bytes received.
void open_and_receive(SerialPort& port, std::string_view text) {
    test::out_byte(port.serial, UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
    test::out_byte(port.serial, UART_TX, 3);
    test::out_byte(port.serial, UART_LCR, UART_LCR_WLEN8);
    test::out_byte(port.serial, UART_FCR, UART_FCR_ENABLE_FIFO);
    test::out_byte(port.serial, UART_MCR, UART_MCR_OUT2 | UART_MCR_RTS);
    test::out_byte(port.serial, UART_IER, UART_IER_RDI);
    test::out_byte(port.serial, UART_SCR, 0x77);
    const auto bytes = std::as_bytes(std::span{text});
    EXPECT_EQ(port.serial.receive({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}),
              text.size());
}

TEST(SerialState, WhatWasReceivedIsReadFromTheOtherOne) {
    SerialPort port;
    open_and_receive(port, "abcdef");
    EXPECT_EQ(test::in_byte(port.serial, UART_RX), 'a');
    port.serial.quiesce();
    EXPECT_EQ(port.serial.receive(std::array<uint8_t, 1>{'x'}), 0U) << "it would be lost";

    SerialPort other;
    load(other.serial, saved(port.serial));
    other.serial.resume();
    EXPECT_EQ(other.irq.count(), 1) << "the driver is to look";
    EXPECT_EQ(test::in_byte(other.serial, UART_IIR) & UART_IIR_ID, UART_IIR_RDI);
    EXPECT_EQ(test::in_byte(other.serial, UART_SCR), 0x77);
    EXPECT_EQ(test::in_byte(other.serial, UART_MCR), UART_MCR_OUT2 | UART_MCR_RTS);
    for (const char expected : std::string_view{"bcdef"}) {
        EXPECT_EQ(test::in_byte(other.serial, UART_LSR) & UART_LSR_DR, UART_LSR_DR);
        EXPECT_EQ(test::in_byte(other.serial, UART_RX), expected);
    }
    EXPECT_EQ(test::in_byte(other.serial, UART_LSR) & UART_LSR_DR, 0);
    test::out_byte(other.serial, UART_LCR, UART_LCR_DLAB);
    EXPECT_EQ(test::in_byte(other.serial, UART_TX), 3) << "the divisor";

    port.serial.resume();
    EXPECT_EQ(port.asked, 1) << "what it was offered meanwhile waits";
}

TEST(SerialState, ATransmitterThatWaitedForItsSinkIsEmptyWithAnother) {
    SerialPort port;
    open_and_receive(port, "");
    test::out_byte(port.serial, UART_IER, UART_IER_THRI);
    (void)test::in_byte(port.serial, UART_IIR);
    port.sink.room = false;
    test::out_byte(port.serial, UART_TX, 'o');
    port.serial.quiesce();
    SerialPort other;
    load(other.serial, saved(port.serial));
    other.serial.resume();
    EXPECT_EQ(test::in_byte(other.serial, UART_LSR) & UART_LSR_THRE, UART_LSR_THRE);
    EXPECT_EQ(test::in_byte(other.serial, UART_IIR) & UART_IIR_ID, UART_IIR_THRI);
    EXPECT_EQ(other.irq.count(), 1);
}

TEST(SerialState, BadStatesAreHarmless) {
    SerialPort port;
    open_and_receive(port, "0123456789abcdef");
    expect_bad_states_to_be_harmless(saved(port.serial), [] { return std::make_unique<SerialPort>(); });
}

TEST(RtcState, KeepsItsBytesAndTellsTheTimeOfItsHost) {
    Rtc rtc;
    test::out_byte(rtc, 0, 0x40);
    test::out_byte(rtc, 1, 0x99);
    test::out_byte(rtc, 0, 0x41);
    Rtc other{[] { return std::time_t{0}; }};
    load(other, saved(rtc));
    EXPECT_EQ(test::in_byte(other, 0), 0x41);
    test::out_byte(other, 0, 0x40);
    EXPECT_EQ(test::in_byte(other, 1), 0x99);
    test::out_byte(other, 0, 9);
    EXPECT_EQ(test::in_byte(other, 1), 0x70) << "the year";
    struct Clock {
        Stateful& state() { return rtc; }
        Rtc rtc;
    };
    expect_bad_states_to_be_harmless(saved(rtc), [] { return std::make_unique<Clock>(); });
}

TEST(PowerState, AButtonThatWasPressedIsSeen) {
    test::CountingIrqLine irq;
    Power power{irq, [](GuestRequest /*request*/) {}};
    power.press_button();
    test::CountingIrqLine other_irq;
    Power other{other_irq, [](GuestRequest /*request*/) {}};
    load(other, saved(power));
    other.resume();
    EXPECT_EQ(other_irq.count(), 1);
    EXPECT_EQ(test::in_byte(other, power_registers::kEvents), power_registers::kEventPowerButton);
    EXPECT_EQ(test::in_byte(other, power_registers::kEvents), 0) << "once";
}

}  // namespace
}  // namespace hull
