// A device that a vhost-user back end serves, with its driver, and the back end that a test plays.
#pragma once

#include <gtest/gtest.h>
#include <linux/virtio_blk.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "devices/block/served_disk.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/vhost_user_device.h"
#include "tests/support/fake_devices.h"
#include "tests/support/files.h"
#include "tests/support/mmio_driver.h"
#include "tests/support/sockets.h"
#include "tests/support/vhost_user_server.h"
#include "tests/support/virtio_driver.h"

namespace hull::test {

/// A served disk with two queues behind a transport, and a back end at a path.
class VhostUserDeviceTest : public testing::Test {
  protected:
    static constexpr uint64_t kRings = 0x1000;
    static constexpr uint64_t kRingsApart = 0x2000;
    static constexpr uint64_t kData = 0x8000;
    static constexpr uint16_t kSize = 8;

    VhostUserDeviceTest() { make_device({}); }
    void make_device(VhostUserServer::Manners manners) {
        auto [front, back] = make_socket_pair();
        server_ = std::make_unique<VhostUserServer>(std::move(back), std::move(manners));
        transport_.reset();
        virtio::VhostUser client = virtio::greet_vhost_user(std::move(front), kind_, "", "");
        device_ = std::make_unique<virtio::VhostUserDevice>(
            kind_, std::move(client), [this] { return virtio::find_vhost_user(path_); }, "disk", patience_);
        transport_ = std::make_unique<virtio::MmioTransport>(*device_, memory_, irq_, "disk");
    }
    /// Another back end listens at the path, and is found there.
    void come_back(VhostUserServer::Manners manners = {}) {
        std::filesystem::remove(path_);
        const UniqueFd listener = listen_unix(path_);
        UniqueFd connection{accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
        server_ = std::make_unique<VhostUserServer>(std::move(connection), std::move(manners));
    }
    /// Negotiates and starts both queues.
    void start(uint64_t features = 0) {
        MmioDriver registers{*transport_};
        for (uint16_t index = 0; index < 2; ++index) {
            ASSERT_TRUE(memory_.discard(GuestRange::of(kRings + index * kRingsApart, kRingsApart)));
            drivers_[index].emplace(memory_, kRings + index * kRingsApart, kSize);
        }
        registers.negotiate(kVersion1 | features);
        registers.set_queue(0, drivers_[0]->config());
        registers.set_queue(1, drivers_[1]->config());
        registers.start();
    }
    [[nodiscard]] uint32_t status() { return MmioDriver{*transport_}.get(VIRTIO_MMIO_STATUS); }
    [[nodiscard]] bool needs_reset() { return (status() & VIRTIO_CONFIG_S_NEEDS_RESET) != 0; }
    void write_status(uint32_t value) { MmioDriver{*transport_}.set(VIRTIO_MMIO_STATUS, value); }
    void kick(int queue) {
        MmioDriver{*transport_}.set(VIRTIO_MMIO_QUEUE_NOTIFY, static_cast<uint32_t>(queue));
    }
    static uint64_t status_of(int head) { return kData + static_cast<uint64_t>(head) * 0x100 + 0x80; }
    /// Makes a request available; its status byte is a mark until it is answered.
    void request(int queue, int head) {
        ASSERT_TRUE(memory_.write(GuestAddress{status_of(head)}, uint8_t{0x77}));
        const Buffer buffers[] = {{status_of(head) - 0x80, 16, false}, {status_of(head), 1, true}};
        drivers_[queue]->add(buffers, static_cast<uint16_t>(head));
    }
    /// As the back end does it.
    void answer(uint32_t queue, uint16_t head) {
        const vu::VringAddr& addresses = server_->rings[queue].addresses;
        std::byte* used = server_->at(addresses.used);
        const uint16_t at = answered_[queue]++;
        const vring_used_elem element{head, 1};
        std::memcpy(used + 4 + 8 * (at % kSize), &element, sizeof element);
        std::memcpy(used + 2, &answered_[queue], sizeof(uint16_t));
    }
    std::vector<uint32_t> wait_for_used(int queue, size_t count) {
        std::vector<uint32_t> heads;
        for (int tries = 0; heads.size() < count && tries < 5000; ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
            for (const vring_used_elem& used : drivers_[queue]->take_used()) {
                heads.push_back(used.id);
            }
        }
        return heads;
    }
    bool wait_for(const std::function<bool()>& holds) {
        for (int tries = 0; tries < 5000; ++tries) {
            if (holds()) {
                return true;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
        }
        return false;
    }

    std::chrono::milliseconds patience_ = virtio::VhostUserDevice::kComesBackWithin;
    const TemporaryFolder folder_;
    const std::filesystem::path path_ = folder_.path() / "socket";
    const GuestRange ranges_[1] = {GuestRange::of(0, 0x10000)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent, GuestMemory::Sharing::shareable};
    CountingIrqLine irq_;
    virtio::VhostUserKind kind_ = virtio::served_disk_kind(2);
    std::unique_ptr<VhostUserServer> server_;
    std::unique_ptr<virtio::VhostUserDevice> device_;
    std::unique_ptr<virtio::MmioTransport> transport_;
    std::optional<DriverQueue> drivers_[2];
    uint16_t answered_[2] = {};
};

}  // namespace hull::test
