// Whole devices with their threads, at a transport, and their hosts' sides.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/virtio_console.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "devices/console/descriptor_host.h"
#include "devices/net/layout.h"
#include "devices/net/net.h"
#include "devices/vsock/packet.h"
#include "tests/support/side.h"
#include "tests/support/virtio_driver.h"

namespace hull::test {

constexpr uint64_t kPage = GuestMemory::kLogPage;

/// Waits for what another thread does.
inline bool eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 4000; ++i) {
        if (holds()) {
            return true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds{1});
    }
    return false;
}

/// Copies memory that a device's thread may be writing. That is a data race, and no fault where either
/// content will do, so ThreadSanitizer does not look at this function. By single bytes: it looks at memcpy()
/// wherever that is called from.
__attribute__((no_sanitize("thread"))) inline void copy_what_changes(const std::byte* from,
                                                                     std::span<std::byte> to) {
    std::byte* target = to.data();
    const size_t size = to.size();
    for (size_t at = 0; at < size; ++at) {
        target[at] = static_cast<const volatile std::byte*>(from)[at];
    }
}

/// A device, its transport, and a driver's queues of a page each with a page of data for each entry.
template <typename Transport>
class Rig {
  public:
    static constexpr uint16_t kSize = 16;
    using Make = std::function<std::unique_ptr<virtio::VirtioDevice>()>;

    Rig(uint16_t queue_count, Make make) : make_{std::move(make)} {
        for (uint16_t index = 0; index < queue_count; ++index) {
            queues.emplace_back(memory, kPage * index, kSize);
        }
        taken_.resize(queue_count);
        added_.resize(queue_count);
        heads_.resize(queue_count);
        made_ = std::make_unique<Made>(make_(), memory);
        memory.start_write_log();
    }
    void clear_queues() {
        made_->side.negotiate(kVersion1);
        EXPECT_TRUE(memory.discard(GuestRange::of(0, kPage * queues.size())));
        const size_t count = queues.size();
        queues.clear();
        for (uint16_t index = 0; index < count; ++index) {
            queues.emplace_back(memory, kPage * index, kSize);
        }
        std::ranges::fill(added_, 0);
        std::ranges::fill(taken_, 0);
    }
    void start(uint64_t features) {
        made_->side.negotiate(features);
        for (uint16_t index = 0; index < queues.size(); ++index) {
            made_->side.set_queue(index, queues[index].config());
        }
        made_->side.start();
    }
    /// Resets a queue and, where `size` is not 0, enables it again at a page that nothing else has. What the
    /// driver had made available there is gone.
    void reset_queue(uint16_t index, uint64_t page, uint16_t size = kSize) {
        made_->side.reset_queue(index, 1);
        std::destroy_at(&queues[index]);
        std::construct_at(&queues[index], memory, kPage * page, std::max<uint16_t>(size, 1));
        added_[index] = taken_[index] = 0;
        if (size > 0) {
            made_->side.set_queue(index, queues[index].config());
        }
    }
    /// Another device, in another process as it were, goes on.
    void move() {
        pause();
        StateWriter state;
        made_->side.state().save(state);
        made_.reset();
        made_ = std::make_unique<Made>(make_(), memory);
        StateReader reader{state.bytes()};
        made_->side.state().load(reader);
        reader.end();
        watch();
        made_->side.state().resume();
    }
    void pause() {
        made_->side.state().quiesce();
        check();
    }
    void resume() {
        watch();
        made_->side.state().resume();
    }
    Transport& side() { return made_->side; }
    virtio::VirtioDevice& device() { return *made_->device; }

    /// Between these two the driver writes nothing: each page that has changed was told. The device may go on
    /// while the first copies what is there: what it writes then is told too, so that it does not matter
    /// whether the copy has it.
    void watch() {
        memory.take_written([](const GuestRange& /*range*/) {});
        before_.resize(ranges[0].size());
        copy_what_changes(memory.slice(ranges[0]).value().data(), before_);
    }
    void check() {
        std::vector<bool> told(ranges[0].size() / kPage);
        memory.take_written([&](const GuestRange& range) {
            for (uint64_t at = raw(range.start()); at < raw(range.last()); at += kPage) {
                told.at(at / kPage) = true;
            }
        });
        told_ = static_cast<size_t>(std::ranges::count(told, true));
        const auto all = memory.slice(ranges[0]).value();
        for (uint64_t page = 0; page < told.size() && !before_.empty(); ++page) {
            const auto now = all.subspan(page * kPage, kPage);
            EXPECT_TRUE(told[page] || std::equal(now.begin(), now.end(),
                                                 before_.begin() + static_cast<ptrdiff_t>(page * kPage)))
                << "page " << page << " was written and not told";
        }
    }

    static uint64_t data_at(uint16_t queue, uint64_t entry) {
        return kPage * (32 + queue * uint64_t{kSize} + entry % kSize);
    }
    void offer(uint16_t queue, uint64_t number, uint32_t size = kPage) {
        const Buffer buffer[] = {{data_at(queue, number), size, true}};
        add(queue, buffer, number);
    }
    void send(uint16_t queue, uint64_t number, const std::string& bytes) {
        put(data_at(queue, number), bytes);
        const Buffer buffer[] = {{data_at(queue, number), static_cast<uint32_t>(bytes.size()), false}};
        add(queue, buffer, number);
    }
    void add(uint16_t queue, std::span<const Buffer> buffers, uint64_t number) {
        const auto head = static_cast<uint16_t>(number % kSize);
        queues[queue].add(buffers, head);
        heads_[queue].at(added_[queue]++ % kSize) = head;
    }
    void put(uint64_t at, const std::string& bytes) {
        EXPECT_TRUE(memory.write_bytes(GuestAddress{at}, std::as_bytes(std::span{bytes})));
    }
    /// How many chains of a queue have come back in all.
    uint16_t used(uint16_t queue) { return queues[queue].used_index(); }
    /// How many pages the log told at the last check().
    [[nodiscard]] size_t told() const { return told_; }
    /// What is in the buffers that came back, oldest first.
    std::vector<std::string> take(uint16_t queue) {
        std::vector<std::string> texts;
        for (const vring_used_elem& used : queues[queue].take_used()) {
            // None of these devices takes a later one first; and none twice.
            EXPECT_EQ(used.id, heads_[queue][taken_[queue]++ % kSize]) << "of queue " << queue;
            std::string text(used.len, ' ');
            EXPECT_TRUE(memory.read_bytes(GuestAddress{data_at(queue, used.id)},
                                          std::as_writable_bytes(std::span{text})));
            texts.push_back(text);
        }
        return texts;
    }

    const GuestRange ranges[1] = {GuestRange::of(0, 0x10'0000)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    std::vector<DriverQueue> queues;

  private:
    struct Made {
        Made(std::unique_ptr<virtio::VirtioDevice> given, GuestMemory& memory)
            : device{std::move(given)}, side{*device, memory} {}
        std::unique_ptr<virtio::VirtioDevice> device;
        Transport side;
    };
    const Make make_;
    std::unique_ptr<Made> made_;
    std::vector<std::byte> before_;
    size_t told_ = 0;
    // Of each queue: how many chains were made available and came back, and the heads of the last ones.
    std::vector<uint64_t> added_;
    std::vector<uint64_t> taken_;
    std::vector<std::array<uint16_t, kSize>> heads_;
};

struct Wire {
    explicit Wire(int type) {
        int pair[2] = {};
        if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
            throw std::runtime_error{"socketpair"};
        }
        device = UniqueFd{pair[0]};
        far_end = UniqueFd{pair[1]};
    }
    /// A device whose link this is, again and again.
    auto net(bool stream) {
        return [this, stream] {
            std::vector<virtio::NetLink> links(1);
            links[0].fd = UniqueFd{fcntl(device.get(), F_DUPFD_CLOEXEC, 0)};
            return std::make_unique<virtio::Net>(virtio::NetSettings{.stream = stream, .name = "net"},
                                                 std::move(links));
        };
    }
    UniqueFd device;
    UniqueFd far_end;
};

inline std::string frame(uint64_t number) {
    return std::string(sizeof(virtio_net_hdr_v1), '\0') + "frame number " + std::to_string(number);
}

/// What is there, up to some KiB.
inline std::string read_some(int fd) {
    std::array<char, 8192> buffer{};
    const ssize_t size = read(fd, buffer.data(), buffer.size());
    return {buffer.data(), static_cast<size_t>(std::max<ssize_t>(size, 0))};
}

/// Sends a frame and receives one by a pair of a network device's queues.
template <typename Transport>
testing::AssertionResult carries_frames(Rig<Transport>& rig, const Wire& wire, uint16_t pair,
                                        uint64_t number) {
    const auto receive = static_cast<uint16_t>(2 * pair);
    const auto transmit = static_cast<uint16_t>(receive + 1);
    rig.send(transmit, number, frame(number));
    rig.side().kick(transmit);
    std::string got;
    if (!eventually([&] { return !(got = read_some(wire.far_end.get())).empty(); }) || got != frame(number)) {
        return testing::AssertionFailure() << "sent, and '" << got << "' arrived";
    }
    rig.offer(receive, number);
    rig.side().kick(receive);
    const std::string coming = frame(1000 + number);
    static_cast<void>(write(wire.far_end.get(), coming.data(), coming.size()));
    std::vector<std::string> came;
    if (!eventually([&] { return !(came = rig.take(receive)).empty(); }) || came.size() != 1 ||
        came[0].substr(sizeof(virtio_net_hdr_v1)) != coming.substr(sizeof(virtio_net_hdr_v1))) {
        return testing::AssertionFailure() << "of one frame came " << testing::PrintToString(came);
    }
    rig.take(transmit);
    return testing::AssertionSuccess();
}

/// A named port whose host is two pipes.
struct PipePort {
    PipePort() {
        for (auto* ends : {&to_guest, &from_guest}) {
            int pipe_ends[2] = {};
            if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) != 0) {
                throw std::runtime_error{"pipe2"};
            }
            (*ends)[0] = UniqueFd{pipe_ends[0]};
            (*ends)[1] = UniqueFd{pipe_ends[1]};
        }
        // One page: much of what the guest sends has to wait.
        fcntl(from_guest[1].get(), F_SETPIPE_SZ, 4096);
        host = std::make_unique<virtio::DescriptorHost>(
            UniqueFd{fcntl(to_guest[0].get(), F_DUPFD_CLOEXEC, 0)},
            UniqueFd{fcntl(from_guest[1].get(), F_DUPFD_CLOEXEC, 0)}, "port");
    }
    std::string read_all() {
        std::string text;
        std::array<char, 8192> buffer{};
        for (ssize_t size = 0; (size = read(from_guest[0].get(), buffer.data(), buffer.size())) > 0;) {
            text.append(buffer.data(), static_cast<size_t>(size));
        }
        return text;
    }
    std::array<UniqueFd, 2> to_guest;
    std::array<UniqueFd, 2> from_guest;
    std::unique_ptr<virtio::DescriptorHost> host;
};

inline std::string control(uint32_t id, uint16_t event, uint16_t value) {
    const virtio_console_control message{.id = id, .event = event, .value = value};
    return {reinterpret_cast<const char*>(&message), sizeof message};
}

inline std::string packet(const virtio::VsockHeader& header, const std::string& payload = "") {
    return std::string{reinterpret_cast<const char*>(&header), sizeof header} + payload;
}

}  // namespace hull::test
