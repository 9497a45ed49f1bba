// Streams between a guest's driver and unix sockets, for the tests of the socket device.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "devices/vsock/connections.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"
#include "tests/support/vsock_driver.h"
#include "vmm/main/made_files.h"

namespace hull::test {

using virtio::VsockConnection;
using virtio::VsockHeader;
using Packets = std::vector<VsockPacket>;

inline constexpr uint32_t kGuestPort = 5000;
inline constexpr uint32_t kHostPort = 7000;
inline constexpr uint32_t kRoom = VsockConnection::kBufferSize;

/// What a program of the host's can read now; "(end)" behind it where the other side has ended.
inline std::string readable(const UniqueFd& fd) {
    std::string text;
    std::array<char, 4096> bytes{};
    for (;;) {
        const ssize_t got = read(fd.get(), bytes.data(), bytes.size());
        if (got <= 0) {
            return got == 0 || errno == ECONNRESET ? text + "(end)" : text;
        }
        text.append(bytes.data(), static_cast<size_t>(got));
    }
}

/// The operations of the packets, by their numbers.
inline std::vector<int> ops(const Packets& packets) {
    std::vector<int> numbers;
    for (const VsockPacket& packet : packets) {
        numbers.push_back(packet.header.op);
    }
    return numbers;
}

inline std::string payloads(const Packets& packets) {
    std::string text;
    for (const VsockPacket& packet : packets) {
        text += packet.payload;
    }
    return text;
}

using Ops = std::vector<int>;

/// A guest with a socket device, whose buffers are all there, and the programs of its host.
class VsockTest : public testing::Test {
  protected:
    static VsockHeader header(uint16_t op, uint32_t guest_port = kGuestPort, uint32_t host_port = kHostPort) {
        return VsockDriver::header(op, guest_port, host_port);
    }
    static VsockHeader data(uint32_t size) {
        VsockHeader rw = header(VIRTIO_VSOCK_OP_RW);
        rw.len = size;
        return rw;
    }
    static VsockHeader shutdown_of(uint32_t flags) {
        VsockHeader shutdown = header(VIRTIO_VSOCK_OP_SHUTDOWN);
        shutdown.flags = flags;
        return shutdown;
    }
    /// A stream from the guest's kGuestPort to a program that listens for kHostPort; the program's side of
    /// it.
    UniqueFd open_stream(VsockHeader request = header(VIRTIO_VSOCK_OP_REQUEST)) {
        if (!server_.valid()) {
            server_ = listen_unix(path_ + "_" + std::to_string(kHostPort), SOCK_NONBLOCK);
        }
        driver_.send(request);
        const Packets packets = driver_.run();
        EXPECT_EQ(ops(packets), Ops{VIRTIO_VSOCK_OP_RESPONSE});
        driver_.offer(static_cast<int>(packets.size()));
        return UniqueFd{accept4(server_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    }
    /// Runs the device and gives it back as many buffers as it used.
    Packets run() {
        Packets packets = driver_.run();
        driver_.offer(static_cast<int>(packets.size()));
        return packets;
    }
    /// A stream between other ports works.
    void expect_others_work() {
        VsockHeader other = header(VIRTIO_VSOCK_OP_REQUEST, 1234);
        driver_.send(other);
        EXPECT_EQ(ops(run()), Ops{VIRTIO_VSOCK_OP_RESPONSE});
        const UniqueFd host{accept4(server_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
        other.op = VIRTIO_VSOCK_OP_RW;
        other.len = 4;
        driver_.send(other, "well");
        EXPECT_EQ(ops(run()), Ops{});
        EXPECT_EQ(readable(host), "well");
        write_all(host.get(), "fine");
        EXPECT_EQ(payloads(run()), "fine");
        other.op = VIRTIO_VSOCK_OP_RST;
        other.len = 0;
        driver_.send(other);
        EXPECT_EQ(ops(run()), Ops{});
        EXPECT_EQ(readable(host), "(end)");
    }
    void SetUp() override { driver_.offer(VsockDriver::kQueueSize); }

    const TemporaryFolder folder_;
    const std::string path_ = folder_.path() / "vsock";
    MadeFiles made_;
    UniqueFd listener_fd_ = made_.listen_at(path_);
    VsockDriver driver_{listener_fd_.get(), path_};
    UniqueFd server_;
};

}  // namespace hull::test
