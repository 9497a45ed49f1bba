// A guest's driver at the queues of a console device.
#pragma once

#include <linux/virtio_console.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/guest_memory.h"
#include "base/unique_fd.h"
#include "devices/console/port_host.h"
#include "devices/virtio/device.h"
#include "tests/support/virtio_driver.h"

namespace hull::test {

/// Remembers what a device with any number of queues told its driver. One thread.
class ConsoleCalls final : public virtio::DriverCalls {
  public:
    void used_buffers(uint16_t queue) override { ++interrupts[queue]; }
    void configuration_changed() override { ++changes; }
    void needs_reset(const char* why) override { broken = why; }

    std::map<uint16_t, int> interrupts;
    int changes = 0;
    std::string broken;  ///< empty while the device has not stopped
};

/// Queues of kSize entries, each with a page of data for each entry.
class ConsoleGuest {
  public:
    static constexpr uint16_t kSize = 8;
    static constexpr uint64_t kPage = 0x1000;

    explicit ConsoleGuest(uint16_t queue_count) {
        for (uint16_t index = 0; index < queue_count; ++index) {
            queues.emplace_back(memory, uint64_t{kPage} * index, kSize);
            kicks.push_back(make_eventfd());
        }
        offered_.resize(queue_count);
    }

    virtio::Activation activation(uint64_t features = 0) {
        virtio::Activation made{.features = features, .queues = {}, .memory = memory, .driver = calls};
        for (uint16_t index = 0; index < queues.size(); ++index) {
            made.queues.push_back(
                {index, std::move(*virtio::VirtQueue::make(memory, queues[index].config(), features)),
                 kicks[index].get()});
        }
        return made;
    }

    static uint64_t page(uint16_t queue, uint16_t entry) {
        return uint64_t{0x4'0000} + (uint64_t{queue} * kSize + entry) * kPage;
    }
    /// Gives the device a buffer to fill.
    void offer(uint16_t queue, uint32_t size = kPage) { add(queue, size, true); }
    /// Sends bytes, at most a page of them.
    void send(uint16_t queue, std::span<const std::byte> bytes) {
        static_cast<void>(memory.write_bytes(GuestAddress{page(queue, next(queue))}, bytes));
        add(queue, static_cast<uint32_t>(bytes.size()), false);
    }
    void send(uint16_t queue, const std::string& text) { send(queue, std::as_bytes(std::span{text})); }
    void send_control(uint32_t id, uint16_t event, uint16_t value) {
        const virtio_console_control message{.id = id, .event = event, .value = value};
        send(kControlTransmit, std::as_bytes(std::span{&message, 1}));
    }
    /// What is in the buffers that came back.
    std::vector<std::string> take(uint16_t queue) {
        std::vector<std::string> texts;
        for (const vring_used_elem& used : queues[queue].take_used()) {
            const auto bytes = memory.slice(
                GuestRange::of(page(queue, static_cast<uint16_t>(used.id)), std::max(used.len, 1U)));
            texts.emplace_back(reinterpret_cast<const char*>(bytes.value().data()), used.len);
        }
        return texts;
    }
    void kick(uint16_t queue) const { signal_eventfd(kicks[queue].get()); }

    static constexpr uint16_t kControlReceive = 2;
    static constexpr uint16_t kControlTransmit = 3;

    const GuestRange ranges[1] = {GuestRange::of(0, 0x10'0000)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    std::vector<DriverQueue> queues;
    std::vector<UniqueFd> kicks;
    ConsoleCalls calls;

  private:
    [[nodiscard]] uint16_t next(uint16_t queue) const {
        return static_cast<uint16_t>(offered_[queue] % kSize);
    }
    void add(uint16_t queue, uint32_t size, bool writable) {
        const Buffer buffer[] = {{page(queue, next(queue)), size, writable}};
        queues[queue].add(buffer, next(queue));
        ++offered_[queue];
    }

    std::vector<unsigned> offered_;
};

/// A host's side that keeps everything, of which a test decides what it takes and has.
class FakePortHost final : public virtio::PortHost {
  public:
    [[nodiscard]] bool is_open() const override { return open; }
    size_t write(std::span<const std::byte> bytes) override {
        const size_t size = std::min(bytes.size(), room);
        got.append(reinterpret_cast<const char*>(bytes.data()), size);
        room -= size;
        return size;
    }
    size_t read(std::span<std::byte> target) override {
        const size_t size = std::min(target.size(), waiting.size());
        std::memcpy(target.data(), waiting.data(), size);
        waiting.erase(0, size);
        return size;
    }
    [[nodiscard]] Waits waits(const Wishes& wishes) const override {
        last_wishes = wishes;
        return {pollfd{event.get(), POLLIN, 0}, pollfd{-1, 0, 0}};
    }
    void take_events(const Waits& waits) override {
        if (waits[0].revents != 0) {
            drain_eventfd(event.get());
        }
    }
    /// Something has changed.
    void wake() const { signal_eventfd(event.get()); }

    bool open = true;
    size_t room = SIZE_MAX;
    std::string got;
    std::string waiting;
    UniqueFd event = make_eventfd();
    mutable Wishes last_wishes;
};

}  // namespace hull::test
