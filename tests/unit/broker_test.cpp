// What a machine in its jail asks of its keeper, and what a hostile one gets by asking.
#include "vmm/jail/broker.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/files.h"

namespace hull::jail {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// A keeper on a thread of its own, with two devices that connect to pipes on which "N\n" is written, N the
/// port; to port 13 there is no way.
class BrokerTest : public testing::Test {
  protected:
    ~BrokerTest() override { stop(); }

    Broker::Connect add(std::atomic<int>& calls) {
        return broker_.add([&calls](uint32_t port) {
            ++calls;
            test::Pipe pipe = test::make_pipe();
            test::write_all(pipe.write_end.get(), std::to_string(port) + "\n");
            return port == 13 ? UniqueFd{} : std::move(pipe.read_end);
        });
    }
    void start() {
        thread_ = std::thread{[this] {
            loop_.watch(stop_.get(), [this] { loop_.stop(); });
            broker_.serve(loop_);
            loop_.run();
        }};
    }
    void stop() {
        if (thread_.joinable()) {
            signal_eventfd(stop_.get());
            thread_.join();
            drain_eventfd(stop_.get());
        }
    }
    /// What is read from a connection.
    static std::string content(const UniqueFd& fd) {
        return fd.valid() ? test::read_up_to(fd.get(), 100) : "none";
    }
    /// The machine's end of a device, as who has broken out of it uses it.
    int hostile(size_t device = 0) const { return broker_.machines_descriptors().at(device); }

    Broker broker_;
    EventLoop loop_;
    UniqueFd stop_ = make_eventfd();
    std::atomic<int> first_calls_{0};
    std::atomic<int> second_calls_{0};
    Broker::Connect first_ = add(first_calls_);
    Broker::Connect second_ = add(second_calls_);
    std::thread thread_;
};

TEST_F(BrokerTest, EachDeviceGetsItsOwnConnections) {
    start();
    EXPECT_EQ(content(first_(1024)), "1024\n");
    EXPECT_EQ(content(second_(0)), "0\n");
    EXPECT_EQ(content(first_(0xffff'ffff)), "4294967295\n");
    EXPECT_FALSE(first_(13).valid());
    EXPECT_EQ(content(first_(14)), "14\n");
    EXPECT_EQ(first_calls_, 4);
    EXPECT_EQ(second_calls_, 1);
}

TEST_F(BrokerTest, DescriptorsDoNotPassOnToPrograms) {
    start();
    EXPECT_EQ(fcntl(first_(1).get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST_F(BrokerTest, AKeeperThatDoesNotAnswerIsNotWaitedForLong) {
    const auto begin = Clock::now();
    EXPECT_FALSE(first_(1).valid());
    EXPECT_LT(Clock::now() - begin, 10s);
    // The answer that comes late is not taken for the next one's.
    start();
    EXPECT_EQ(content(first_(2)), "2\n");
}

TEST_F(BrokerTest, AKeeperThatIsGoneGivesNothing) {
    Broker::Connect client;
    {
        Broker gone;
        client = gone.add([](uint32_t /*port*/) { return UniqueFd{}; });
    }
    const auto begin = Clock::now();
    EXPECT_FALSE(client(1).valid());
    EXPECT_LT(Clock::now() - begin, 900ms) << "it waited";
}

TEST_F(BrokerTest, WhatIsNoRequestEndsThatDevicesConnectionsAlone) {
    start();
    const std::vector<std::string> rows = {"", "1", std::string(7, 'x'), std::string(9, 'x'),
                                           std::string(100'000, 'x')};
    size_t served = 0;
    for (const std::string& row : rows) {
        SCOPED_TRACE(row.size());
        stop();
        Broker::Connect bad = add(first_calls_);
        start();
        const int before = first_calls_;
        EXPECT_EQ(content(bad(5)), "5\n");
        ASSERT_EQ(send(hostile(2 + served++), row.data(), row.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(row.size()));
        EXPECT_FALSE(bad(6).valid());
        EXPECT_EQ(first_calls_, before + 1) << "it was answered";
        EXPECT_EQ(content(second_(7)), "7\n");
    }
}

TEST_F(BrokerTest, DescriptorsThatAHostileMachineSendsAreClosed) {
    start();
    test::Pipe pipe = test::make_pipe();
    BrokerRequest request{.number = 0x8000'0000, .port = 1};
    iovec part{&request, sizeof request};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = pipe.write_end.get();
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    ASSERT_EQ(sendmsg(hostile(), &header, MSG_NOSIGNAL), static_cast<ssize_t>(sizeof request));
    EXPECT_EQ(content(first_(2)), "2\n");  // it has come behind the other
    pipe.write_end.reset();
    EXPECT_EQ(test::read_up_to(pipe.read_end.get(), 1), "") << "the keeper has the descriptor";
}

TEST_F(BrokerTest, AnswersThatNobodyTakesDoNotPileUpNorHoldTheKeeperUp) {
    start();
    const BrokerRequest request{.number = 0x8000'0000, .port = 1};
    constexpr int kMany = 20'000;
    for (int sent = 0; sent < kMany;) {
        sent += send(hostile(), &request, sizeof request, MSG_NOSIGNAL) == sizeof request ? 1 : 0;
    }
    EXPECT_EQ(content(second_(7)), "7\n") << "the flood holds others up";
    while (first_calls_ < kMany) {
        std::this_thread::sleep_for(1ms);
    }
    int waiting = 0;
    BrokerRequest answer{};
    while (recv(hostile(), &answer, sizeof answer, MSG_DONTWAIT) == sizeof answer) {
        ++waiting;
    }
    EXPECT_LT(waiting, 64);
    EXPECT_EQ(content(first_(8)), "8\n");
}

}  // namespace
}  // namespace hull::jail
