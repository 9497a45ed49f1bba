// The UART as Linux's driver drives it (drivers/tty/serial/8250/8250_port.c, 6.12), register by register.
#include "devices/legacy/serial.h"

#include <gtest/gtest.h>
#include <linux/serial_reg.h>

#include <array>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fake_devices.h"

namespace hull {
namespace {

constexpr int kFifosWork = 0xc0;  // in IIR; Linux's own header names it from 6.3 on

class SerialTest : public testing::Test {
  protected:
    uint8_t in(uint64_t offset) { return test::in_byte(serial_, offset); }
    void out(uint64_t offset, int value) { test::out_byte(serial_, offset, static_cast<uint8_t>(value)); }
    size_t receive(const std::string& text) {
        return serial_.receive({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    }
    /// What the driver does last when the port is opened.
    void open_port() {
        out(UART_LCR, UART_LCR_WLEN8);
        out(UART_FCR, UART_FCR_ENABLE_FIFO);
        out(UART_MCR, UART_MCR_OUT2 | UART_MCR_RTS | UART_MCR_DTR);
        out(UART_IER, UART_IER_RLSI | UART_IER_RDI);
    }
    std::string read_fifo() {
        std::string text;
        while ((in(UART_LSR)&UART_LSR_DR) != 0) {
            text.push_back(static_cast<char>(in(UART_RX)));
        }
        return text;
    }
    uint8_t interrupt() { return in(UART_IIR)&0x0f; }

    test::RecordingSink sink_;
    test::CountingIrqLine irq_;
    int input_room_calls_ = 0;
    Serial serial_{sink_, irq_, [this] { ++input_room_calls_; }};
};

TEST_F(SerialTest, LinuxFindsA16550AAndNothingElse) {
    // autoconfig(): do registers exist?
    const int ier = in(UART_IER);
    out(UART_IER, 0);
    EXPECT_EQ(in(UART_IER)&0x0f, 0);
    out(UART_IER, 0x0f);
    EXPECT_EQ(in(UART_IER)&0x0f, 0x0f);
    out(UART_IER, ier);
    // The loopback test.
    const int mcr = in(UART_MCR);
    const int lcr = in(UART_LCR);
    out(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS);
    EXPECT_EQ(in(UART_MSR)&0xf0, UART_MSR_DCD | UART_MSR_CTS);
    out(UART_MCR, mcr);
    // Which chip is it?
    out(UART_LCR, UART_LCR_CONF_MODE_B);
    out(UART_EFR, 0);
    out(UART_LCR, 0);
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    EXPECT_EQ(in(UART_IIR)&kFifosWork, kFifosWork);  // a 16550A, or better
    // autoconfig_16550a(): none of the better ones.
    out(UART_LCR, UART_LCR_CONF_MODE_A);
    EXPECT_NE(in(UART_EFR), 0) << "taken for a 16650";
    out(UART_LCR, UART_LCR_CONF_MODE_B);
    EXPECT_NE(in(UART_EFR), 0) << "taken for a 16650 V2";
    out(UART_LCR, 0);
    const int before = in(UART_MCR);
    out(UART_LCR, 0xe0);
    if (((in(0x02) ^ before) & UART_MCR_LOOP) == 0) {
        out(UART_LCR, 0);
        out(UART_MCR, before ^ UART_MCR_LOOP);
        out(UART_LCR, 0xe0);
        const int after = in(0x02);
        out(UART_LCR, 0);
        out(UART_MCR, before);
        EXPECT_EQ((after ^ before) & UART_MCR_LOOP, 0) << "taken for a National SuperIO";
    }
    out(UART_LCR, 0);
    out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
    const int plain = in(UART_IIR)&0xe0;
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    out(UART_LCR, UART_LCR_CONF_MODE_A);
    out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
    const int with_dlab = in(UART_IIR)&0xe0;
    out(UART_FCR, UART_FCR_ENABLE_FIFO);
    out(UART_LCR, 0);
    EXPECT_FALSE(plain == 0xc0 && with_dlab == 0xe0) << "taken for a 16750";
    out(UART_IER, UART_IER_UUE);
    EXPECT_EQ(in(UART_IER)&UART_IER_UUE, 0) << "taken for an XScale";
    out(UART_IER, 0);
    out(UART_LCR, lcr);
    EXPECT_EQ(sink_.text, "") << "looking for the chip printed something";
    EXPECT_EQ(interrupt(), UART_IIR_NO_INT);
}

TEST_F(SerialTest, LinuxFindsNoBugsWhenItOpensThePort) {
    // serial8250_do_startup()
    EXPECT_NE(in(UART_LSR), 0xff);
    EXPECT_EQ(in(UART_LSR) & (UART_LSR_TEMT | UART_LSR_THRE), UART_LSR_TEMT | UART_LSR_THRE);
    for (int round = 0; round < 2; ++round) {  // serial8250_THRE_test()
        out(UART_IER, UART_IER_THRI);
        EXPECT_EQ(interrupt(), UART_IIR_THRI) << "would poll by a timer";
        out(UART_IER, 0);
    }
    out(UART_LCR, UART_LCR_WLEN8);
    out(UART_IER, UART_IER_THRI);  // the test for UART_BUG_TXEN
    EXPECT_NE(in(UART_LSR)&UART_LSR_TEMT, 0);
    EXPECT_NE(interrupt(), UART_IIR_NO_INT);
    out(UART_IER, 0);
    open_port();
    EXPECT_EQ(in(UART_MSR), UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS) << "would wait for a carrier";
    EXPECT_EQ(interrupt(), UART_IIR_NO_INT);
}

TEST_F(SerialTest, TellsThatTheTransmitterIsEmptyOnceForEachCause) {
    out(UART_IER, UART_IER_THRI);
    EXPECT_EQ(irq_.count(), 1);
    EXPECT_EQ(interrupt(), UART_IIR_THRI);
    EXPECT_EQ(interrupt(), UART_IIR_NO_INT);  // reading it was the acknowledgement
    out(UART_TX, 'a');
    EXPECT_EQ(irq_.count(), 2);
    EXPECT_EQ(interrupt(), UART_IIR_THRI);
    out(UART_IER, UART_IER_THRI);  // enabled already: nothing new
    EXPECT_EQ(irq_.count(), 2);
    EXPECT_EQ(interrupt(), UART_IIR_NO_INT);
    out(UART_IER, 0);
    out(UART_TX, 'b');
    EXPECT_EQ(irq_.count(), 2);
    out(UART_IER, UART_IER_THRI);
    EXPECT_EQ(irq_.count(), 3);
    EXPECT_EQ(sink_.text, "ab");
}

TEST_F(SerialTest, PrintsBytesOfEveryValueInOrder) {
    open_port();
    std::string all;
    for (int value = 0; value < 256; ++value) {
        all.push_back(static_cast<char>(value));
        out(UART_TX, value);
        EXPECT_EQ(in(UART_LSR)&UART_LSR_THRE, UART_LSR_THRE);
    }
    EXPECT_EQ(sink_.text, all);
}

TEST_F(SerialTest, ReceivesThroughAFifoOf16) {
    open_port();
    EXPECT_EQ(receive("0123456789abcdefgh"), 16U);
    EXPECT_EQ(irq_.count(), 1);
    EXPECT_EQ(interrupt(), UART_IIR_RDI);
    EXPECT_EQ(interrupt(), UART_IIR_RDI) << "stays until the data is read";
    EXPECT_EQ(input_room_calls_, 0);
    EXPECT_EQ(in(UART_RX), '0');
    EXPECT_EQ(input_room_calls_, 1) << "there is room, and somebody waits for it";
    EXPECT_EQ(receive("g"), 1U);
    EXPECT_EQ(read_fifo(), "123456789abcdefg");
    EXPECT_EQ(input_room_calls_, 1);
    EXPECT_EQ(interrupt(), UART_IIR_NO_INT);
    EXPECT_EQ(in(UART_RX), 0) << "an empty FIFO";
    EXPECT_EQ(receive("z"), 1U);
    EXPECT_EQ(irq_.count(), 2) << "a new interrupt once the FIFO had been empty";
}

TEST_F(SerialTest, InputComesBeforeAnEmptyTransmitter) {
    open_port();
    out(UART_IER, UART_IER_RDI | UART_IER_THRI);
    EXPECT_EQ(receive("x"), 1U);
    EXPECT_EQ(interrupt(), UART_IIR_RDI);
    EXPECT_EQ(in(UART_RX), 'x');
    EXPECT_EQ(interrupt(), UART_IIR_THRI) << "was not told by the reads before";
    EXPECT_EQ(interrupt(), UART_IIR_NO_INT);
}

TEST_F(SerialTest, NothingTypedEarlyIsLost) {
    EXPECT_EQ(receive("early"), 0U);
    EXPECT_EQ(in(UART_LSR)&UART_LSR_DR, 0);
    // What Linux does before it listens: enable interrupts for a moment to see that there is a chip, clear,
    // read, test in loopback.
    out(UART_IER, 0x0f);
    EXPECT_EQ(receive("early"), 0U);
    out(UART_IER, 0);
    out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | UART_FCR_CLEAR_XMIT);
    static_cast<void>(in(UART_RX));
    EXPECT_EQ(input_room_calls_, 0);
    open_port();
    EXPECT_EQ(input_room_calls_, 1);
    EXPECT_EQ(receive("early"), 5U);
    // In loopback nothing comes from outside; afterwards it does.
    out(UART_MCR, UART_MCR_LOOP);
    EXPECT_EQ(receive("later"), 0U);
    out(UART_MCR, UART_MCR_OUT2);
    EXPECT_EQ(input_room_calls_, 2);
    EXPECT_EQ(receive("later"), 5U);
    // While the kernel prints with interrupts off (serial8250_console_write()), input waits as well.
    out(UART_IER, 0);
    EXPECT_EQ(receive("!"), 0U);
    out(UART_IER, UART_IER_RDI);
    EXPECT_EQ(input_room_calls_, 3);
    EXPECT_EQ(read_fifo(), "earlylater");
}

TEST_F(SerialTest, ClearingTheFifoMakesRoom) {
    open_port();
    EXPECT_EQ(receive(std::string(20, 'x')), 16U);
    out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
    EXPECT_EQ(input_room_calls_, 1);
    EXPECT_EQ(interrupt(), UART_IIR_NO_INT);
    EXPECT_EQ(receive("new"), 3U);
    EXPECT_EQ(read_fifo(), "new");
}

TEST_F(SerialTest, TheDivisorLatchHidesDataAndInterruptEnable) {
    open_port();
    EXPECT_EQ(receive("x"), 1U);
    out(UART_LCR, UART_LCR_DLAB | UART_LCR_WLEN8);
    out(UART_DLL, 0x0c);
    out(UART_DLM, 0x01);
    EXPECT_EQ(in(UART_DLL), 0x0c);
    EXPECT_EQ(in(UART_DLM), 0x01);
    out(UART_LCR, UART_LCR_WLEN8);
    EXPECT_EQ(sink_.text, "");
    EXPECT_EQ(in(UART_IER), UART_IER_RLSI | UART_IER_RDI);
    EXPECT_EQ(in(UART_RX), 'x');
}

TEST_F(SerialTest, ABusyTransmitterIsShownUntilThereIsRoom) {
    open_port();
    out(UART_IER, UART_IER_RDI | UART_IER_THRI);
    EXPECT_EQ(interrupt(), UART_IIR_THRI);
    const int before = irq_.count();
    sink_.room = false;
    out(UART_TX, 'a');
    EXPECT_EQ(in(UART_LSR) & (UART_LSR_THRE | UART_LSR_TEMT), 0);
    EXPECT_EQ(interrupt(), UART_IIR_NO_INT);
    EXPECT_EQ(irq_.count(), before);
    out(UART_IER, UART_IER_RDI);
    out(UART_IER, UART_IER_RDI | UART_IER_THRI);
    EXPECT_EQ(interrupt(), UART_IIR_NO_INT) << "enabling does not call while it is busy";
    sink_.room = true;
    serial_.output_ready();
    EXPECT_EQ(irq_.count(), before + 1);
    EXPECT_EQ(interrupt(), UART_IIR_THRI);
    EXPECT_EQ(in(UART_LSR)&UART_LSR_THRE, UART_LSR_THRE);
    serial_.output_ready();  // once more, though nothing waited
    EXPECT_EQ(irq_.count(), before + 1);
    out(UART_TX, 'b');
    EXPECT_EQ(sink_.text, "ab");
}

TEST_F(SerialTest, LoopbackReturnsWhatIsSentAndTellsAnOverrun) {
    out(UART_MCR, UART_MCR_LOOP);
    for (int i = 0; i < 17; ++i) {
        out(UART_TX, 'a' + i);
    }
    EXPECT_EQ(sink_.text, "");
    const int lsr = in(UART_LSR);
    EXPECT_EQ(lsr & (UART_LSR_OE | UART_LSR_DR), UART_LSR_OE | UART_LSR_DR);
    EXPECT_EQ(in(UART_LSR)&UART_LSR_OE, 0) << "told once";
    EXPECT_EQ(read_fifo(), "abcdefghijklmnop");
    for (const auto& [output, input] : std::vector<std::pair<int, int>>{{UART_MCR_DTR, UART_MSR_DSR},
                                                                        {UART_MCR_RTS, UART_MSR_CTS},
                                                                        {UART_MCR_OUT1, UART_MSR_RI},
                                                                        {UART_MCR_OUT2, UART_MSR_DCD}}) {
        out(UART_MCR, UART_MCR_LOOP | output);
        EXPECT_EQ(in(UART_MSR), input);
    }
}

TEST_F(SerialTest, HasAScratchRegisterAndReservedBitsOfZero) {
    out(UART_SCR, 0xa5);
    EXPECT_EQ(in(UART_SCR), 0xa5);
    out(UART_MCR, 0xff);
    EXPECT_EQ(in(UART_MCR), 0x1f);
    out(UART_IER, 0xff);
    EXPECT_EQ(in(UART_IER), 0x0f);
    const int lsr = in(UART_LSR);
    out(UART_LSR, 0);
    EXPECT_EQ(in(UART_LSR), lsr) << "read-only";
}

TEST_F(SerialTest, NoAccessHoweverWildBreaksItOrItsNeighbour) {
    test::RecordingSink other_sink;
    test::CountingIrqLine other_irq;
    Serial other{other_sink, other_irq, [] {}};
    Bus bus;
    bus.attach(GuestRange::of(0x3f8, Serial::kPorts), serial_, "first");
    bus.attach(GuestRange::of(0x2f8, Serial::kPorts), other, "second");

    std::mt19937 random{1};  // NOLINT(bugprone-random-generator-seed): the same bytes every time
    for (int round = 0; round < 2000; ++round) {
        for (uint64_t offset = 0; offset < 10; ++offset) {
            for (const size_t width : {1, 2, 4, 8}) {
                std::array<std::byte, 8> data{};
                for (std::byte& byte : data) {
                    byte = static_cast<std::byte>(random());
                }
                sink_.room = random() % 4 != 0;
                const bool inside = offset + width <= Serial::kPorts;
                const std::span access{data.data(), width};
                if (random() % 2 == 0) {
                    EXPECT_EQ(bus.write(GuestAddress{0x3f8 + offset}, access), inside);
                } else {
                    EXPECT_EQ(bus.read(GuestAddress{0x3f8 + offset}, access), inside);
                    EXPECT_TRUE(width == 1 || data[width - 1] == std::byte{0xff});
                }
                EXPECT_LE(receive("0123456789abcdefghij"), 16U);
            }
        }
    }
    // The other port knows nothing of it, and works.
    EXPECT_EQ(other_sink.text, "");
    EXPECT_EQ(other_irq.count(), 0);
    test::out_byte(other, UART_TX, 'o');
    EXPECT_EQ(other_sink.text, "o");
    // And a driver that starts over finds the port usable.
    sink_.room = true;
    serial_.output_ready();
    sink_.text.clear();
    open_port();
    read_fifo();
    out(UART_TX, 'k');
    EXPECT_EQ(sink_.text, "k");
    EXPECT_EQ(receive("in"), 2U);
    EXPECT_EQ(read_fifo(), "in");
}

TEST_F(SerialTest, ThreadsDoNotDisturbEachOther) {
    open_port();
    constexpr int kBytes = 20'000;
    std::atomic<bool> done{false};
    std::string typed;
    std::thread input{[&] {
        for (int i = 0; i < kBytes;) {
            const auto byte = static_cast<char>('a' + i % 26);
            i += static_cast<int>(receive(std::string(1, byte)));
        }
    }};
    std::thread room{[&] {
        while (!done) {
            serial_.output_ready();
        }
    }};
    while (typed.size() < kBytes) {
        typed += read_fifo();
        out(UART_TX, '.');
        static_cast<void>(in(UART_IIR));
    }
    done = true;
    input.join();
    room.join();
    for (size_t i = 0; i < typed.size(); ++i) {
        ASSERT_EQ(typed[i], static_cast<char>('a' + i % 26)) << "at " << i;
    }
}

}  // namespace
}  // namespace hull
