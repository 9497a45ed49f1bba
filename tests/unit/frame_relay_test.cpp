// Frames of an interface that came while the guest ran: the host's end of them (FrameRelay) and the agent's
// (Interfaces), with sockets that keep messages apart in the place of tap devices.
#include "container/network/frame_relay.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "guest/agent/interfaces.h"

namespace hull::container {
namespace {

std::pair<UniqueFd, UniqueFd> make_pair(int type) {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    return {UniqueFd{ends[0]}, UniqueFd{ends[1]}};
}

/// The same for who closes it himself.
int owned(const UniqueFd& fd) {
    return fcntl(fd.get(), F_DUPFD_CLOEXEC, 0);
}

void put(const UniqueFd& fd, const std::string& bytes) {
    ASSERT_EQ(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
}

/// What is there, in one piece; "nothing" where that is so, and "end".
std::string take(const UniqueFd& fd) {
    std::string bytes(size_t{1} << 16, '\0');
    const ssize_t got = recv(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got <= 0) {
        return got == 0 ? "end" : "nothing";
    }
    bytes.resize(static_cast<size_t>(got));
    return bytes;
}

std::string framed(const std::string& frame) {
    return std::string{static_cast<char>(frame.size() >> 8), static_cast<char>(frame.size() & 0xff)} + frame;
}

/// One of both ends, between a device and a connection of which the test has the other sides.
class Carrier {
  public:
    virtual ~Carrier() = default;
    /// Does what there is to do.
    virtual void go_on() = 0;
    UniqueFd device;
    UniqueFd connection;
    std::string header;  // before each frame at the device
};

class Host final : public Carrier {
  public:
    Host() {
        auto [device_side, tap] = make_pair(SOCK_SEQPACKET);
        auto [connection_side, own] = make_pair(SOCK_STREAM);
        device = std::move(device_side);
        connection = std::move(connection_side);
        header = std::string(10, '\0');
        relay_ = std::make_unique<FrameRelay>(loop_, std::move(tap), std::move(own));
    }
    void go_on() override {
        loop_.set_deadline(std::chrono::milliseconds{20}, [this] { loop_.stop(); });
        loop_.run();
    }

  private:
    EventLoop loop_;
    std::unique_ptr<FrameRelay> relay_;
};

class Guest final : public Carrier {
  public:
    Guest() {
        auto [device_side, tap] = make_pair(SOCK_SEQPACKET);
        auto [connection_side, own] = make_pair(SOCK_STREAM);
        device = std::move(device_side);
        connection = std::move(connection_side);
        interfaces_->add(owned(tap), owned(own));
    }
    void go_on() override {
        std::array<pollfd, agent::Interfaces::kEntries> entries{};
        for (int count = 0; count < 50; ++count) {
            interfaces_->wants(entries.data());
            if (poll(entries.data(), entries.size(), 0) == 0) {
                return;
            }
            interfaces_->serve(entries.data());
        }
    }

  private:
    std::unique_ptr<agent::Interfaces> interfaces_ = std::make_unique<agent::Interfaces>();
};

template <typename Kind>
class FrameCarrier : public testing::Test {
  protected:
    Kind carrier_;
};
using Kinds = testing::Types<Host, Guest>;
TYPED_TEST_SUITE(FrameCarrier, Kinds);

TYPED_TEST(FrameCarrier, CarriesFramesBothWays) {
    Carrier& carrier = this->carrier_;
    const std::string longest(agent::kMostFrame, 'l');
    put(carrier.device, carrier.header + "one");
    put(carrier.device, carrier.header + longest);
    carrier.go_on();
    EXPECT_EQ(take(carrier.connection), framed("one") + framed(longest));
    // However it comes.
    const std::string two = framed(longest) + framed("two");
    for (const char byte : two) {
        put(carrier.connection, {byte});
        carrier.go_on();
    }
    EXPECT_EQ(take(carrier.device), carrier.header + longest);
    EXPECT_EQ(take(carrier.device), carrier.header + "two");
    EXPECT_EQ(take(carrier.device), "nothing");
}

TYPED_TEST(FrameCarrier, PassesOnNothingThatIsLongerThanAFrame) {
    Carrier& carrier = this->carrier_;
    put(carrier.device, carrier.header + std::string(agent::kMostFrame + 1, 'x'));
    put(carrier.device, carrier.header + std::string(9000, 'x'));
    put(carrier.device, carrier.header + "after");
    carrier.go_on();
    EXPECT_EQ(take(carrier.connection), framed("after"));
    put(carrier.connection, framed("before") + std::string{"\x05\xef"} + "x");
    carrier.go_on();
    EXPECT_EQ(take(carrier.connection), "end") << "who sends such is not listened to any more";
    EXPECT_EQ(take(carrier.device), carrier.header + "before");
    EXPECT_EQ(take(carrier.device), "end");
}

TYPED_TEST(FrameCarrier, HoldsLittleForWhoTakesNothing) {
    Carrier& carrier = this->carrier_;
    const std::string frame = carrier.header + std::string(1000, 'f');
    size_t sent = 0;
    for (int round = 0; round < 10'000; ++round) {
        if (send(carrier.device.get(), frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
            ++sent;
        } else if (round % 100 == 0) {
            carrier.go_on();
        }
    }
    EXPECT_LT(sent, 2000U) << "the device is full, and what it is given is its own to drop";
    size_t bytes = 0;
    for (std::string got; (got = take(carrier.connection)) != "nothing"; carrier.go_on()) {
        bytes += got.size();
    }
    EXPECT_EQ(bytes, sent * 1002) << "whole ones";
    put(carrier.device, carrier.header + "again");
    carrier.go_on();
    EXPECT_EQ(take(carrier.connection), framed("again"));
}

TYPED_TEST(FrameCarrier, EndsWithItsConnection) {
    Carrier& carrier = this->carrier_;
    put(carrier.device, carrier.header + "lost");
    carrier.connection.reset();
    carrier.go_on();
    EXPECT_EQ(send(carrier.device.get(), "x", 1, MSG_NOSIGNAL), -1) << "the device is gone";
}

TEST(AgentInterfaces, HasRoomForAsManyAsAContainerHasNetworks) {
    const auto interfaces = std::make_unique<agent::Interfaces>();
    std::vector<UniqueFd> ends;
    for (size_t count = 0; count < agent::Interfaces::kMost; ++count) {
        ASSERT_TRUE(interfaces->has_room());
        auto [device, tap] = make_pair(SOCK_SEQPACKET);
        auto [connection, own] = make_pair(SOCK_STREAM);
        interfaces->add(owned(tap), owned(own));
        ends.push_back(std::move(device));
        ends.push_back(std::move(connection));
    }
    EXPECT_FALSE(interfaces->has_room());
    ends.erase(ends.begin() + 3);
    std::array<pollfd, agent::Interfaces::kEntries> entries{};
    interfaces->wants(entries.data());
    poll(entries.data(), entries.size(), 0);
    interfaces->serve(entries.data());
    EXPECT_TRUE(interfaces->has_room());
}

}  // namespace
}  // namespace hull::container
