#include "vmm/machine/console_input.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/serial_reg.h>
#include <sys/ioctl.h>
#include <termios.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "devices/legacy/serial.h"
#include "tests/support/fake_devices.h"
#include "tests/support/files.h"

namespace hull {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

TEST(EscapeFilter, FindsCtrlAXAndPassesTheRestOn) {
    struct Row {
        const char* typed;
        const char* guest;
        bool ends;
    };
    const std::vector<Row> rows = {
        {"hello x", "hello x", false},
        {"\x01x", "", true},
        {"ab\x01x", "ab", true},
        {"\x01\x01", "\x01", false},
        {"\x01\x61", "\x01", false},
        {"\x01\x62", "\x01\x62", false},
        {"\x01\x01x", "\x01x", false},
        {"\x01\x01\x01x", "\x01", true},
        {"\x01", "", false},
        {"\x01X", "\x01X", false},
        {"\x03\x1a\x04", "\x03\x1a\x04", false},
    };
    for (const Row& row : rows) {
        EscapeFilter filter;
        std::string guest;
        bool ends = false;
        for (const char byte : std::string{row.typed}) {
            ends = filter.take(static_cast<uint8_t>(byte), guest) || ends;
        }
        EXPECT_EQ(guest, row.guest) << testing::PrintToString(row.typed);
        EXPECT_EQ(ends, row.ends) << testing::PrintToString(row.typed);
    }
}

/// An event loop, a port, and a guest that can be let loose on it.
class ConsoleInputTest : public testing::Test {
  protected:
    void attach(int fd, bool is_terminal) {
        input_ = std::make_unique<ConsoleInput>(
            loop_, fd, is_terminal, [this](std::span<const uint8_t> bytes) { return serial_.receive(bytes); },
            [this] {
                ++ends_;
                loop_.stop();
            });
    }
    /// Runs the loop for so long, or until Ctrl-A x.
    void run_for(std::chrono::milliseconds time) {
        loop_.set_deadline(time, [this] { loop_.stop(); });
        loop_.run();
    }
    void open_port() {
        test::out_byte(serial_, UART_MCR, UART_MCR_OUT2);
        test::out_byte(serial_, UART_IER, UART_IER_RDI);
    }
    /// Runs the loop while the guest, on a thread of its own, reads `size` bytes.
    std::string guest_reads(size_t size) {
        std::string text;
        std::thread guest{[&] {
            const auto deadline = Clock::now() + 20s;
            while (text.size() < size && Clock::now() < deadline) {
                if ((test::in_byte(serial_, UART_LSR) & UART_LSR_DR) != 0) {
                    text.push_back(static_cast<char>(test::in_byte(serial_, UART_RX)));
                } else {
                    std::this_thread::yield();
                }
            }
            signal_eventfd(guest_done_.get());
        }};
        loop_.watch(guest_done_.get(), [this] { loop_.stop(); });
        loop_.run();
        loop_.forget(guest_done_.get());
        guest.join();
        return text;
    }

    EventLoop loop_;
    UniqueFd guest_done_ = make_eventfd();
    test::RecordingSink sink_;
    test::CountingIrqLine irq_;
    Serial serial_{sink_, irq_, [this] { input_->tell_room(); }};
    std::unique_ptr<ConsoleInput> input_;
    int ends_ = 0;
};

std::string numbered(size_t size) {
    std::string text;
    for (int i = 0; text.size() < size; ++i) {
        text += std::to_string(i) + " \x01x ";  // means nothing where there is no terminal
    }
    return text;
}

TEST_F(ConsoleInputTest, NothingFromAPipeIsLostThoughTheGuestOpensThePortLate) {
    test::Pipe pipe = test::make_pipe();
    const std::string text = numbered(20'000);
    test::write_all(pipe.write_end.get(), text);
    pipe.write_end.reset();
    attach(pipe.read_end.get(), false);
    run_for(20ms);
    EXPECT_EQ(test::in_byte(serial_, UART_LSR) & UART_LSR_DR, 0);
    open_port();
    EXPECT_EQ(guest_reads(text.size()), text);
    EXPECT_EQ(ends_, 0);
}

TEST_F(ConsoleInputTest, AWholeFileArrives) {
    const test::TemporaryFolder folder;
    const std::string text = numbered(10'000);
    const UniqueFd file{open(folder.file("input", text).c_str(), O_RDONLY | O_CLOEXEC)};
    attach(file.get(), false);
    run_for(10ms);
    open_port();
    EXPECT_EQ(guest_reads(text.size()), text);
}

TEST_F(ConsoleInputTest, AClosedInputIsLeftInPeace) {
    const UniqueFd null{open("/dev/null", O_RDONLY | O_CLOEXEC)};
    attach(null.get(), false);
    open_port();
    timespec before{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    run_for(200ms);
    timespec after{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    const auto used = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1'000'000;
    EXPECT_LT(used, 50) << "ms: the loop spins at the end of the input";
    EXPECT_EQ(ends_, 0);
}

class TerminalInputTest : public ConsoleInputTest {
  protected:
    TerminalInputTest() {
        termios mode{};
        tcgetattr(terminal_.program.get(), &mode);
        cfmakeraw(&mode);
        tcsetattr(terminal_.program.get(), TCSANOW, &mode);
        attach(terminal_.program.get(), true);
    }
    void type(const std::string& text) { test::write_all(terminal_.person.get(), text); }

    const test::Terminal terminal_ = test::make_terminal();
};

TEST_F(TerminalInputTest, WhatIsTypedArrivesAlsoWhatIsTypedEarly) {
    type("early ");
    run_for(20ms);
    open_port();
    type("and late\x01\x01\r\x03");
    EXPECT_EQ(guest_reads(17), "early and late\x01\r\x03");
    EXPECT_EQ(ends_, 0);
}

TEST_F(TerminalInputTest, CtrlAXEndsThoughTheGuestTakesNothing) {
    for (int i = 0; i < 10; ++i) {  // far more than is kept for the guest
        type(std::string(1000, 'x'));
        for (int pending = 1; pending > 0; ioctl(terminal_.program.get(), FIONREAD, &pending)) {
            run_for(5ms);
        }
    }
    EXPECT_EQ(ends_, 0);
    type("\x01x");
    run_for(10s);
    EXPECT_EQ(ends_, 1);
    // What was typed first is kept, and no more of it than so much.
    open_port();
    EXPECT_EQ(guest_reads(ConsoleInput::kTypedAhead), std::string(ConsoleInput::kTypedAhead, 'x'));
    run_for(20ms);
    EXPECT_EQ(test::in_byte(serial_, UART_LSR) & UART_LSR_DR, 0) << "more was kept";
}

}  // namespace
}  // namespace hull
