// Devices with work under way that are quiesced, saved and loaded: nothing is lost, done twice, or written
// where the log of writes does not tell it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/virtio_console.h>
#include <linux/virtio_vsock.h>
#include <linux/vm_sockets.h>
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
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/side.h"
#include "tests/support/sockets.h"
#include "tests/support/virtio_driver.h"

namespace hull::virtio {
namespace {

using namespace std::chrono_literals;
using test::kVersion1;

constexpr uint64_t kPage = GuestMemory::kLogPage;

/// Waits for what another thread does.
bool eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 4000; ++i) {
        if (holds()) {
            return true;
        }
        std::this_thread::sleep_for(1ms);
    }
    return false;
}

/// A device, its transport, and a driver's queues of a page each with a page of data for each entry.
template <typename Transport>
class Rig {
  public:
    static constexpr uint16_t kSize = 16;
    using Make = std::function<std::unique_ptr<VirtioDevice>()>;

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
    VirtioDevice& device() { return *made_->device; }

    /// Between these two the driver writes nothing: each page that has changed was told.
    void watch() {
        memory.take_written([](const GuestRange& /*range*/) {});
        const auto all = memory.slice(ranges[0]).value();
        before_.assign(all.begin(), all.end());
    }
    void check() {
        std::vector<bool> told(ranges[0].size() / kPage);
        memory.take_written([&](const GuestRange& range) {
            for (uint64_t at = raw(range.start()); at < raw(range.last()); at += kPage) {
                told.at(at / kPage) = true;
            }
        });
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
        const test::Buffer buffer[] = {{data_at(queue, number), size, true}};
        add(queue, buffer, number);
    }
    void send(uint16_t queue, uint64_t number, const std::string& bytes) {
        put(data_at(queue, number), bytes);
        const test::Buffer buffer[] = {{data_at(queue, number), static_cast<uint32_t>(bytes.size()), false}};
        add(queue, buffer, number);
    }
    void add(uint16_t queue, std::span<const test::Buffer> buffers, uint64_t number) {
        const auto head = static_cast<uint16_t>(number % kSize);
        queues[queue].add(buffers, head);
        heads_[queue].at(added_[queue]++ % kSize) = head;
    }
    void put(uint64_t at, const std::string& bytes) {
        EXPECT_TRUE(memory.write_bytes(GuestAddress{at}, std::as_bytes(std::span{bytes})));
    }
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
    std::vector<test::DriverQueue> queues;

  private:
    struct Made {
        Made(std::unique_ptr<VirtioDevice> given, GuestMemory& memory)
            : device{std::move(given)}, side{*device, memory} {}
        std::unique_ptr<VirtioDevice> device;
        Transport side;
    };
    const Make make_;
    std::unique_ptr<Made> made_;
    std::vector<std::byte> before_;
    // Of each queue: how many chains were made available and came back, and the heads of the last ones.
    std::vector<uint64_t> added_;
    std::vector<uint64_t> taken_;
    std::vector<std::array<uint16_t, kSize>> heads_;
};

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
            std::vector<NetLink> links(1);
            links[0].fd = UniqueFd{fcntl(device.get(), F_DUPFD_CLOEXEC, 0)};
            return std::make_unique<Net>(NetSettings{.stream = stream, .name = "net"}, std::move(links));
        };
    }
    UniqueFd device;
    UniqueFd far_end;
};

std::string frame(uint64_t number) {
    return std::string(sizeof(virtio_net_hdr_v1), '\0') + "frame number " + std::to_string(number);
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
        host = std::make_unique<DescriptorHost>(UniqueFd{fcntl(to_guest[0].get(), F_DUPFD_CLOEXEC, 0)},
                                                UniqueFd{fcntl(from_guest[1].get(), F_DUPFD_CLOEXEC, 0)},
                                                "port");
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
    std::unique_ptr<DescriptorHost> host;
};

std::string control(uint32_t id, uint16_t event, uint16_t value) {
    const virtio_console_control message{.id = id, .event = event, .value = value};
    return {reinterpret_cast<const char*>(&message), sizeof message};
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

std::string packet(const VsockHeader& header, const std::string& payload = "") {
    return std::string{reinterpret_cast<const char*>(&header), sizeof header} + payload;
}

TYPED_TEST(DeviceState, StreamsGoOnAfterAPauseAndAreToldToHaveEndedElsewhere) {
    constexpr uint32_t kCid = 7;
    const test::TemporaryFolder directory;
    const std::string path = directory.path() / "vsock";
    const UniqueFd listener = test::listen_unix(path, SOCK_NONBLOCK);
    const UniqueFd program = test::listen_unix(path + "_80", SOCK_NONBLOCK);
    Rig<TypeParam> rig{3, [&] {
                           return std::make_unique<Vsock>(
                               VsockSettings{.cid = kCid, .path = path},
                               UniqueFd{fcntl(listener.get(), F_DUPFD_CLOEXEC, 0)});
                       }};
    rig.start(kVersion1);
    for (uint64_t number = 0; number < 8; ++number) {
        rig.offer(0, number);
        rig.offer(2, number, sizeof(virtio_vsock_event));
    }
    VsockHeader header{};
    header.src_cid = kCid;
    header.dst_cid = VMADDR_CID_HOST;
    header.src_port = 1000;
    header.dst_port = 80;
    header.type = VIRTIO_VSOCK_TYPE_STREAM;
    header.op = VIRTIO_VSOCK_OP_REQUEST;
    header.buf_alloc = 0x10000;
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
