// What a guest or a program of the host's can do to the socket device's streams, and what it costs them.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <vector>

#include "devices/vsock/connections.h"
#include "devices/vsock/host_socket.h"
#include "tests/support/vsock_streams.h"

namespace hull::virtio {
namespace {

using test::kGuestPort;
using test::kHostPort;
using test::kRoom;
using test::Ops;
using test::ops;
using test::Packets;
using test::readable;
using test::VsockDriver;

class VsockHostileTest : public test::VsockTest {};

TEST_F(VsockHostileTest, AFloodIsBounded) {
    const UniqueFd host = open_stream();
    // Without buffers for the answers no more is taken after a while.
    unsigned sent = 0;
    size_t answers = 0;
    const unsigned before = driver_.taken_back();
    for (; sent < 3000 && sent - (driver_.taken_back() - before) < 8; ++sent) {
        driver_.send(header(VIRTIO_VSOCK_OP_RW, 9, 9));
        answers += driver_.run().size();
    }
    EXPECT_LT(sent, 3000U) << "the device takes packets without end";
    EXPECT_EQ(answers, VsockDriver::kQueueSize);
    EXPECT_LE(driver_.connections().waiting(), VsockConnections::kMostResets);
    // Once there are buffers again, all is answered.
    driver_.offer(static_cast<int>(answers));
    for (int turn = 0; turn < 100; ++turn) {
        answers += run().size();
    }
    EXPECT_EQ(answers, sent);
    EXPECT_EQ(driver_.connections().waiting(), 0U);
    expect_others_work();
}

TEST_F(VsockHostileTest, AFloodOfStreamsThatEndAtOnceIsBounded) {
    server_ = test::listen_unix(path_ + "_" + std::to_string(kHostPort), SOCK_NONBLOCK);
    driver_.receive_queue().set_available_index(0);  // no buffers
    for (int stream = 0; stream < 2000; ++stream) {
        driver_.send(header(VIRTIO_VSOCK_OP_REQUEST));
        driver_.send(header(VIRTIO_VSOCK_OP_RST));
        EXPECT_EQ(ops(driver_.run()), Ops{});
        UniqueFd{accept4(server_.get(), nullptr, nullptr, SOCK_NONBLOCK)};
    }
    EXPECT_EQ(driver_.connections().waiting(), 0U);
    EXPECT_EQ(driver_.connections().size(), 0U);
}

TEST_F(VsockHostileTest, AHostProgramGetsNoPortThatIsTaken) {
    const std::string port = std::to_string(VsockConnections::kFirstHostPort);
    const UniqueFd server = test::listen_unix(path_ + "_" + port, SOCK_NONBLOCK);
    driver_.send(header(VIRTIO_VSOCK_OP_REQUEST, 80, VsockConnections::kFirstHostPort));
    EXPECT_EQ(ops(run()), Ops{VIRTIO_VSOCK_OP_RESPONSE});
    const UniqueFd host = test::connect_unix(path_, SOCK_NONBLOCK);
    test::write_all(host.get(), "CONNECT 80\n");
    const Packets packets = run();
    ASSERT_EQ(ops(packets), Ops{VIRTIO_VSOCK_OP_REQUEST});
    EXPECT_EQ(uint32_t{packets[0].header.src_port}, VsockConnections::kFirstHostPort + 1);
}

TEST_F(VsockHostileTest, StreamsAreBounded) {
    server_ = test::listen_unix(path_ + "_" + std::to_string(kHostPort), SOCK_NONBLOCK);
    std::vector<UniqueFd> hosts;
    uint32_t port = 1;
    for (; port <= VsockConnections::kMostConnections; ++port) {
        driver_.send(header(VIRTIO_VSOCK_OP_REQUEST, port));
        ASSERT_EQ(ops(run()), Ops{VIRTIO_VSOCK_OP_RESPONSE}) << port;
        hosts.emplace_back(accept4(server_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    }
    driver_.send(header(VIRTIO_VSOCK_OP_REQUEST, port));
    EXPECT_EQ(ops(run()), Ops{VIRTIO_VSOCK_OP_RST});
    // A program of the host's waits for its turn.
    const UniqueFd waiting = test::connect_unix(path_, SOCK_NONBLOCK);
    test::write_all(waiting.get(), "CONNECT 80\n");
    EXPECT_EQ(ops(run()), Ops{});
    driver_.send(header(VIRTIO_VSOCK_OP_RST, 1));
    driver_.connections().take_turn(0);
    EXPECT_EQ(driver_.connections().size(), VsockConnections::kMostConnections)
        << "nothing else would wake it";
    EXPECT_EQ(ops(run()), Ops{VIRTIO_VSOCK_OP_REQUEST});
    EXPECT_EQ(driver_.connections().size(), VsockConnections::kMostConnections);
}

TEST_F(VsockHostileTest, AHostileGuestLosesAStreamAtMost) {
    enum class Answer { reset, nothing };
    struct Row {
        const char* what;
        std::function<void(VsockHeader&)> change;
        Answer answer;
        bool stream_lives;
        std::string payload = {};
    };
    const std::string five = "12345";
    const Row rows[] = {
        {"another's address", [](VsockHeader& h) { h.src_cid = 7; }, Answer::nothing, true},
        {"an address of more than 32 bits",
         [](VsockHeader& h) { h.src_cid = (1ULL << 32) + VsockDriver::kCid; }, Answer::nothing, true},
        {"to another guest", [](VsockHeader& h) { h.dst_cid = 7; }, Answer::reset, true},
        {"to more than 32 bits", [](VsockHeader& h) { h.dst_cid = (1ULL << 32) + VMADDR_CID_HOST; },
         Answer::reset, true},
        {"an unknown type", [](VsockHeader& h) { h.type = 77; }, Answer::reset, true},
        {"SEQPACKET", [](VsockHeader& h) { h.type = VIRTIO_VSOCK_TYPE_SEQPACKET; }, Answer::reset, true},
        {"an unknown type, in a RST",
         [](VsockHeader& h) {
             h.type = 77;
             h.op = VIRTIO_VSOCK_OP_RST;
         },
         Answer::nothing, true},
        {"operation 0", [](VsockHeader& h) { h.op = VIRTIO_VSOCK_OP_INVALID; }, Answer::reset, false},
        {"operation 8", [](VsockHeader& h) { h.op = 8; }, Answer::reset, false},
        {"operation 65535", [](VsockHeader& h) { h.op = 0xffff; }, Answer::reset, false},
        {"a second request", [](VsockHeader& h) { h.op = VIRTIO_VSOCK_OP_REQUEST; }, Answer::reset, false},
        {"a response to nothing", [](VsockHeader& h) { h.op = VIRTIO_VSOCK_OP_RESPONSE; }, Answer::reset,
         false},
        {"a length without bytes", [](VsockHeader& h) { h.len = 1; }, Answer::reset, false},
        {"a length beyond the bytes", [](VsockHeader& h) { h.len = 6; }, Answer::reset, false, five},
        {"the longest length", [](VsockHeader& h) { h.len = 0xffff'ffff; }, Answer::reset, false, five},
        {"no stream of that port", [](VsockHeader& h) { h.src_port = 1; }, Answer::reset, true},
        {"no stream of that port, in a RST",
         [](VsockHeader& h) {
             h.src_port = 1;
             h.op = VIRTIO_VSOCK_OP_RST;
         },
         Answer::nothing, true},
        {"no bytes", [](VsockHeader&) {}, Answer::nothing, true},
        {"fewer bytes than are there", [](VsockHeader& h) { h.len = 2; }, Answer::nothing, true, five},
        {"hints that do not exist",
         [](VsockHeader& h) {
             h.op = VIRTIO_VSOCK_OP_SHUTDOWN;
             h.flags = 0xffff'fffc;
         },
         Answer::nothing, true},
        {"credit without sense",
         [](VsockHeader& h) {
             h.op = VIRTIO_VSOCK_OP_CREDIT_UPDATE;
             h.buf_alloc = 0xffff'ffff;
             h.fwd_cnt = 0x8000'0000;
         },
         Answer::nothing, true},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.what);
        const UniqueFd host = open_stream();
        VsockHeader bad = data(0);
        row.change(bad);
        driver_.send(bad, row.payload);
        const Packets packets = run();
        EXPECT_EQ(ops(packets), row.answer == Answer::reset ? Ops{VIRTIO_VSOCK_OP_RST} : Ops{});
        if (!packets.empty()) {
            EXPECT_EQ(uint64_t{packets[0].header.src_cid}, uint64_t{bad.dst_cid});
            EXPECT_EQ(uint64_t{packets[0].header.dst_cid}, uint64_t{VsockDriver::kCid});
            EXPECT_EQ(uint16_t{packets[0].header.type}, uint16_t{bad.type});
        }
        EXPECT_EQ(driver_.connections().size(), row.stream_lives ? 1U : 0U);
        readable(host);
        if (row.stream_lives) {
            driver_.send(data(5), "alive");
            run();
            EXPECT_EQ(readable(host), "alive");
            driver_.send(header(VIRTIO_VSOCK_OP_RST));
            run();
        }
        expect_others_work();
        EXPECT_EQ(driver_.calls().broken, "");
    }
}

TEST_F(VsockHostileTest, DataBehindItsEndIsReset) {
    const UniqueFd host = open_stream();
    driver_.send(shutdown_of(VIRTIO_VSOCK_SHUTDOWN_SEND));
    driver_.send(data(1), "x");
    EXPECT_EQ(ops(run()), Ops{VIRTIO_VSOCK_OP_RST});
    EXPECT_EQ(readable(host), "(end)");
}

TEST_F(VsockHostileTest, APacketTooShortIsGivenBackAndNoMore) {
    server_ = test::listen_unix(path_ + "_" + std::to_string(kHostPort), SOCK_NONBLOCK);
    const test::Buffer rows[] = {{VsockDriver::kTransmitData, sizeof(VsockHeader) - 1, false},
                                 {VsockDriver::kTransmitData, 1, false},
                                 {VsockDriver::kTransmitData, 100, true}};
    for (const test::Buffer& row : rows) {
        driver_.transmit_queue().add(std::span{&row, 1});
        driver_.kick_transmit();
        driver_.connections().take_turn(0);
        EXPECT_EQ(driver_.transmit_queue().take_used().size(), 1U);
        EXPECT_EQ(driver_.calls().broken, "");
    }
    expect_others_work();
}

TEST_F(VsockHostileTest, ABrokenQueueIsTold) {
    struct Row {
        const char* what;
        std::function<void(VsockDriver&)> breaks;
    };
    const test::Buffer tiny[] = {{VsockDriver::kReceiveData, sizeof(VsockHeader), true}};
    const test::Buffer outside[] = {{uint64_t{1} << 40, 100, false}};
    const Row rows[] = {
        {"no room for a packet", [&](VsockDriver& driver) { driver.receive_queue().add(tiny); }},
        {"a receive index that jumps",
         [](VsockDriver& driver) { driver.receive_queue().set_available_index(100); }},
        {"a transmit index that jumps",
         [](VsockDriver& driver) { driver.transmit_queue().set_available_index(100); }},
        {"outside of memory", [&](VsockDriver& driver) { driver.transmit_queue().add(outside, 8); }},
    };
    for (const Row& row : rows) {
        VsockDriver driver{listener_fd_.get(), path_};
        driver.send(header(VIRTIO_VSOCK_OP_RW, 1, 1));  // to be answered
        row.breaks(driver);
        driver.kick_transmit();
        EXPECT_FALSE(driver.connections().take_turn(0)) << row.what;
        EXPECT_NE(driver.calls().broken, "") << row.what;
        EXPECT_FALSE(driver.connections().take_turn(0)) << row.what;
    }
}

}  // namespace
}  // namespace hull::virtio
