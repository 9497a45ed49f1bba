// The network device's queues between a driver and the other side of a socket that keeps messages apart.
#include "devices/net/net.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/virtio_ids.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "devices/net/layout.h"
#include "devices/net/net_queues.h"
#include "tests/support/recording_calls.h"
#include "tests/support/virtio_driver.h"

namespace hull::virtio {
namespace {

using Header = virtio_net_hdr_v1;
constexpr uint64_t kReceiveRings = 0x1000;
constexpr uint64_t kTransmitRings = 0x4000;
constexpr uint64_t kData = 0x8000;
constexpr uint64_t kSpace = 0x2000;  // between the buffers that a test uses

Header header_of(uint8_t flags, uint8_t gso_type, uint16_t gso_size) {
    Header header{};
    header.flags = flags;
    header.gso_type = gso_type;
    header.gso_size = gso_size;
    return header;
}

class NetTest : public testing::Test {
  protected:
    NetTest() {
        int pair[2] = {};
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
            throw std::runtime_error{"socketpair"};
        }
        link_ = UniqueFd{pair[0]};
        wire_ = UniqueFd{pair[1]};
        start(true);
    }
    void start(bool merge, bool headers = true, bool stream = false) {
        stream ? static_cast<void>(stream_.emplace(link_.get())) : stream_.reset();
        queues_ = std::make_unique<NetQueues>(NetQueues::Sides{.receive = receive_,
                                                               .transmit = transmit_,
                                                               .driver = calls_,
                                                               .link_fd = link_.get(),
                                                               .program = true,
                                                               .stream = stream ? &*stream_ : nullptr,
                                                               .merge = merge,
                                                               .headers = headers,
                                                               .to_guest = *to_guest_,
                                                               .from_guest = *from_guest_});
    }
    ActiveQueue active(uint16_t index, const test::DriverQueue& queue, const UniqueFd& kick) {
        return {index, std::move(*VirtQueue::make(memory_, queue.config(), 0)), kick.get()};
    }
    static bool wait_for(const std::function<bool()>& holds) {
        for (int tries = 0; tries < 10000 && !holds(); ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
        }
        return holds();
    }
    static uint64_t buffer_at(uint64_t number) { return kData + number * kSpace; }
    /// Gives the device buffers of these sizes, each a chain of its own.
    void offer(std::initializer_list<uint32_t> sizes) {
        for (const uint32_t size : sizes) {
            const test::Buffer buffer[] = {{buffer_at(offered_), size, true}};
            receive_driver_->add(buffer, static_cast<uint16_t>(offered_ % 8));
            ++offered_;
        }
    }
    /// A frame comes from the other side.
    void arrive(const std::string& frame, const Header& header = {}) {
        const std::string message =
            std::string(reinterpret_cast<const char*>(&header), sizeof header) + frame;
        ASSERT_EQ(write(wire_.get(), message.data(), message.size()), static_cast<ssize_t>(message.size()));
    }
    /// The next frame that the other side got, with the header; empty where there is none.
    std::string departed() {
        std::string message(70000, '\0');
        const ssize_t size = read(wire_.get(), message.data(), message.size());
        message.resize(size > 0 ? static_cast<size_t>(size) : 0);
        return message;
    }
    std::string text_at(uint64_t address, size_t size) {
        const auto bytes = memory_.slice(GuestRange::of(address, size)).value();
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }
    Header header_at(uint64_t address) { return memory_.read<Header>(GuestAddress{address}).value(); }
    void put(uint64_t address, const std::string& text) {
        ASSERT_TRUE(memory_.write_bytes(GuestAddress{address}, std::as_bytes(std::span{text})));
    }

    const GuestRange ranges_[1] = {GuestRange::of(0, 0x40000)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent};
    std::optional<test::DriverQueue> receive_driver_{std::in_place, memory_, kReceiveRings, uint16_t{8}};
    std::optional<test::DriverQueue> transmit_driver_{std::in_place, memory_, kTransmitRings, uint16_t{8}};
    UniqueFd receive_kick_ = make_eventfd();
    UniqueFd transmit_kick_ = make_eventfd();
    ActiveQueue receive_ = active(0, *receive_driver_, receive_kick_);
    ActiveQueue transmit_ = active(1, *transmit_driver_, transmit_kick_);
    test::RecordingCalls calls_;
    std::optional<NetLimit> to_guest_{std::in_place, uint64_t{0}, uint64_t{0}};
    std::optional<NetLimit> from_guest_{std::in_place, uint64_t{0}, uint64_t{0}};
    UniqueFd link_;
    UniqueFd wire_;
    std::optional<FrameStream> stream_;
    std::unique_ptr<NetQueues> queues_;
    uint64_t offered_ = 0;
};

TEST_F(NetTest, AFrameFillsABuffer) {
    offer({2000, 2000});
    arrive("hello", header_of(VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_GSO_NONE, 7));
    queues_->receive();
    const auto used = receive_driver_->take_used();
    ASSERT_EQ(used.size(), 1U);
    EXPECT_EQ(used[0].len, sizeof(Header) + 5);
    EXPECT_EQ(text_at(buffer_at(0) + sizeof(Header), 5), "hello");
    EXPECT_EQ(header_at(buffer_at(0)).num_buffers, 1);
    EXPECT_EQ(header_at(buffer_at(0)).flags, VIRTIO_NET_HDR_F_DATA_VALID);
    EXPECT_EQ(header_at(buffer_at(0)).gso_size, 7);
    queues_->tell_driver();
    EXPECT_EQ(calls_.interrupts, (std::array<long, 2>{1, 0}));
    arrive("again");
    queues_->receive();
    ASSERT_EQ(receive_driver_->take_used().size(), 1U);
    EXPECT_EQ(text_at(buffer_at(1) + sizeof(Header), 5), "again");
}

TEST_F(NetTest, ALargeFrameFillsSeveralBuffersAtOnce) {
    offer({100, 100, 100, 100});
    std::string frame;
    for (int i = 0; i < 250; ++i) {
        frame += static_cast<char>(i);
    }
    arrive(frame, header_of(0, VIRTIO_NET_HDR_GSO_TCPV4, 0));
    queues_->receive();
    const auto used = receive_driver_->take_used();
    ASSERT_EQ(used.size(), 3U);
    EXPECT_EQ(used[0].len, 100U);
    EXPECT_EQ(used[1].len, 100U);
    EXPECT_EQ(used[2].len, 62U);
    EXPECT_EQ(header_at(buffer_at(0)).num_buffers, 3);
    EXPECT_EQ(
        text_at(buffer_at(0) + sizeof(Header), 88) + text_at(buffer_at(1), 100) + text_at(buffer_at(2), 62),
        frame);
    // The fourth is still there for the next one.
    arrive("next");
    queues_->receive();
    ASSERT_EQ(receive_driver_->take_used().size(), 1U);
    EXPECT_EQ(text_at(buffer_at(3) + sizeof(Header), 4), "next");
}

TEST_F(NetTest, ALargeFrameComesWholeBehindManySmallOnes) {
    // By then the device has got used to reading into little room.
    for (int small = 0; small < 20; ++small) {
        offer({2000});
        arrive("small");
        queues_->receive();
        ASSERT_EQ(receive_driver_->take_used().size(), 1U) << small;
    }
    std::string frame;
    for (int i = 0; i < 5000; ++i) {
        frame += static_cast<char>(i % 251);
    }
    offered_ = 0;
    offer({1000, 1000, 1000, 1000, 2000});
    arrive(frame);
    arrive("behind it");
    queues_->receive();
    ASSERT_EQ(receive_driver_->take_used().size(), 5U);
    std::string got = text_at(buffer_at(0) + sizeof(Header), 1000 - sizeof(Header));
    for (const uint64_t number : {1, 2, 3}) {
        got += text_at(buffer_at(number), 1000);
    }
    EXPECT_EQ(got + text_at(buffer_at(4), 1000 + sizeof(Header)), frame);
    // What the buffers together have no room for is dropped.
    offered_ = 0;
    offer({2000, 2000});
    queues_->receive();
    EXPECT_EQ(receive_driver_->take_used().size(), 1U);
    EXPECT_EQ(text_at(buffer_at(0) + sizeof(Header), 9), "behind it");
    arrive(frame);
    arrive("and that");
    queues_->receive();
    ASSERT_EQ(receive_driver_->take_used().size(), 1U);
    EXPECT_EQ(text_at(buffer_at(1) + sizeof(Header), 8), "and that");
}

TEST_F(NetTest, AHeaderMayLieAcrossSegments) {
    const test::Buffer buffers[] = {
        {buffer_at(0), 5, true}, {buffer_at(1), 5, true}, {buffer_at(2), 4, true}, {buffer_at(3), 100, true}};
    receive_driver_->add(buffers);
    arrive("hello");
    queues_->receive();
    ASSERT_EQ(receive_driver_->take_used().size(), 1U);
    EXPECT_EQ(text_at(buffer_at(2) + 2, 2), "he");
    EXPECT_EQ(text_at(buffer_at(3), 3), "llo");
    EXPECT_EQ(text_at(buffer_at(2), 2), std::string("\1\0", 2)) << "num_buffers";
}

TEST_F(NetTest, WhatDoesNotFitIsDroppedAndTheNextFrameComes) {
    for (const bool merge : {true, false}) {
        start(merge);
        offer({100});
        arrive(std::string(89, 'x'));  // one byte too many
        arrive("small");
        queues_->receive();
        const auto used = receive_driver_->take_used();
        ASSERT_EQ(used.size(), 1U);
        EXPECT_EQ(text_at(buffer_at(offered_ - 1) + sizeof(Header), 5), "small");
        offer({100});
        arrive(std::string(88, 'y'));
        queues_->receive();
        ASSERT_EQ(receive_driver_->take_used().size(), 1U) << "what fits exactly";
    }
    // Without merging a second buffer is no help.
    offer({100, 100});
    arrive(std::string(150, 'z'));
    queues_->receive();
    EXPECT_TRUE(receive_driver_->take_used().empty());
    EXPECT_EQ(calls_.broken, "");
}

TEST_F(NetTest, FramesWaitForBuffers) {
    arrive("early");
    queues_->receive();
    EXPECT_TRUE(receive_driver_->take_used().empty());
    offer({100});
    queues_->receive();
    ASSERT_EQ(receive_driver_->take_used().size(), 1U);
    EXPECT_EQ(text_at(buffer_at(0) + sizeof(Header), 5), "early");
}

TEST_F(NetTest, WhatTheGuestSendsDepartsAsItIs) {
    const Header header = header_of(VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE, 9);
    const std::string head{reinterpret_cast<const char*>(&header), sizeof header};
    put(buffer_at(0), head + "hel");
    put(buffer_at(1), "lo");
    const test::Buffer buffers[] = {{buffer_at(0), sizeof header + 3, false}, {buffer_at(1), 2, false}};
    transmit_driver_->add(buffers);
    queues_->transmit();
    EXPECT_EQ(departed(), head + "hello");
    const auto used = transmit_driver_->take_used();
    ASSERT_EQ(used.size(), 1U);
    EXPECT_EQ(used[0].len, 0U);
    queues_->tell_driver();
    EXPECT_EQ(calls_.interrupts, (std::array<long, 2>{0, 1}));
}

TEST_F(NetTest, WhatTheOtherSideHasNoRoomForWaits) {
    const test::Buffer buffers[] = {{kData, 0x8000, false}};
    int taken = 0;
    while (taken < 1000) {
        transmit_driver_->add(buffers);
        queues_->transmit();
        if (transmit_driver_->take_used().empty()) {
            break;
        }
        ++taken;
    }
    ASSERT_GT(taken, 0);
    ASSERT_LT(taken, 1000) << "a socket without an end";
    for (int frame = 0; frame < taken; ++frame) {
        EXPECT_EQ(departed().size(), 0x8000U);
    }
    queues_->transmit();
    EXPECT_EQ(transmit_driver_->take_used().size(), 1U);
    EXPECT_EQ(departed().size(), 0x8000U) << "the one that waited";
}

TEST_F(NetTest, WhatIsNoFrameIsGivenBackAndNotSent) {
    const test::Buffer rows[] = {{kData, 1, false},
                                 {kData, sizeof(Header), false},
                                 {kData, NetQueues::kMostFrame + 13, false},
                                 {kData, 100, true}};
    for (const test::Buffer& row : rows) {
        transmit_driver_->add(std::span{&row, 1});
        queues_->transmit();
        EXPECT_EQ(transmit_driver_->take_used().size(), 1U) << row.length;
        EXPECT_EQ(departed(), "") << row.length;
    }
    EXPECT_EQ(calls_.broken, "");
    const test::Buffer good[] = {{kData, sizeof(Header) + 1, false}};
    transmit_driver_->add(good);
    queues_->transmit();
    EXPECT_EQ(departed().size(), sizeof(Header) + 1);
}

TEST_F(NetTest, ABrokenRuleIsToldAndEndsBothDirections) {
    struct Row {
        const char* what;
        std::function<void()> breaks;
    };
    const test::Buffer tiny[] = {{kData, sizeof(Header) - 1, true}};
    const test::Buffer outside[] = {{uint64_t{1} << 40, 100, false}};
    const Row rows[] = {
        {"no room for a header", [&] { receive_driver_->add(tiny); }},
        {"an index that jumps", [&] { receive_driver_->set_available_index(100); }},
        {"outside of memory", [&] { transmit_driver_->add(outside); }},
    };
    for (const Row& row : rows) {
        ASSERT_TRUE(memory_.discard(GuestRange::of(0, 0x8000)));
        receive_driver_.emplace(memory_, kReceiveRings, uint16_t{8});
        transmit_driver_.emplace(memory_, kTransmitRings, uint16_t{8});
        receive_ = active(0, *receive_driver_, receive_kick_);
        transmit_ = active(1, *transmit_driver_, transmit_kick_);
        calls_.broken.clear();
        start(true);
        row.breaks();
        arrive("frame");
        queues_->receive();
        queues_->transmit();
        EXPECT_NE(calls_.broken, "") << row.what;
        EXPECT_TRUE(receive_driver_->take_used().empty()) << row.what;
        const test::Buffer good[] = {{kData, 100, false}};
        transmit_driver_->add(good, 4);
        queues_->transmit();
        EXPECT_TRUE(transmit_driver_->take_used().empty()) << row.what;
        while (!departed().empty()) {
        }
    }
}

TEST_F(NetTest, EachKickIsServed) {
    const UniqueFd stop = make_eventfd();
    put(buffer_at(8), std::string(sizeof(Header), '\0') + "hello");
    std::thread worker{[&] { queues_->serve(stop.get(), {.changed = [](bool) {}, .find = nullptr}); }};
    const auto used = [&](const test::DriverQueue& driver) {
        return memory_.read<uint16_t>(GuestAddress{raw(driver.config().device_area) + 2}).value();
    };
    // Its first frame finds the device without a buffer.
    for (uint16_t count = 1; count <= 3; ++count) {
        const test::Buffer frame[] = {{buffer_at(8), sizeof(Header) + 5, false}};
        transmit_driver_->add(frame);
        signal_eventfd(transmit_kick_.get());
        EXPECT_TRUE(wait_for([&] { return used(*transmit_driver_) == count; }));
        EXPECT_EQ(departed(), std::string(sizeof(Header), '\0') + "hello");
        arrive("answer");
        offer({100});
        signal_eventfd(receive_kick_.get());
        EXPECT_TRUE(wait_for([&] { return used(*receive_driver_) == count; }));
    }
    signal_eventfd(stop.get());
    worker.join();
    EXPECT_EQ(calls_.broken, "");
}

TEST_F(NetTest, WithoutAnotherSideFramesAreDroppedAndTheGuestGoesOn) {
    wire_.reset();
    offer({100});
    queues_->receive();
    const test::Buffer good[] = {{kData, 100, false}};
    transmit_driver_->add(good);
    queues_->transmit();
    EXPECT_EQ(transmit_driver_->take_used().size(), 1U);
    EXPECT_EQ(calls_.broken, "");
}

TEST_F(NetTest, WithoutOffloadsTheGuestIsToldNothingOfAFrame) {
    start(true, false);
    offer({100});
    arrive("hello", header_of(VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_GSO_TCPV4, 7));
    queues_->receive();
    ASSERT_EQ(receive_driver_->take_used().size(), 1U);
    const Header expected = [] {
        Header header{};
        header.num_buffers = 1;
        return header;
    }();
    const Header told = header_at(buffer_at(0));
    EXPECT_EQ(std::memcmp(&told, &expected, sizeof told), 0);
    EXPECT_EQ(text_at(buffer_at(0) + sizeof(Header), 5), "hello");
}

TEST_F(NetTest, ManyBuffersOfManyShapesCarryEveryFrameWhole) {
    // More segments than are cut off together, and frames that end in the midst of chains.
    const auto offer_pair = [this](uint32_t head) {
        const uint64_t at = kData + head * 0x100;
        const test::Buffer pair[] = {{at, 20, true}, {at + 20, 30, true}};
        receive_driver_->add(pair, static_cast<uint16_t>(head));
    };
    for (const uint32_t head : {0, 2, 4, 6}) {
        offer_pair(head);
    }
    for (int round = 0; round < 1000; ++round) {
        const std::string frame(static_cast<size_t>(1 + round * 7 % 180),
                                static_cast<char>('a' + round % 26));
        arrive(frame);
        queues_->receive();
        std::string whole;
        for (const vring_used_elem& used : receive_driver_->take_used()) {
            whole += text_at(kData + used.id * 0x100, used.len);
            offer_pair(used.id);
        }
        ASSERT_EQ(whole.substr(std::min(whole.size(), sizeof(Header))), frame) << round;
    }
}

TEST_F(NetTest, ALimitHoldsFramesBackInBothDirections) {
    // A byte a second: of two frames the first passes.
    to_guest_.emplace(0, 1);
    from_guest_.emplace(0, 1);
    start(true);
    offer({100, 100});
    arrive("first");
    arrive("second");
    queues_->receive();
    EXPECT_EQ(receive_driver_->take_used().size(), 1U);
    EXPECT_GT(to_guest_->wait_time(), std::chrono::seconds{1});
    const test::Buffer buffer[] = {{kData, 100, false}};
    transmit_driver_->add(buffer, 0);
    transmit_driver_->add(buffer, 1);
    queues_->transmit();
    EXPECT_EQ(transmit_driver_->take_used().size(), 1U);
    EXPECT_EQ(departed().size(), 100U);
    EXPECT_EQ(departed(), "");
    // Neither is lost.
    to_guest_.emplace(0, 0);
    from_guest_.emplace(0, 0);
    queues_->receive();
    EXPECT_EQ(receive_driver_->take_used().size(), 1U);
    queues_->transmit();
    EXPECT_EQ(departed().size(), 100U);
}

/// The same with a stream as the link.
class NetStreamTest : public NetTest {
  protected:
    NetStreamTest() {
        int pair[2] = {};
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
            throw std::runtime_error{"socketpair"};
        }
        link_ = UniqueFd{pair[0]};
        wire_ = UniqueFd{pair[1]};
        start(true, true, true);
    }
    static std::string framed(const std::string& frame) {
        const uint32_t length = htonl(static_cast<uint32_t>(frame.size()));
        return std::string{reinterpret_cast<const char*>(&length), sizeof length} + frame;
    }
    void arrive_bytes(const std::string& bytes) {
        ASSERT_EQ(write(wire_.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    }
};

TEST_F(NetStreamTest, FramesAreKeptApartHoweverTheyCome) {
    offer({100, 100, 2000, 100});
    const std::string bytes = framed("first") + framed("the second") + framed(std::string(150, 'x'));
    // In two pieces, cut within the second length, and the rest byte by byte.
    arrive_bytes(bytes.substr(0, 11));
    queues_->receive();
    EXPECT_EQ(receive_driver_->take_used().size(), 1U);
    EXPECT_EQ(text_at(buffer_at(0) + sizeof(Header), 5), "first");
    for (const char byte : bytes.substr(11)) {
        arrive_bytes(std::string(1, byte));
        queues_->receive();
    }
    EXPECT_EQ(receive_driver_->take_used().size(), 2U);
    EXPECT_EQ(text_at(buffer_at(1) + sizeof(Header), 10), "the second");
    EXPECT_EQ(text_at(buffer_at(2) + sizeof(Header), 150), std::string(150, 'x'));
    EXPECT_EQ(header_at(buffer_at(2)).num_buffers, 1);
    EXPECT_EQ(calls_.broken, "");
}

TEST_F(NetStreamTest, AnotherSideThatIsBackIsFoundAgain) {
    int pair[2] = {};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    const UniqueFd next_link{pair[0]};
    const UniqueFd next_wire{pair[1]};
    const UniqueFd stop = make_eventfd();
    std::atomic<int> looks = 0;
    std::atomic<int> downs = 0;
    std::atomic<int> ups = 0;
    offer({100, 100});
    std::thread worker{[&] {
        queues_->serve(stop.get(), {.changed = [&](bool is_up) { ++(is_up ? ups : downs); },
                                    .find =
                                        [&] {
                                            const int fd = looks++ == 0 ? -1 : next_link.get();
                                            *stream_ = FrameStream{fd};
                                            return fd;
                                        }});
    }};
    arrive_bytes(framed("first") + framed("cut off").substr(0, 7));
    const auto used = [&] { return receive_driver_->used_index(); };
    EXPECT_TRUE(wait_for([&] { return used() == 1; }));
    wire_.reset();
    EXPECT_TRUE(wait_for([&] { return ups == 1; }));
    EXPECT_EQ(downs, 1);
    EXPECT_EQ(looks, 2);
    const std::string whole = framed("whole");
    ASSERT_EQ(write(next_wire.get(), whole.data(), whole.size()), static_cast<ssize_t>(whole.size()));
    EXPECT_TRUE(wait_for([&] { return used() == 2; }));
    signal_eventfd(stop.get());
    worker.join();
    EXPECT_EQ(text_at(buffer_at(1) + sizeof(Header), 5), "whole");
    EXPECT_EQ(calls_.broken, "");
}

TEST_F(NetStreamTest, WhatTheGuestSendsLeavesWithItsLength) {
    put(buffer_at(0), std::string(sizeof(Header), '\0') + "hello");
    const test::Buffer buffers[] = {{buffer_at(0), 5, false}, {buffer_at(0) + 5, 7 + 5, false}};
    transmit_driver_->add(buffers);
    queues_->transmit();
    EXPECT_EQ(departed(), framed("hello"));
    EXPECT_EQ(transmit_driver_->take_used().size(), 1U);
}

TEST_F(NetStreamTest, AFrameOfWhichAPartHasLeftFollowsWhole) {
    const test::Buffer buffer[] = {{kData, 0x8000, false}};
    std::string got;
    for (int frames = 0; frames < 64; ++frames) {
        transmit_driver_->add(buffer);
        queues_->transmit();
        while (transmit_driver_->take_used().empty()) {
            got += departed();  // makes room
            queues_->transmit();
        }
    }
    for (std::string part = departed(); !part.empty(); part = departed()) {
        got += part;
        queues_->transmit();
    }
    const std::string whole = framed(std::string(0x8000 - sizeof(Header), '\0'));
    ASSERT_EQ(got.size(), 64 * whole.size());
    for (size_t frame = 0; frame < 64; ++frame) {
        ASSERT_EQ(got.substr(frame * whole.size(), whole.size()), whole) << frame;
    }
}

TEST_F(NetStreamTest, ABrokenFormEndsTheLinkAndTheGuestGoesOn) {
    offer({100, 100});
    arrive_bytes(framed("good") + std::string("\xff\xff\xff\xff", 4) + framed("lost"));
    queues_->receive();
    EXPECT_EQ(receive_driver_->take_used().size(), 1U);
    const test::Buffer buffer[] = {{kData, 100, false}};
    transmit_driver_->add(buffer);
    queues_->transmit();
    EXPECT_EQ(transmit_driver_->take_used().size(), 1U);
    EXPECT_EQ(departed(), "") << "nobody is there";
    EXPECT_EQ(calls_.broken, "");
}

std::vector<NetLink> links(size_t count) {
    return std::vector<NetLink>(count);
}

TEST(Net, TellsItsAddressAndOffersWhatItsOtherSideCan) {
    const MacAddress mac{2, 3, 4, 5, 6, 7};
    const uint64_t basic = feature(VIRTIO_NET_F_MAC) | feature(VIRTIO_NET_F_MRG_RXBUF) |
                           feature(VIRTIO_NET_F_STATUS) | feature(VIRTIO_F_RING_RESET);
    const Net plain{{.mac = mac, .name = "net"}, links(1)};
    EXPECT_EQ(plain.type(), static_cast<uint32_t>(VIRTIO_ID_NET));
    EXPECT_EQ(plain.features(), basic);
    EXPECT_EQ(plain.queue_sizes().size(), 2U);
    MacAddress told{};
    plain.read_configuration(0, std::as_writable_bytes(std::span{told}));
    EXPECT_EQ(told, mac);
    std::array<std::byte, 8> beyond{};
    for (const uint64_t offset :
         {uint64_t{4}, sizeof(virtio_net_config) - 1, uint64_t{0x1000}, ~uint64_t{0}}) {
        plain.read_configuration(offset, beyond);
    }
    const Net checked{{.mac = mac, .mtu = 9000, .offloads = NetOffloads::checked, .name = "net"}, links(1)};
    EXPECT_EQ(checked.features(), basic | feature(VIRTIO_NET_F_MTU) | feature(VIRTIO_NET_F_GUEST_CSUM));
    const Net tap{{.mac = mac, .offloads = NetOffloads::all, .name = "net"}, links(3)};
    EXPECT_NE(tap.features() & feature(VIRTIO_NET_F_HOST_TSO4), 0U);
    EXPECT_NE(tap.features() & feature(VIRTIO_NET_F_GUEST_TSO6), 0U);
    EXPECT_NE(tap.features() & feature(VIRTIO_NET_F_MQ), 0U);
    EXPECT_EQ(tap.queue_sizes().size(), 7U) << "three pairs and the control queue";
    virtio_net_config config{};
    tap.read_configuration(0, std::as_writable_bytes(std::span{&config, 1}));
    EXPECT_EQ(config.max_virtqueue_pairs, 3);
    EXPECT_EQ(config.status, VIRTIO_NET_S_LINK_UP);
}

}  // namespace
}  // namespace hull::virtio
