#include "devices/legacy/console_output.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <termios.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <thread>

#include "tests/support/files.h"

namespace hull {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using test::Pipe;

std::span<const uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

/// A serial port's side of the sink: prints as a driver that waits while it is told to.
class Printer {
  public:
    explicit Printer(int fd)
        : reopened_{reopen_without_blocking(fd)},
          output_{std::make_unique<ConsoleOutput>(reopened_.valid() ? reopened_.get() : fd,
                                                  [this] { room_came(); })} {}

    void print(const std::string& text) {
        for (const char byte : text) {
            const auto printed = static_cast<uint8_t>(byte);
            if (!output_->put({&printed, 1})) {
                std::unique_lock lock{mutex_};
                ++waits;
                came_.wait(lock, [this] { return room_; });
                room_ = false;
            }
        }
    }
    void close() { output_.reset(); }
    ConsoleOutput& output() { return *output_; }

    std::atomic<int> waits{0};

  private:
    void room_came() {
        const std::lock_guard lock{mutex_};
        room_ = true;
        came_.notify_one();
    }

    std::mutex mutex_;
    std::condition_variable came_;
    bool room_ = false;
    UniqueFd reopened_;
    std::unique_ptr<ConsoleOutput> output_;  // last: its thread uses the above
};

std::string numbered_lines(size_t size) {
    std::string text;
    for (int line = 0; text.size() < size; ++line) {
        text += "line " + std::to_string(line) + "\n";
    }
    return text;
}

class ConsoleOutputTest : public testing::Test {
  protected:
    // As every machine does: a reader that goes away is an error of write(), not the end.
    ConsoleOutputTest() { signal(SIGPIPE, SIG_IGN); }
};

TEST_F(ConsoleOutputTest, ASlowReaderLosesNothing) {
    const std::string text = numbered_lines(3 << 20);
    Pipe pipe = test::make_pipe();
    std::string got;
    Printer printer{pipe.write_end.get()};
    std::thread reader{[&] {
        while (got.size() < text.size()) {
            // Slower than anybody prints, until the printer has to wait.
            const bool slow = printer.waits == 0;
            const std::string part = test::read_up_to(pipe.read_end.get(), slow ? 2048 : 64 << 10);
            if (part.empty()) {
                break;
            }
            got += part;
            std::this_thread::sleep_for(slow ? 100ms : 5ms);
        }
    }};
    printer.print(text);
    printer.close();
    reader.join();
    EXPECT_GT(printer.waits, 0) << "the buffer never filled: this shows nothing";
    EXPECT_TRUE(got == text) << "of " << text.size() << " bytes " << got.size() << " came";
}

TEST_F(ConsoleOutputTest, AReaderThatNeverReadsHoldsNobodyUp) {
    const Pipe pipe = test::make_pipe();
    Printer printer{pipe.write_end.get()};
    const std::string text = numbered_lines(ConsoleOutput::kHighWater + (200 << 10));
    printer.print(text);  // returns only because the reader counts as gone after a while
    EXPECT_LE(printer.waits, 1);

    // The reader comes back: what was kept is there, in order, and what was not is counted.
    testing::internal::CaptureStderr();
    std::string got = test::read_up_to(pipe.read_end.get(), ConsoleOutput::kHighWater);
    printer.print("back\n");
    std::thread rest{[&] { got += test::read_up_to(pipe.read_end.get(), SIZE_MAX, 1500); }};
    rest.join();
    const std::string warnings = testing::internal::GetCapturedStderr();
    EXPECT_GE(got.size(), ConsoleOutput::kHighWater);
    EXPECT_TRUE(got.ends_with("back\n"));
    const std::string kept = got.substr(0, got.size() - 5);
    EXPECT_TRUE(text.starts_with(kept));
    EXPECT_NE(warnings.find(std::to_string(text.size() - kept.size()) + " bytes of the guest's output"),
              std::string::npos)
        << warnings;
}

TEST_F(ConsoleOutputTest, AGuestThatPrintsWithoutEndDoesNotFillTheLog) {
    constexpr int kTimes = 60;
    const Pipe pipe = test::make_pipe();
    testing::internal::CaptureStderr();
    const auto start = Clock::now();
    {
        const UniqueFd end = reopen_without_blocking(pipe.write_end.get());
        ConsoleOutput output{end.get(), [] {}};
        output.put(bytes_of(std::string(ConsoleOutput::kHighWater + ConsoleOutput::kSlack, 'x')));
        const std::string more(ConsoleOutput::kSlack, 'x');
        for (int times = 0; times < kTimes; ++times) {
            output.put(bytes_of(more));  // whatever it answers
            test::read_up_to(pipe.read_end.get(), 8192);
        }
    }
    const std::string warnings = testing::internal::GetCapturedStderr();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - start).count();
    EXPECT_NE(warnings.find("bytes of the guest's output were dropped"), std::string::npos) << warnings;
    EXPECT_LE(std::count(warnings.begin(), warnings.end(), '\n'), seconds + 2) << warnings;
}

TEST_F(ConsoleOutputTest, AStalledReaderDoesNotHoldUpTheEndForLong) {
    const Pipe pipe = test::make_pipe();
    const UniqueFd end = reopen_without_blocking(pipe.write_end.get());
    auto output = std::make_unique<ConsoleOutput>(end.get(), [] {});
    for (int i = 0; i < 200 << 10; ++i) {
        output->put(bytes_of("x"));
    }
    output.reset();  // returns, though nobody reads
}

TEST_F(ConsoleOutputTest, AReaderThatHasGoneIsNotWaitedFor) {
    Pipe pipe = test::make_pipe();
    pipe.read_end.reset();
    testing::internal::CaptureStderr();
    {
        Printer printer{pipe.write_end.get()};
        const auto start = Clock::now();
        printer.print(numbered_lines(2 * ConsoleOutput::kHighWater));
        EXPECT_LT(Clock::now() - start, 20s);
    }
    const std::string warnings = testing::internal::GetCapturedStderr();
    EXPECT_NE(warnings.find("cannot write the console's output: Broken pipe"), std::string::npos) << warnings;
    EXPECT_EQ(std::count(warnings.begin(), warnings.end(), '\n'), 1) << warnings;
}

TEST_F(ConsoleOutputTest, AFullDiskIsTold) {
    const UniqueFd full{open("/dev/full", O_WRONLY | O_CLOEXEC)};
    if (!full.valid()) {
        GTEST_SKIP() << "there is no /dev/full";
    }
    testing::internal::CaptureStderr();
    {
        Printer printer{full.get()};
        printer.print("lost\n");
    }
    const std::string warnings = testing::internal::GetCapturedStderr();
    EXPECT_NE(warnings.find("No space left on device"), std::string::npos) << warnings;
}

TEST_F(ConsoleOutputTest, TheDestructorWritesTheRest) {
    const std::string text = numbered_lines(500 << 10);
    Pipe pipe = test::make_pipe();
    std::string got;
    std::thread reader{[&] { got = test::read_up_to(pipe.read_end.get(), text.size()); }};
    {
        Printer printer{pipe.write_end.get()};
        printer.print(text);
    }
    reader.join();
    EXPECT_TRUE(got == text) << got.size();
}

TEST_F(ConsoleOutputTest, WhatIsPrintedJustBeforeTheEndIsWritten) {
    constexpr int kRounds = 2000;
    const Pipe pipe = test::make_pipe();
    std::string expected;
    std::string got;
    for (int round = 0; round < kRounds; ++round) {
        {
            const UniqueFd end = reopen_without_blocking(pipe.write_end.get());
            ConsoleOutput output{end.get(), [] {}};
            output.put(bytes_of("a"));
            for (int wait = 0; wait < round % 50; ++wait) {  // the writer is here and there on its way
                std::this_thread::yield();
            }
            output.put(bytes_of("b"));
        }
        expected += "ab";
        got += test::read_up_to(pipe.read_end.get(), 2, 0);
        ASSERT_EQ(got.size(), expected.size()) << "in round " << round;
    }
    EXPECT_EQ(got, expected);
}

TEST_F(ConsoleOutputTest, DoesNotChangeWhatItWasGiven) {
    const Pipe pipe = test::make_pipe();
    const int flags = fcntl(pipe.write_end.get(), F_GETFL);
    {
        Printer printer{pipe.write_end.get()};
        printer.print("x");
        EXPECT_EQ(fcntl(pipe.write_end.get(), F_GETFL), flags);
    }
    EXPECT_EQ(fcntl(pipe.write_end.get(), F_GETFL), flags);
    EXPECT_GE(fcntl(pipe.write_end.get(), F_GETFD), 0) << "closed, though it is somebody else's";
}

TEST_F(ConsoleOutputTest, ARegularFileKeepsItsPlace) {
    for (const int append : {0, O_APPEND}) {
        const test::TemporaryFolder folder;
        const auto path = folder.file("log", "0123456789");
        const UniqueFd fd{open(path.c_str(), O_WRONLY | O_CLOEXEC | append)};
        ASSERT_TRUE(fd.valid());
        if (append == 0) {
            ASSERT_EQ(lseek(fd.get(), 5, SEEK_SET), 5);
        }
        {
            Printer printer{fd.get()};
            printer.print("abc");
        }
        test::write_all(fd.get(), "|behind");  // a later program with the same descriptor
        std::ifstream file{path};
        const std::string content{std::istreambuf_iterator<char>{file}, {}};
        EXPECT_EQ(content, append == 0 ? "01234abc|behind" : "0123456789abc|behind");
    }
}

TEST_F(ConsoleOutputTest, WritesToATerminalThatNobodyLooksAt) {
    const test::Terminal terminal = test::make_terminal();
    termios mode{};
    ASSERT_EQ(tcgetattr(terminal.program.get(), &mode), 0);
    cfmakeraw(&mode);
    ASSERT_EQ(tcsetattr(terminal.program.get(), TCSANOW, &mode), 0);
    const int flags = fcntl(terminal.program.get(), F_GETFL);
    const std::string text = numbered_lines(100 << 10);  // more than a terminal holds
    Printer printer{terminal.program.get()};
    printer.print(text);
    EXPECT_EQ(fcntl(terminal.program.get(), F_GETFL), flags);
    EXPECT_TRUE(test::read_up_to(terminal.person.get(), text.size()) == text);
}

TEST_F(ConsoleOutputTest, WritesToASocketWhichCannotBeOpenedAnew) {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const UniqueFd ours{ends[0]};
    const UniqueFd theirs{ends[1]};
    const std::string text = numbered_lines(300 << 10);
    std::string got;
    std::thread reader{[&] { got = test::read_up_to(theirs.get(), text.size()); }};
    {
        Printer printer{ours.get()};
        printer.print(text);
    }
    reader.join();
    EXPECT_TRUE(got == text) << got.size();
}

TEST_F(ConsoleOutputTest, TellsTheFirstLineThatIsNotTheKernels) {
    const UniqueFd null{open("/dev/null", O_WRONLY | O_CLOEXEC)};
    Printer printer{null.get()};
    printer.print("[    0.000000] Linux version\r\n\r\n\n[    1.0] Run /init\r\n");
    EXPECT_FALSE(printer.output().first_line_time());
    printer.print("hello");
    EXPECT_FALSE(printer.output().first_line_time());
    const auto before = Clock::now();
    printer.print("\r\n");
    const auto told = printer.output().first_line_time();
    ASSERT_TRUE(told);
    EXPECT_GE(*told, before);
    printer.print("more\n");
    EXPECT_EQ(printer.output().first_line_time(), told);
}

}  // namespace
}  // namespace hull
