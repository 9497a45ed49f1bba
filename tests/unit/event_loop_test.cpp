#include "base/event_loop.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>

#include "base/unique_fd.h"
#include "tests/support/files.h"

namespace hull {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

TEST(EventLoop, CallsForWhatCanBeReadAndForTheEnd) {
    EventLoop loop;
    test::Pipe pipe = test::make_pipe();
    std::string seen;
    loop.watch(pipe.read_end.get(), [&] {
        char byte = 0;
        if (read(pipe.read_end.get(), &byte, 1) == 1) {
            seen += byte;
            pipe.write_end.reset();
        } else {
            seen += "end";
            loop.stop();
        }
    });
    test::write_all(pipe.write_end.get(), "a");
    loop.run();
    EXPECT_EQ(seen, "aend");
}

TEST(EventLoop, CallsForRoomToWriteApartFromWhatCanBeRead) {
    EventLoop loop;
    std::array<int, 2> ends{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    const UniqueFd one{ends[0]};
    const UniqueFd other{ends[1]};
    const std::string bytes(100'000, 'x');
    size_t filled = 0;
    for (ssize_t sent = 0; (sent = write(one.get(), bytes.data(), bytes.size())) > 0;) {
        filled += static_cast<size_t>(sent);
    }
    std::string seen;
    loop.watch(one.get(), [&] { seen += "read"; });
    loop.watch(
        one.get(),
        [&] {
            seen += "write";
            loop.forget(one.get(), EventLoop::Ready::to_write);
            loop.stop();
        },
        EventLoop::Ready::to_write);
    loop.set_deadline(20ms, [&] {
        EXPECT_EQ(seen, "") << "there is no room";
        EXPECT_EQ(test::read_up_to(other.get(), filled).size(), filled);
    });
    loop.run();
    EXPECT_EQ(seen, "write");
    seen.clear();
    loop.forget(one.get());
    loop.set_deadline(5ms, [&] { loop.stop(); });
    loop.run();
    EXPECT_EQ(seen, "");
}

TEST(EventLoop, TakesARegularFile) {
    const test::TemporaryFolder folder;
    const UniqueFd fd{open(folder.file("input", "abc").c_str(), O_RDONLY | O_CLOEXEC)};
    EventLoop loop;
    int calls = 0;
    loop.watch(fd.get(), [&] {
        ++calls;
        loop.stop();
    });
    loop.run();
    EXPECT_EQ(calls, 1);
}

TEST(EventLoop, KeepsItsDeadline) {
    EventLoop loop;
    const auto start = Clock::now();
    int first = 0;
    loop.set_deadline(1ms, [&] { ++first; });
    loop.set_deadline(30ms, [&] { loop.stop(); });  // replaces the first
    loop.run();
    EXPECT_GE(Clock::now() - start, 30ms);
    EXPECT_EQ(first, 0);
}

TEST(EventLoop, ADeadlineMaySetTheNext) {
    EventLoop loop;
    int calls = 0;
    loop.set_deadline(0ms, [&] {
        ++calls;
        loop.set_deadline(0ms, [&] {
            ++calls;
            loop.stop();
        });
    });
    loop.run();
    EXPECT_EQ(calls, 2);
}

TEST(EventLoop, KeepsItsDeadlineBesideABusyDescriptor) {
    const UniqueFd always = make_eventfd();
    signal_eventfd(always.get());
    EventLoop loop;
    int calls = 0;
    loop.watch(always.get(), [&] { ++calls; });
    loop.set_deadline(20ms, [&] { loop.stop(); });
    loop.run();
    EXPECT_GT(calls, 0);
}

TEST(EventLoop, AForgottenDescriptorIsNotCalledInTheSameRound) {
    const UniqueFd one = make_eventfd();
    const UniqueFd other = make_eventfd();
    signal_eventfd(one.get());
    signal_eventfd(other.get());
    EventLoop loop;
    int calls = 0;
    loop.watch(one.get(), [&] {
        ++calls;
        loop.forget(other.get());
        loop.forget(one.get());
        loop.set_deadline(5ms, [&] { loop.stop(); });
    });
    loop.watch(other.get(), [&] {
        ++calls;
        loop.forget(one.get());
        loop.forget(other.get());
        loop.set_deadline(5ms, [&] { loop.stop(); });
    });
    loop.run();
    EXPECT_EQ(calls, 1);
}

TEST(EventLoop, ASecondWatchReplacesTheFirstAlsoFromWithinIt) {
    const UniqueFd fd = make_eventfd();
    signal_eventfd(fd.get());
    EventLoop loop;
    std::string seen;
    loop.watch(fd.get(), [&, captured = std::string(100, 'x')] {
        loop.watch(fd.get(), [&] {
            seen += "second";
            loop.stop();
        });
        seen += captured.substr(0, 1);  // what the running handler holds must still be there
    });
    loop.run();
    EXPECT_EQ(seen, "xsecond");
}

TEST(EventLoop, StopsBeforeTheNextHandler) {
    const UniqueFd one = make_eventfd();
    const UniqueFd other = make_eventfd();
    signal_eventfd(one.get());
    signal_eventfd(other.get());
    EventLoop loop;
    int calls = 0;
    const auto stop = [&] {
        ++calls;
        loop.stop();
    };
    loop.watch(one.get(), stop);
    loop.watch(other.get(), stop);
    loop.run();
    EXPECT_EQ(calls, 1);
    loop.run();  // and can be run again
    EXPECT_EQ(calls, 2);
}

TEST(EventLoop, ForgettingWhatIsNotWatchedIsHarmless) {
    EventLoop loop;
    loop.forget(0);
    loop.forget(-1);
}

}  // namespace
}  // namespace hull
