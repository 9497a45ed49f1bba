// Devices whose queues are reset while they serve them (VIRTIO 1.2, 2.6.1), on each transport: the other
// queues go on, what the driver has set otherwise stays, and nobody but the device suffers from a hostile
// order.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/virtio_console.h>
#include <linux/virtio_vsock.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "devices/console/console.h"
#include "devices/vsock/vsock.h"
#include "tests/support/device_rig.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"
#include "tests/support/vsock_driver.h"

namespace hull::virtio {
namespace {

using test::carries_frames;
using test::control;
using test::eventually;
using test::frame;
using test::kReset;
using test::kVersion1;
using test::packet;
using test::PipePort;
using test::read_some;
using test::Rig;
using test::Wire;

template <typename Transport>
class DeviceQueueReset : public testing::Test {};
using Transports = testing::Types<test::MmioSide, test::PciSide>;
TYPED_TEST_SUITE(DeviceQueueReset, Transports);

TYPED_TEST(DeviceQueueReset, APairOfANetworkDeviceBeginsAnewAndTheOtherGoesOn) {
    Wire wires[] = {Wire{SOCK_SEQPACKET}, Wire{SOCK_SEQPACKET}};
    Rig<TypeParam> rig{5, [&] {
                           std::vector<NetLink> links(2);
                           for (size_t pair = 0; pair < 2; ++pair) {
                               links[pair].fd = UniqueFd{fcntl(wires[pair].device.get(), F_DUPFD_CLOEXEC, 0)};
                           }
                           return std::make_unique<Net>(NetSettings{.name = "net"}, std::move(links));
                       }};
    rig.start(kVersion1 | kReset | feature(VIRTIO_NET_F_MQ) | feature(VIRTIO_NET_F_CTRL_VQ) |
              feature(VIRTIO_NET_F_MRG_RXBUF));
    const auto use_two_pairs = [&](uint64_t number) {
        rig.put(rig.data_at(4, 2 * number),
                std::string{VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, 0});
        const test::Buffer command[] = {{rig.data_at(4, 2 * number), 4, false},
                                        {rig.data_at(4, 2 * number + 1), 1, true}};
        rig.add(4, command, 2 * number);
        rig.side().kick(4);
        return eventually([&] { return rig.take(4).size() == 1; });
    };
    const auto pairs = [&] {
        rig.pause();
        StateWriter state;
        rig.device().save(state);
        rig.resume();
        return StateReader{state.bytes()}.get<uint16_t>();
    };
    ASSERT_TRUE(use_two_pairs(0));
    EXPECT_TRUE(carries_frames(rig, wires[0], 0, 0));
    EXPECT_TRUE(carries_frames(rig, wires[1], 1, 0));

    // Buffers that are waiting to be filled are the driver's again.
    for (const uint64_t number : {1U, 2U, 3U}) {
        rig.offer(2, number);
    }
    rig.side().kick(2);
    rig.reset_queue(2, 16, 0);
    EXPECT_TRUE(carries_frames(rig, wires[0], 0, 1)) << "while the other pair has no receive queue";
    const std::string waits = frame(77);
    EXPECT_EQ(write(wires[1].far_end.get(), waits.data(), waits.size()), static_cast<ssize_t>(waits.size()));
    rig.reset_queue(3, 17);
    rig.reset_queue(2, 18, 8);
    rig.offer(2, 0);
    rig.side().kick(2);
    std::vector<std::string> came;
    ASSERT_TRUE(eventually([&] { return !(came = rig.take(2)).empty(); })) << "what waited is lost";
    EXPECT_EQ(came[0].substr(12), waits.substr(12));
    EXPECT_TRUE(carries_frames(rig, wires[1], 1, 1));
    EXPECT_EQ(pairs(), 2) << "as the driver has set";
    EXPECT_TRUE(carries_frames(rig, wires[0], 0, 2));
    rig.reset_queue(4, 19);
    EXPECT_TRUE(use_two_pairs(1));
    EXPECT_TRUE(carries_frames(rig, wires[1], 1, 2));
}

TYPED_TEST(DeviceQueueReset, StreamsOfASocketDeviceGoOn) {
    const test::TemporaryFolder folder;
    const std::string path = folder.path() / "vsock";
    const UniqueFd listener = test::listen_unix(path, SOCK_NONBLOCK);
    const UniqueFd program = test::listen_unix(path + "_80", SOCK_NONBLOCK);
    Rig<TypeParam> rig{3, [&] {
                           return std::make_unique<Vsock>(
                               VsockSettings{.cid = test::VsockDriver::kCid, .connect = connect_beside(path)},
                               UniqueFd{fcntl(listener.get(), F_DUPFD_CLOEXEC, 0)});
                       }};
    rig.start(kVersion1 | kReset);
    rig.offer(0, 0);
    VsockHeader header = test::VsockDriver::header(VIRTIO_VSOCK_OP_REQUEST, 1000, 80);
    rig.send(1, 0, packet(header));
    rig.side().kick(1);
    UniqueFd stream;
    ASSERT_TRUE(eventually([&] {
        stream = UniqueFd{accept4(program.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        return stream.valid();
    }));
    ASSERT_TRUE(eventually([&] { return !rig.take(0).empty(); }));

    // Without buffers what the program sends waits, over resets of each queue, the last of them elsewhere.
    ASSERT_EQ(write(stream.get(), "down", 4), 4);
    rig.side().kick(1);
    rig.reset_queue(2, 16);
    rig.reset_queue(0, 17, 0);
    header.op = VIRTIO_VSOCK_OP_RW;
    header.len = 2;
    rig.send(1, 1, packet(header, "up"));
    rig.side().kick(1);
    rig.reset_queue(0, 18, 8);
    std::string up;
    EXPECT_TRUE(eventually([&] { return (up += read_some(stream.get())).size() >= 2; })) << up;
    rig.reset_queue(1, 19);
    rig.offer(0, 0);
    rig.offer(0, 1);
    rig.side().kick(0);
    std::string down;
    EXPECT_TRUE(eventually([&] {
        for (const std::string& text : rig.take(0)) {
            down += text.substr(sizeof header);
        }
        return down.size() >= 4;
    }));
    EXPECT_EQ(down, "down");
    rig.send(1, 0, packet(header, "UP"));
    rig.side().kick(1);
    EXPECT_TRUE(eventually([&] { return (up += read_some(stream.get())).size() >= 4; }));
    EXPECT_EQ(up, "upUP");
    EXPECT_EQ(rig.side().status(), test::kReadyToStart | VIRTIO_CONFIG_S_DRIVER_OK);
}

TYPED_TEST(DeviceQueueReset, APortStaysOpenAndKnown) {
    PipePort port;
    Rig<TypeParam> rig{
        6, [&] {
            return std::make_unique<Console>(std::vector<NamedPort>{{.name = "port", .host = *port.host}});
        }};
    rig.start(kVersion1 | kReset | feature(VIRTIO_CONSOLE_F_MULTIPORT));
    for (uint64_t number = 0; number < 4; ++number) {
        rig.offer(2, number);
    }
    rig.side().kick(2);
    uint64_t messages = 0;
    for (const auto& [id, event] :
         {std::pair<uint32_t, uint16_t>{VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY},
          {1, VIRTIO_CONSOLE_PORT_READY},
          {1, VIRTIO_CONSOLE_PORT_OPEN}}) {
        rig.send(3, messages++, control(id, event, 1));
        rig.side().kick(3);
        ASSERT_TRUE(eventually([&] { return !rig.take(3).empty(); }));
    }
    size_t told = 0;
    ASSERT_TRUE(eventually([&] { return (told += rig.take(2).size()) >= 3; }));

    ASSERT_EQ(write(port.to_guest[1].get(), "input", 5), 5);
    for (const uint16_t queue : std::initializer_list<uint16_t>{0, 1, 2, 3, 4}) {
        rig.reset_queue(queue, 16U + queue);
    }
    rig.send(5, 0, "output");
    rig.side().kick(5);
    std::string got;
    EXPECT_TRUE(eventually([&] { return (got += port.read_all()).size() >= 6; }));
    rig.reset_queue(5, 21);
    rig.send(5, 0, " and more");
    rig.side().kick(5);
    EXPECT_TRUE(eventually([&] { return (got += port.read_all()).size() >= 15; }));
    EXPECT_EQ(got, "output and more");
    rig.offer(4, 0);
    rig.side().kick(4);
    std::vector<std::string> input;
    EXPECT_TRUE(eventually([&] { return !(input = rig.take(4)).empty(); })) << "the port is shut";
    EXPECT_EQ(input, std::vector<std::string>{"input"});
    rig.offer(2, 0);
    rig.side().kick(2);
    EXPECT_TRUE(rig.take(2).empty()) << "told again";
}

}  // namespace
}  // namespace hull::virtio
