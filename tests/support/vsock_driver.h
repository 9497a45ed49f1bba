// A guest's driver of the socket device, and the device's streams behind its queues.
#pragma once

#include <linux/vm_sockets.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/guest_memory.h"
#include "devices/vsock/connections.h"
#include "tests/support/recording_calls.h"
#include "tests/support/virtio_driver.h"

namespace hull::test {

/// A packet as the guest gets it.
struct VsockPacket {
    virtio::VsockHeader header;
    std::string payload;
};

/// Sends packets as they stand, however wrong, and takes the device's.
class VsockDriver {
  public:
    static constexpr uint32_t kCid = 42;
    static constexpr uint16_t kQueueSize = 16;
    static constexpr uint64_t kReceiveRings = 0x1000;
    static constexpr uint64_t kTransmitRings = 0x4000;
    static constexpr uint64_t kReceiveData = 0x10000;
    static constexpr uint64_t kTransmitData = 0x40000;
    static constexpr uint64_t kEnd = 0x60000;
    static constexpr uint32_t kBuffer = 0x1000;  ///< bytes of each receive buffer

    /// `listener` and `path` as VsockConnections takes them.
    VsockDriver(int listener, const std::string& path, uint64_t features = 0)
        : receive_{virtio::ActiveQueue{
              0, virtio::VirtQueue::make(memory_, receive_driver_.config(), features).value(),
              receive_kick_.get()}},
          transmit_{virtio::ActiveQueue{
              1, virtio::VirtQueue::make(memory_, transmit_driver_.config(), features).value(),
              transmit_kick_.get()}},
          connections_{{.receive = receive_,
                        .transmit = transmit_,
                        .driver = calls_,
                        .guest_cid = kCid,
                        .listener = listener,
                        .connect = virtio::connect_beside(path),
                        .epoll = UniqueFd{epoll_create1(EPOLL_CLOEXEC)}}} {}

    /// A stream's packet without anything wrong.
    static virtio::VsockHeader header(uint16_t op, uint32_t guest_port, uint32_t host_port) {
        virtio::VsockHeader header{};
        header.src_cid = kCid;
        header.dst_cid = VMADDR_CID_HOST;
        header.src_port = guest_port;
        header.dst_port = host_port;
        header.type = VIRTIO_VSOCK_TYPE_STREAM;
        header.op = op;
        header.buf_alloc = 0x10000;
        return header;
    }

    /// Gives the device `count` buffers more.
    void offer(int count) {
        for (int buffer = 0; buffer < count; ++buffer) {
            const auto head = static_cast<uint16_t>(offered_++ % kQueueSize);
            const Buffer buffers[] = {{kReceiveData + head * uint64_t{kBuffer}, kBuffer, true}};
            receive_driver_.add(buffers, head);
        }
        signal_eventfd(receive_kick_.get());
    }
    /// Makes a packet available and kicks. `payload` is at most 64 KiB; its size is not written into the
    /// header.
    void send(const virtio::VsockHeader& header, std::string_view payload = {}) {
        const auto slot = static_cast<uint16_t>(sent_++ % (kQueueSize / 2));
        const uint64_t at = kTransmitData + slot * uint64_t{0x100};
        put(at, std::as_bytes(std::span{&header, 1}));
        const uint64_t data = kTransmitData + 0x8000;
        put(data, std::as_bytes(std::span{payload}));
        const Buffer buffers[] = {{at, sizeof header, false},
                                  {data, static_cast<uint32_t>(payload.size()), false}};
        transmit_driver_.add(std::span{buffers}.first(payload.empty() ? 1 : 2),
                             static_cast<uint16_t>(slot * 2));
        signal_eventfd(transmit_kick_.get());
    }
    /// Lets the device do what there is to do; returns the packets that the guest got, oldest first.
    std::vector<VsockPacket> run() {
        std::vector<VsockPacket> packets;
        for (int turn = 0; turn < 20; ++turn) {
            connections_.take_turn(0);
            for (const vring_used_elem& used : receive_driver_.take_used()) {
                const uint64_t at = kReceiveData + used.id * uint64_t{kBuffer};
                const auto header = memory_.read<virtio::VsockHeader>(GuestAddress{at});
                std::string bytes(std::min<size_t>(used.len, kEnd), '\0');
                // A fuzzer writes to the rings, too.
                if (header && used.len >= sizeof *header &&
                    memory_.read_bytes(GuestAddress{at}, std::as_writable_bytes(std::span{bytes}))) {
                    packets.push_back({*header, bytes.substr(sizeof *header)});
                }
            }
            taken_back_ += static_cast<unsigned>(transmit_driver_.take_used().size());
        }
        return packets;
    }

    /// How many of the packets that were sent the device has given back, as run() has seen.
    [[nodiscard]] unsigned taken_back() const { return taken_back_; }

    GuestMemory& memory() { return memory_; }
    DriverQueue& receive_queue() { return receive_driver_; }
    DriverQueue& transmit_queue() { return transmit_driver_; }
    void kick_transmit() { signal_eventfd(transmit_kick_.get()); }
    virtio::VsockConnections& connections() { return connections_; }
    RecordingCalls& calls() { return calls_; }

  private:
    void put(uint64_t address, std::span<const std::byte> bytes) {
        if (!memory_.write_bytes(GuestAddress{address}, bytes)) {
            throw std::out_of_range{"a packet lies outside of guest memory"};
        }
    }

    const GuestRange ranges_[1] = {GuestRange::of(0, kEnd)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent};
    DriverQueue receive_driver_{memory_, kReceiveRings, kQueueSize};
    DriverQueue transmit_driver_{memory_, kTransmitRings, kQueueSize};
    UniqueFd receive_kick_ = make_eventfd();
    UniqueFd transmit_kick_ = make_eventfd();
    RecordingCalls calls_;
    std::optional<virtio::ActiveQueue> receive_;
    std::optional<virtio::ActiveQueue> transmit_;
    virtio::VsockConnections connections_;
    unsigned offered_ = 0;
    unsigned sent_ = 0;
    unsigned taken_back_ = 0;
};

}  // namespace hull::test
