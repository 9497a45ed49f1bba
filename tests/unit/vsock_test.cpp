// The socket device's streams between a guest's driver and unix sockets.
#include "devices/vsock/vsock.h"

#include <gtest/gtest.h>
#include <linux/virtio_ids.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "tests/support/fake_devices.h"
#include "tests/support/files.h"
#include "tests/support/mmio_driver.h"
#include "tests/support/sockets.h"
#include "tests/support/vsock_streams.h"

namespace hull::virtio {
namespace {

using test::kGuestPort;
using test::kHostPort;
using test::kRoom;
using test::Ops;
using test::ops;
using test::Packets;
using test::payloads;
using test::readable;
using test::VsockDriver;
using test::VsockPacket;
using test::VsockTest;

TEST_F(VsockTest, AGuestsStreamReachesTheProgramThatListens) {
    const UniqueFd host = open_stream();
    driver_.send(data(5), "hello");
    EXPECT_EQ(ops(run()), Ops{});
    EXPECT_EQ(readable(host), "hello");
    test::write_all(host.get(), "good day");
    const Packets packets = run();
    ASSERT_EQ(ops(packets), Ops{VIRTIO_VSOCK_OP_RW});
    const VsockHeader& got = packets[0].header;
    EXPECT_EQ(packets[0].payload, "good day");
    EXPECT_EQ(uint64_t{got.src_cid}, uint64_t{VMADDR_CID_HOST});
    EXPECT_EQ(uint64_t{got.dst_cid}, uint64_t{VsockDriver::kCid});
    EXPECT_EQ(uint32_t{got.src_port}, kHostPort);
    EXPECT_EQ(uint32_t{got.dst_port}, kGuestPort);
    EXPECT_EQ(uint32_t{got.len}, 8U);
    EXPECT_EQ(uint16_t{got.type}, VIRTIO_VSOCK_TYPE_STREAM);
    EXPECT_EQ(uint32_t{got.buf_alloc}, kRoom);
    EXPECT_EQ(uint32_t{got.fwd_cnt}, 5U);
    EXPECT_GT(driver_.calls().interrupts[0], 0);
    EXPECT_GT(driver_.calls().interrupts[1], 0);
}

TEST_F(VsockTest, AGuestIsRefusedWhereNobodyListens) {
    driver_.send(header(VIRTIO_VSOCK_OP_REQUEST, 1, 2));
    const Packets packets = run();
    ASSERT_EQ(ops(packets), Ops{VIRTIO_VSOCK_OP_RST});
    EXPECT_EQ(uint32_t{packets[0].header.src_port}, 2U);
    EXPECT_EQ(uint32_t{packets[0].header.dst_port}, 1U);
    EXPECT_EQ(driver_.connections().size(), 0U);
}

TEST_F(VsockTest, AHostProgramReachesAPortOfTheGuests) {
    const UniqueFd host = test::connect_unix(path_, SOCK_NONBLOCK);
    test::write_all(host.get(), "CONN");
    EXPECT_EQ(ops(run()), Ops{}) << "half a line";
    test::write_all(host.get(), "ECT 80\nearly");
    Packets packets = run();
    ASSERT_EQ(ops(packets), Ops{VIRTIO_VSOCK_OP_REQUEST});
    const uint32_t port = packets[0].header.src_port;
    EXPECT_EQ(uint32_t{packets[0].header.dst_port}, 80U);
    EXPECT_EQ(readable(host), "") << "before the guest has accepted";
    driver_.send(header(VIRTIO_VSOCK_OP_RESPONSE, 80, port));
    packets = run();
    EXPECT_EQ(readable(host), "OK " + std::to_string(port) + "\n");
    EXPECT_EQ(payloads(packets), "early") << "what came behind the line";
    driver_.send(
        [&] {
            VsockHeader rw = header(VIRTIO_VSOCK_OP_RW, 80, port);
            rw.len = 6;
            return rw;
        }(),
        "answer");
    run();
    EXPECT_EQ(readable(host), "answer");

    // A second one gets another port.
    const UniqueFd second = test::connect_unix(path_, SOCK_NONBLOCK);
    test::write_all(second.get(), "CONNECT 80\n");
    packets = run();
    ASSERT_EQ(ops(packets), Ops{VIRTIO_VSOCK_OP_REQUEST});
    EXPECT_NE(uint32_t{packets[0].header.src_port}, port);
    // ... and is refused.
    driver_.send(header(VIRTIO_VSOCK_OP_RST, 80, packets[0].header.src_port));
    EXPECT_EQ(ops(run()), Ops{});
    EXPECT_EQ(readable(second), "(end)");
    EXPECT_EQ(driver_.connections().size(), 1U);
}

TEST_F(VsockTest, WhatIsNoGreetingEndsTheConnection) {
    for (const std::string text :
         {"\n", "CONNECT\n", "CONNECT \n", "CONNECT x\n", "CONNECT -1\n", "CONNECT 1 \n",
          "CONNECT 4294967296\n", "connect 1\n", "OK 1\n", "CONNECT 00000000000000000000000001\n",
          "GET / HTTP/1.1 and more and more"}) {
        const UniqueFd host = test::connect_unix(path_, SOCK_NONBLOCK);
        test::write_all(host.get(), text);
        EXPECT_EQ(ops(run()), Ops{}) << text;
        EXPECT_EQ(readable(host), "(end)") << text;
    }
    {
        const UniqueFd host = test::connect_unix(path_, SOCK_NONBLOCK);
        test::write_all(host.get(), "CONNECT 1");
        shutdown(host.get(), SHUT_WR);
        run();
        EXPECT_EQ(readable(host), "(end)");
    }
    test::connect_unix(path_, SOCK_NONBLOCK);  // and goes again without a word
    run();
    EXPECT_EQ(driver_.connections().size(), 0U);
}

TEST_F(VsockTest, AHostProgramThatLeavesBeforeTheAnswerIsToldAsReset) {
    uint32_t port = 0;
    {
        const UniqueFd host = test::connect_unix(path_, SOCK_NONBLOCK);
        test::write_all(host.get(), "CONNECT 80\n");
        const Packets packets = run();
        ASSERT_EQ(ops(packets), Ops{VIRTIO_VSOCK_OP_REQUEST});
        port = packets[0].header.src_port;
    }
    const Packets packets = run();
    ASSERT_EQ(ops(packets), Ops{VIRTIO_VSOCK_OP_RST});
    EXPECT_EQ(uint32_t{packets[0].header.src_port}, port);
    EXPECT_EQ(uint32_t{packets[0].header.dst_port}, 80U);
    driver_.send(header(VIRTIO_VSOCK_OP_RESPONSE, 80, port));
    EXPECT_EQ(ops(run()), Ops{VIRTIO_VSOCK_OP_RST}) << "an answer that comes too late";
}

TEST_F(VsockTest, MuchIsCutIntoTheGuestsBuffersAndWaitsForThem) {
    const UniqueFd host = open_stream();
    std::string text;
    for (int i = 0; i < 15000; ++i) {
        text += static_cast<char>(i * 7);
    }
    test::write_all(host.get(), text);
    Packets packets = driver_.run();
    EXPECT_EQ(ops(packets), Ops(4, VIRTIO_VSOCK_OP_RW));
    EXPECT_EQ(payloads(packets), text);
    EXPECT_EQ(packets[0].payload.size(), VsockDriver::kBuffer - sizeof(VsockHeader));
    // With what buffers there are, and the rest with the next.
    driver_.send([] {
        VsockHeader update = header(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
        update.fwd_cnt = 15000;
        return update;
    }());
    std::string more(60000, 'm');
    test::write_all(host.get(), more);
    packets = driver_.run();
    EXPECT_EQ(packets.size(), 12U);
    driver_.offer(4);
    Packets rest = driver_.run();
    EXPECT_EQ(payloads(packets) + payloads(rest), more);
}

TEST_F(VsockTest, TheGuestsCreditIsNeverExceeded) {
    VsockHeader request = header(VIRTIO_VSOCK_OP_REQUEST);
    request.buf_alloc = 10;
    const UniqueFd host = open_stream(request);
    test::write_all(host.get(), "0123456789abcdef");
    Packets packets = run();
    EXPECT_EQ(payloads(packets), "0123456789");
    EXPECT_EQ(ops(packets), (Ops{VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_OP_CREDIT_REQUEST})) << "asked once";
    EXPECT_EQ(ops(run()), Ops{});
    VsockHeader update = header(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    update.buf_alloc = 10;
    update.fwd_cnt = 0;
    driver_.send(update);
    EXPECT_EQ(ops(run()), Ops{}) << "an answer that there is still none is no reason to ask again";
    update.fwd_cnt = 4;
    driver_.send(update);
    EXPECT_EQ(payloads(run()), "abcd");
    // Less room than is under way, or more taken than was sent: nothing may be sent.
    update.buf_alloc = 2;
    driver_.send(update);
    EXPECT_EQ(payloads(run()), "");
    update.buf_alloc = 10;
    update.fwd_cnt = 1000;
    driver_.send(update);
    EXPECT_EQ(payloads(run()), "");
    update.fwd_cnt = 14;
    driver_.send(update);
    EXPECT_EQ(payloads(run()), "ef");
}

TEST_F(VsockTest, TheGuestIsToldOfItsCreditAndHeldToIt) {
    const UniqueFd host = open_stream();
    driver_.send(header(VIRTIO_VSOCK_OP_CREDIT_REQUEST));
    Packets packets = run();
    ASSERT_EQ(ops(packets), Ops{VIRTIO_VSOCK_OP_CREDIT_UPDATE});
    EXPECT_EQ(uint32_t{packets[0].header.buf_alloc}, kRoom);
    EXPECT_EQ(uint32_t{packets[0].header.fwd_cnt}, 0U);

    // As long as the program reads, the guest can go on for ever.
    const std::string part(0x8000, 'p');
    uint32_t sent = 0;
    uint32_t told = 0;
    std::string got;
    for (int i = 0; i < 100; ++i) {
        ASSERT_LE(sent + part.size() - told, kRoom) << "the guest had to wait for credit";
        driver_.send(data(static_cast<uint32_t>(part.size())), part);
        sent += static_cast<uint32_t>(part.size());
        for (const VsockPacket& packet : run()) {
            EXPECT_EQ(packet.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
            told = packet.header.fwd_cnt;
        }
        got += readable(host);
    }
    EXPECT_EQ(got.size(), sent);

    // When it does not read: until the promised room is full, which includes what the socket holds.
    int taken = 0;
    bool reset = false;
    while (taken < 100 && !reset) {
        driver_.send(data(static_cast<uint32_t>(part.size())), part);
        for (const VsockPacket& packet : run()) {
            reset = packet.header.op == VIRTIO_VSOCK_OP_RST;
        }
        taken += reset ? 0 : 1;
    }
    EXPECT_TRUE(reset);
    EXPECT_GE(taken, static_cast<int>(kRoom / part.size()) - 4);
    // What was in order still arrives, behind which there is the end.
    std::string rest;
    while (!rest.ends_with("(end)") && rest.size() < kRoom * 4) {
        rest += readable(host);
        run();
    }
    EXPECT_EQ(rest.size(), static_cast<size_t>(taken) * part.size() + 5);
    expect_others_work();
    EXPECT_EQ(driver_.connections().size(), 0U);
}

TEST_F(VsockTest, HalvesAreClosedApart) {
    {
        // The guest ends its direction.
        const UniqueFd host = open_stream();
        driver_.send(data(4), "last");
        driver_.send(shutdown_of(VIRTIO_VSOCK_SHUTDOWN_SEND));
        EXPECT_EQ(ops(run()), Ops{});
        EXPECT_EQ(readable(host), "last(end)");
        test::write_all(host.get(), "still");
        EXPECT_EQ(payloads(run()), "still");
        driver_.send(shutdown_of(VIRTIO_VSOCK_SHUTDOWN_RCV));
        EXPECT_EQ(ops(run()), Ops{VIRTIO_VSOCK_OP_RST}) << "hints add up";
        EXPECT_EQ(driver_.connections().size(), 0U);
    }
    {
        // The host ends its own.
        const UniqueFd host = open_stream();
        test::write_all(host.get(), "last");
        shutdown(host.get(), SHUT_WR);
        const Packets packets = run();
        ASSERT_EQ(ops(packets), (Ops{VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_OP_SHUTDOWN}));
        EXPECT_EQ(uint32_t{packets[1].header.flags}, uint32_t{VIRTIO_VSOCK_SHUTDOWN_SEND});
        driver_.send(data(5), "still");
        EXPECT_EQ(ops(run()), Ops{});
        EXPECT_EQ(readable(host), "still");
        driver_.send(shutdown_of(kVsockShutdownBoth));
        EXPECT_EQ(ops(run()), Ops{VIRTIO_VSOCK_OP_RST});
        EXPECT_EQ(readable(host), "(end)");
    }
    {
        // The guest does not want to receive any more: the host's program gets an error.
        const UniqueFd host = open_stream();
        driver_.send(shutdown_of(VIRTIO_VSOCK_SHUTDOWN_RCV));
        run();
        EXPECT_EQ(send(host.get(), "x", 1, MSG_NOSIGNAL), -1);
        driver_.send(data(5), "still");
        run();
        EXPECT_EQ(readable(host), "still");
        driver_.send(header(VIRTIO_VSOCK_OP_RST));
        run();
    }
    {
        // The host's program does not want to.
        const UniqueFd host = open_stream();
        shutdown(host.get(), SHUT_RD);
        driver_.send(data(5), "lost!");
        const Packets packets = run();
        ASSERT_EQ(ops(packets), Ops{VIRTIO_VSOCK_OP_SHUTDOWN});
        EXPECT_EQ(uint32_t{packets[0].header.flags}, uint32_t{VIRTIO_VSOCK_SHUTDOWN_RCV});
        test::write_all(host.get(), "still");
        EXPECT_EQ(payloads(run()), "still");
        driver_.send(header(VIRTIO_VSOCK_OP_RST));
        run();
    }
    EXPECT_EQ(driver_.connections().size(), 0U);
}

TEST_F(VsockTest, AProgramThatClosesIsToldOnceAllThatItSentIsThere) {
    VsockHeader request = header(VIRTIO_VSOCK_OP_REQUEST);
    request.buf_alloc = 4;
    UniqueFd host = open_stream(request);
    test::write_all(host.get(), "12345678");
    host.reset();
    Packets packets = run();
    EXPECT_EQ(payloads(packets), "1234");
    VsockHeader update = header(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    update.buf_alloc = 4;
    update.fwd_cnt = 4;
    driver_.send(update);
    packets = run();
    EXPECT_EQ(payloads(packets), "5678");
    update.fwd_cnt = 8;
    driver_.send(update);
    packets = run();
    ASSERT_FALSE(packets.empty());
    EXPECT_EQ(packets.back().header.op, VIRTIO_VSOCK_OP_SHUTDOWN);
    EXPECT_EQ(uint32_t{packets.back().header.flags}, kVsockShutdownBoth);
    // What the guest sends before it has seen that goes to nobody, and costs nothing.
    const std::string part(0x8000, 'p');
    for (int i = 0; i < 20; ++i) {
        driver_.send(data(static_cast<uint32_t>(part.size())), part);
        for (const VsockPacket& packet : run()) {
            EXPECT_EQ(packet.header.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
        }
    }
    driver_.send(header(VIRTIO_VSOCK_OP_RST));
    EXPECT_EQ(ops(run()), Ops{});
    EXPECT_EQ(driver_.connections().size(), 0U);
}

TEST_F(VsockTest, WhatAGuestSentBeforeItsEndStillArrivesAndItsPortIsFreeAtOnce) {
    const std::string part(0x8000, 'p');
    const UniqueFd host = open_stream();
    for (uint32_t sent = 0; sent + part.size() <= kRoom; sent += static_cast<uint32_t>(part.size())) {
        driver_.send(data(static_cast<uint32_t>(part.size())), part);
        run();
    }
    driver_.send(shutdown_of(kVsockShutdownBoth));
    EXPECT_EQ(ops(run()), Ops{VIRTIO_VSOCK_OP_RST});
    const UniqueFd next = open_stream();
    driver_.send(data(4), "next");
    run();
    EXPECT_EQ(readable(next), "next");
    std::string got;
    for (int turn = 0; turn < 100 && !got.ends_with("(end)"); ++turn) {
        got += readable(host);
        run();
    }
    EXPECT_EQ(got.size(), kRoom + 5);
    EXPECT_EQ(driver_.connections().size(), 1U);
}

TEST(Vsock, RunsBehindATransportAndEndsItsStreamsByAReset) {
    const test::TemporaryFolder folder;
    const std::string path = folder.path() / "vsock";
    MadeFiles made;
    Vsock device{{.cid = 0xffff'fffe, .connect = connect_beside(path)}, made.listen_at(path)};
    const GuestRange ranges[] = {GuestRange::of(0, 0x20000)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    test::CountingIrqLine irq;
    MmioTransport transport{device, memory, irq, "vsock"};
    test::MmioDriver registers{transport};
    EXPECT_EQ(registers.get(VIRTIO_MMIO_DEVICE_ID), static_cast<uint32_t>(VIRTIO_ID_VSOCK));
    EXPECT_EQ(registers.get(VIRTIO_MMIO_CONFIG), 0xffff'fffeU);
    EXPECT_EQ(registers.get(VIRTIO_MMIO_CONFIG + 4), 0U);
    EXPECT_EQ(transport.queue_count(), 3U);
    for (int round = 0; round < 3; ++round) {
        ASSERT_TRUE(memory.discard(GuestRange::of(0, 0x20000)));
        test::DriverQueue receive{memory, 0x1000, 16};
        test::DriverQueue transmit{memory, 0x4000, 16};
        test::DriverQueue event{memory, 0x7000, 16};
        registers.negotiate(test::kVersion1);
        registers.set_queue(0, receive.config());
        registers.set_queue(1, transmit.config());
        registers.set_queue(2, event.config());
        const test::Buffer buffers[] = {{0x8000, 0x1000, true}};
        receive.add(buffers);
        registers.start();
        const UniqueFd host = test::connect_unix(path, SOCK_NONBLOCK);
        test::write_all(host.get(), "CONNECT 80\n");
        for (int wait = 0; wait < 10'000 && irq.count() == round; ++wait) {
            usleep(1000);
        }
        const auto header = memory.read<VsockHeader>(GuestAddress{0x8000}).value();
        EXPECT_EQ(header.op, VIRTIO_VSOCK_OP_REQUEST);
        registers.set(VIRTIO_MMIO_STATUS, 0);
        EXPECT_EQ(readable(host), "(end)");
    }
}

}  // namespace
}  // namespace hull::virtio
