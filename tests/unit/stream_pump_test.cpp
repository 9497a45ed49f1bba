// One direction of a stream, and how its ends are told.
#include "vmm/agent/stream_pump.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <thread>

#include "tests/support/files.h"
#include "tests/support/sockets.h"

namespace hull {
namespace {

struct Sockets {
    UniqueFd one;
    UniqueFd other;
};

Sockets make_sockets() {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return {UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

class StreamPumpTest : public testing::Test {
  protected:
    StreamPumpTest() { signal(SIGPIPE, SIG_IGN); }
    /// Runs the loop until the pump has ended.
    void run(UniqueFd from, UniqueFd to) {
        pump_.emplace(loop_, std::move(from), std::move(to), [this] {
            pump_.reset();
            loop_.stop();
        });
        loop_.run();
        EXPECT_FALSE(pump_);
    }
    EventLoop loop_;
    std::optional<StreamPump> pump_;
};

TEST_F(StreamPumpTest, CarriesAllAndTellsASocketOfTheEnd) {
    test::Pipe pipe = test::make_pipe();
    Sockets sockets = make_sockets();
    const std::string bytes(1'000'000, 'x');
    std::thread writer{[&] {
        test::write_all(pipe.write_end.get(), bytes);
        pipe.write_end.reset();
    }};
    std::string got;
    std::thread reader{[&] { got = test::read_up_to(sockets.other.get(), 2 * bytes.size()); }};
    const UniqueFd kept{fcntl(sockets.one.get(), F_DUPFD_CLOEXEC, 0)};  // so that closing tells nothing
    run(std::move(pipe.read_end), std::move(sockets.one));
    writer.join();
    reader.join();
    EXPECT_EQ(got, bytes);
}

TEST_F(StreamPumpTest, ASlowReaderOfAPipeHoldsNothingElseUp) {
    test::Pipe pipe = test::make_pipe();
    Sockets sockets = make_sockets();
    const std::string bytes(300'000, 'x');
    std::thread writer{[&] {
        test::write_all(sockets.other.get(), bytes);
        sockets.other.reset();
    }};
    bool ended = false;
    pump_.emplace(loop_, std::move(sockets.one), std::move(pipe.write_end), [&] {
        ended = true;
        loop_.stop();
    });
    // The pipe is full by then, and the loop still runs what it is told to.
    loop_.set_deadline(std::chrono::milliseconds{100}, [&] { loop_.stop(); });
    loop_.run();
    EXPECT_FALSE(ended);
    std::string got;
    std::thread reader{[&] { got = test::read_up_to(pipe.read_end.get(), bytes.size()); }};
    loop_.run();
    EXPECT_TRUE(ended);
    writer.join();
    reader.join();
    EXPECT_EQ(got, bytes);
}

TEST_F(StreamPumpTest, AReaderThatIsGoneIsToldToTheWriter) {
    test::Pipe pipe = test::make_pipe();
    Sockets sockets = make_sockets();
    const UniqueFd kept{fcntl(sockets.one.get(), F_DUPFD_CLOEXEC, 0)};
    pipe.read_end.reset();
    test::write_all(sockets.other.get(), "x");
    run(std::move(sockets.one), std::move(pipe.write_end));
    EXPECT_EQ(send(sockets.other.get(), "y", 1, MSG_NOSIGNAL), -1);
    EXPECT_EQ(errno, EPIPE);
}

TEST_F(StreamPumpTest, AnEndDoesNotUndoWhatConnectsStill) {
    const UniqueFd listener{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address = test::at("127.0.0.1", 0);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    ASSERT_EQ(bind(listener.get(), generic, size), 0);
    ASSERT_EQ(listen(listener.get(), 0), 0);
    ASSERT_EQ(getsockname(listener.get(), generic, &size), 0);
    // Nobody takes the first, so that there is no room for the second yet.
    std::array<UniqueFd, 2> clients;
    for (UniqueFd& client : clients) {
        client = UniqueFd{socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
        connect(client.get(), generic, size);
    }
    Sockets sockets = make_sockets();
    sockets.other.reset();
    bool has_come = false;
    std::thread server{[&] {
        std::this_thread::sleep_for(std::chrono::milliseconds{100});
        const UniqueFd first{accept(listener.get(), nullptr, nullptr)};
        pollfd entry{listener.get(), POLLIN, 0};
        has_come = poll(&entry, 1, 5000) == 1;
    }};
    const UniqueFd kept = duplicate(clients[1].get());
    run(std::move(sockets.one), std::move(clients[1]));
    server.join();
    EXPECT_TRUE(has_come);
}

TEST_F(StreamPumpTest, WritesToARegularFile) {
    const test::TemporaryFolder folder;
    const std::string path = folder.file("to", "");
    const std::string from = folder.file("from", std::string(200'000, 'y'));
    run(UniqueFd{open(from.c_str(), O_RDONLY | O_CLOEXEC)},
        UniqueFd{open(path.c_str(), O_WRONLY | O_CLOEXEC)});
    EXPECT_EQ(std::filesystem::file_size(path), 200'000U);
}

}  // namespace
}  // namespace hull
