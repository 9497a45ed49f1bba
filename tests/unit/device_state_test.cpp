// Devices with work under way that are quiesced, saved and loaded: nothing is lost, done twice, or written
// where the log of writes does not tell it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/virtio_console.h>
#include <linux/virtio_vsock.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "devices/console/console.h"
#include "devices/console/descriptor_host.h"
#include "devices/net/layout.h"
#include "devices/net/net.h"
#include "devices/rng/rng.h"
#include "devices/vsock/packet.h"
#include "devices/vsock/vsock.h"
#include "tests/support/device_rig.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/side.h"
#include "tests/support/sockets.h"
#include "tests/support/virtio_driver.h"
#include "tests/support/vsock_driver.h"

namespace hull::virtio {
namespace {

using namespace std::chrono_literals;
using test::control;
using test::eventually;
using test::frame;
using test::kPage;
using test::kVersion1;
using test::packet;
using test::PipePort;
using test::Rig;
using test::Wire;

template <typename Transport>
class DeviceState : public testing::Test {};
using Transports = testing::Types<test::MmioSide, test::PciSide>;
TYPED_TEST_SUITE(DeviceState, Transports);

TYPED_TEST(DeviceState, RngGoesOn) {
    Rig<TypeParam> rig{1, [] { return std::make_unique<Rng>(); }};
    rig.start(kVersion1);
    for (uint64_t number = 0; number < 12; ++number) {
        rig.offer(0, number, 100);
        if (number % 3 == 0) {
            rig.watch();
            rig.side().kick(0);
            rig.move();
        }
        rig.side().kick(0);
        std::vector<std::string> got;
        EXPECT_TRUE(eventually([&] { return !(got = rig.take(0)).empty(); }));
        ASSERT_EQ(got.size(), 1U);
        EXPECT_EQ(got[0].size(), 100U);
        EXPECT_NE(got[0], std::string(100, '\0'));
    }
}

TYPED_TEST(DeviceState, EveryFrameArrivesOnceAndInOrder) {
    Wire wire{SOCK_SEQPACKET};
    Rig<TypeParam> rig{2, wire.net(false)};
    rig.start(kVersion1 | feature(VIRTIO_NET_F_MRG_RXBUF));
    uint64_t offered = 0;
    for (; offered < 10; ++offered) {
        rig.offer(0, offered);
    }
    uint64_t sent = 0;
    uint64_t arrived = 0;
    uint64_t received = 0;
    uint64_t departed = 0;
    for (int round = 0; round < 20; ++round) {
        for (const uint64_t last = sent + 3; sent < last; ++sent) {
            rig.send(1, sent, frame(sent));
            const std::string coming = frame(1000 + sent);
            ASSERT_EQ(write(wire.far_end.get(), coming.data(), coming.size()),
                      static_cast<ssize_t>(coming.size()));
            ++departed;
        }
        rig.watch();
        rig.side().kick(1);
        rig.side().kick(0);
        round % 4 == 0 ? rig.pause() : rig.move();
        if (round % 4 == 0) {
            rig.resume();
        }
        EXPECT_TRUE(eventually([&] {
            std::array<char, 2000> buffer{};
            for (ssize_t size = 0; (size = read(wire.far_end.get(), buffer.data(), buffer.size())) > 0;) {
                EXPECT_EQ((std::string{buffer.data(), static_cast<size_t>(size)}), frame(arrived));
                ++arrived;
            }
            for (const std::string& text : rig.take(0)) {
                EXPECT_EQ(text.substr(12), frame(1000 + received).substr(12));
                ++received;
                rig.offer(0, offered++);
            }
            return arrived == sent && received == departed;
        })) << arrived
            << " of " << sent << ", " << received << " of " << departed;
        rig.take(1);
    }
}

TYPED_TEST(DeviceState, TheDriversPairsOfQueuesStayInUse) {
    Wire first{SOCK_SEQPACKET};
    Wire second{SOCK_SEQPACKET};
    Rig<TypeParam> rig{5, [&] {
                           std::vector<NetLink> links(2);
                           links[0].fd = UniqueFd{fcntl(first.device.get(), F_DUPFD_CLOEXEC, 0)};
                           links[1].fd = UniqueFd{fcntl(second.device.get(), F_DUPFD_CLOEXEC, 0)};
                           return std::make_unique<Net>(NetSettings{.name = "net"}, std::move(links));
                       }};
    rig.start(kVersion1 | feature(VIRTIO_NET_F_MQ) | feature(VIRTIO_NET_F_CTRL_VQ));
    const auto pairs = [&] {
        StateWriter state;
        rig.device().save(state);
        return StateReader{state.bytes()}.get<uint16_t>();
    };
    rig.pause();
    EXPECT_EQ(pairs(), 1);
    rig.resume();
    rig.put(rig.data_at(4, 0), std::string{VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, 0});
    const test::Buffer command[] = {{rig.data_at(4, 0), 4, false}, {rig.data_at(4, 1), 1, true}};
    rig.add(4, command, 0);
    rig.side().kick(4);
    ASSERT_TRUE(eventually([&] { return !rig.take(4).empty(); }));
    rig.pause();
    EXPECT_EQ(pairs(), 2);
    rig.resume();
    rig.move();
    rig.pause();
    EXPECT_EQ(pairs(), 2);
    rig.resume();
    rig.send(3, 0, frame(7));
    rig.side().kick(3);
    std::array<char, 100> got{};
    EXPECT_TRUE(eventually([&] { return read(second.far_end.get(), got.data(), got.size()) > 0; }));
    rig.side().negotiate(kVersion1);
    EXPECT_EQ(pairs(), 1) << "until the next driver asks for more";
}

TYPED_TEST(DeviceState, AResetInTheMiddleOfAFrameLosesNotTheStreamsPlace) {
    Wire wire{SOCK_STREAM};
    Rig<TypeParam> rig{2, wire.net(true)};
    const auto start = [&] {
        rig.clear_queues();
        rig.start(kVersion1);
        rig.offer(0, 0);
        rig.offer(0, 1);
        rig.side().kick(0);
    };
    const auto arrive = [&](std::string_view bytes) {
        ASSERT_EQ(write(wire.far_end.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    };
    using namespace std::string_view_literals;
    start();
    arrive(
        "\0\0\0\x05"
        "first"
        "\0\0\0\x06"
        "sec"sv);
    std::vector<std::string> got;
    ASSERT_TRUE(eventually([&] { return !(got = rig.take(0)).empty(); }));
    EXPECT_EQ(got[0].substr(12), "first");
    start();
    arrive(
        "ond"
        "\0\0\0\x05"
        "third"sv);
    got.clear();
    ASSERT_TRUE(eventually([&] {
        const auto more = rig.take(0);
        got.insert(got.end(), more.begin(), more.end());
        return got.size() == 2;
    }));
    EXPECT_EQ(got[0].substr(12), "second");
    EXPECT_EQ(got[1].substr(12), "third");
}

TYPED_TEST(DeviceState, APortStaysOpenAndItsBytesComeOnce) {
    PipePort port;
    Rig<TypeParam> rig{
        6, [&] {
            return std::make_unique<Console>(std::vector<NamedPort>{{.name = "port", .host = *port.host}});
        }};
    rig.start(kVersion1 | feature(VIRTIO_CONSOLE_F_MULTIPORT));
    for (uint64_t number = 0; number < 8; ++number) {
        rig.offer(2, number);
        rig.offer(4, number);
    }
    rig.side().kick(2);
    uint64_t messages = 0;
    const auto tell = [&](uint32_t id, uint16_t event) {
        rig.send(3, messages++, control(id, event, 1));
        rig.side().kick(3);
        EXPECT_TRUE(eventually([&] { return !rig.take(3).empty(); }));
    };
    tell(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY);
    rig.move();
    tell(1, VIRTIO_CONSOLE_PORT_READY);
    rig.move();
    tell(1, VIRTIO_CONSOLE_PORT_OPEN);
    // What was told, and once: that there is the port, its name, and that somebody is there.
    std::vector<std::string> told;
    EXPECT_TRUE(eventually([&] {
        const auto more = rig.take(2);
        told.insert(told.end(), more.begin(), more.end());
        return told.size() >= 3;
    }));
    ASSERT_EQ(told.size(), 3U);
    EXPECT_EQ(told[2], control(1, VIRTIO_CONSOLE_PORT_OPEN, 1));

    std::string all;
    std::string got;
    for (uint64_t number = 0; number < 8; ++number) {
        // More than a pipe takes whole or not at all.
        const std::string text = std::string(6000, static_cast<char>('a' + number));
        all += text;
        rig.send(5, 2 * number, text);
        rig.watch();
        rig.side().kick(5);
        std::this_thread::sleep_for(5ms);  // else it has mostly not begun
        number % 2 == 0 ? rig.move() : rig.pause();
        if (number % 2 == 1) {
            rig.resume();
        }
        if (number % 3 == 2) {
            got += port.read_all();
        }
    }
    EXPECT_TRUE(eventually([&] { return (got += port.read_all()).size() >= all.size(); }));
    EXPECT_EQ(got, all);
    ASSERT_EQ(write(port.to_guest[1].get(), "input", 5), 5);
    std::vector<std::string> input;
    EXPECT_TRUE(eventually([&] { return !(input = rig.take(4)).empty(); }));
    EXPECT_EQ(input, std::vector<std::string>{"input"});
    EXPECT_TRUE(rig.take(2).empty()) << "told again";
}

TYPED_TEST(DeviceState, StreamsGoOnAfterAPauseAndAreToldToHaveEndedElsewhere) {
    const test::TemporaryFolder directory;
    const std::string path = directory.path() / "vsock";
    const UniqueFd listener = test::listen_unix(path, SOCK_NONBLOCK);
    const UniqueFd program = test::listen_unix(path + "_80", SOCK_NONBLOCK);
    Rig<TypeParam> rig{3, [&] {
                           return std::make_unique<Vsock>(
                               VsockSettings{.cid = test::VsockDriver::kCid, .connect = connect_beside(path)},
                               UniqueFd{fcntl(listener.get(), F_DUPFD_CLOEXEC, 0)});
                       }};
    rig.start(kVersion1);
    for (uint64_t number = 0; number < 8; ++number) {
        rig.offer(0, number);
        rig.offer(2, number, sizeof(virtio_vsock_event));
    }
    VsockHeader header = test::VsockDriver::header(VIRTIO_VSOCK_OP_REQUEST, 1000, 80);
    rig.send(1, 0, packet(header));
    rig.side().kick(1);
    UniqueFd stream;
    ASSERT_TRUE(eventually([&] {
        stream = UniqueFd{accept4(program.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        return stream.valid();
    }));
    std::vector<std::string> got;
    ASSERT_TRUE(eventually([&] { return !(got = rig.take(0)).empty(); }));

    // More than a buffer holds, so that more of them are taken than are filled.
    const std::string much(2 * (kPage - sizeof header), 'm');
    EXPECT_EQ(write(stream.get(), much.data(), much.size()), static_cast<ssize_t>(much.size()));
    std::string came;
    ASSERT_TRUE(eventually([&] {
        for (const std::string& text : rig.take(0)) {
            came += text.substr(sizeof header);
        }
        return came.size() >= much.size();
    }));
    EXPECT_EQ(came, much);

    rig.watch();
    rig.pause();
    EXPECT_EQ(write(stream.get(), "down", 4), 4);
    header.op = VIRTIO_VSOCK_OP_RW;
    header.len = 2;
    rig.send(1, 1, packet(header, "up"));
    rig.resume();
    ASSERT_TRUE(eventually([&] { return !(got = rig.take(0)).empty(); }));
    EXPECT_EQ(got[0].substr(sizeof header), "down");
    rig.side().kick(1);
    std::array<char, 8> up{};
    EXPECT_TRUE(eventually([&] { return read(stream.get(), up.data(), up.size()) == 2; }));
    EXPECT_TRUE(rig.take(2).empty());

    rig.watch();
    rig.move();
    std::vector<std::string> events;
    EXPECT_TRUE(eventually([&] { return !(events = rig.take(2)).empty(); }));
    EXPECT_EQ(events, std::vector<std::string>{std::string(4, '\0')}) << "VIRTIO_VSOCK_EVENT_TRANSPORT_RESET";
    EXPECT_TRUE(eventually([&] { return read(stream.get(), up.data(), up.size()) == 0; }));
    rig.move();
    EXPECT_EQ(rig.take(2).size(), 1U);
}

}  // namespace
}  // namespace hull::virtio
