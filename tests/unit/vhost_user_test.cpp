// The front end of vhost-user against back ends that a test plays.
#include "devices/virtio/vhost_user.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/fuse.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "devices/block/served_disk.h"
#include "devices/fs/share.h"
#include "devices/rng/rng.h"
#include "devices/virtio/vhost_user_device.h"
#include "tests/support/errors.h"
#include "tests/support/fake_devices.h"
#include "tests/support/files.h"
#include "tests/support/mmio_driver.h"
#include "tests/support/sockets.h"
#include "tests/support/vhost_user_server.h"
#include "tests/support/virtio_driver.h"

namespace hull::virtio {
namespace {

using test::VhostUserMessage;
using test::VhostUserServer;
using Manners = VhostUserServer::Manners;
using testing::HasSubstr;

constexpr uint64_t kRings = 0x1000;
constexpr uint64_t kRingsApart = 0x2000;
constexpr uint64_t kData = 0x8000;
constexpr uint16_t kSize = 8;
constexpr size_t kConfigSize = 60;

/// A conversation that was begun, and its other side.
struct Conversation {
    explicit Conversation(Manners manners = {}, size_t configuration_size = kConfigSize) {
        auto [front, back] = test::make_socket_pair();
        server = std::make_unique<VhostUserServer>(std::move(back), std::move(manners));
        client = VhostUser::open(std::move(front), configuration_size, std::chrono::milliseconds{200});
    }
    std::unique_ptr<VhostUserServer> server;
    VhostUserResult<VhostUser> client = tl::unexpected{std::string{}};
};

TEST(VhostUser, AsksWhatTheBackEndCan) {
    Manners manners;
    manners.features |= uint64_t{1} << VIRTIO_BLK_F_FLUSH;
    manners.configuration[3] = std::byte{7};
    Conversation conversation{manners};
    ASSERT_TRUE(conversation.client) << conversation.client.error();
    EXPECT_EQ(conversation.client->features(),
              manners.features & ~(uint64_t{1} << vhost_user::kProtocolFeatures));
    EXPECT_EQ(conversation.client->most_queues(), 2U);
    EXPECT_TRUE(std::ranges::equal(conversation.client->configuration(), manners.configuration));
    EXPECT_EQ(conversation.server->accepted_protocol, manners.protocol);
}

TEST(VhostUser, AsksForNothingThatIsNotThere) {
    Manners manners;
    manners.protocol = 0;
    Conversation conversation{manners, 0};
    ASSERT_TRUE(conversation.client) << conversation.client.error();
    EXPECT_EQ(conversation.client->most_queues(), 1U);
    EXPECT_TRUE(conversation.client->configuration().empty());
    EXPECT_EQ(conversation.server->accepted_protocol, 0U);
}

struct Rudeness {
    const char* name;
    std::function<void(Manners&)> breaks;
    const char* told;
};

/// What changes the answer to one request.
std::function<void(Manners&)> changing(uint32_t request, std::function<void(VhostUserMessage&)> change) {
    return [request, change](Manners& manners) {
        manners.change = [request, change](VhostUserMessage& answer) {
            if (answer.request == request) {
                change(answer);
            }
            return true;
        };
    };
}

TEST(VhostUser, WhatIsNoSoundAnswerEndsTheConversation) {
    const Rudeness rows[] = {
        {"no protocol features", [](Manners& m) { m.features &= ~(uint64_t{1} << 30); }, "from before"},
        {"legacy", [](Manners& m) { m.features &= ~(uint64_t{1} << 32); }, "from before"},
        {"no queues", [](Manners& m) { m.queues = 0; }, "no queues"},
        {"no configuration", [](Manners& m) { m.protocol &= ~(1U << vhost_user::kConfig); },
         "no configuration space"},
        {"closes", [](Manners& m) { m.change = [](VhostUserMessage&) { return false; }; }, "closed"},
        {"another request", changing(vhost_user::kGetFeatures, [](auto& a) { a.request = 2; }), "no answer"},
        {"no reply", changing(vhost_user::kGetFeatures, [](auto& a) { a.flags = 1; }), "no answer"},
        {"another version", changing(vhost_user::kGetFeatures, [](auto& a) { a.flags = 6; }), "no answer"},
        {"too short", changing(vhost_user::kGetFeatures, [](auto& a) { a.payload.resize(4); }), "4 bytes"},
        {"too long", changing(vhost_user::kGetQueueNum, [](auto& a) { a.payload.resize(100'000); }),
         "100000 bytes instead of 8"},
        {"an empty configuration", changing(vhost_user::kGetConfig, [](auto& a) { a.payload.clear(); }),
         "0 bytes instead of 72"},
        {"another place", changing(vhost_user::kGetConfig, [](auto& a) { a.payload[0] = std::byte{1}; }),
         "another part"},
        {"another size", changing(vhost_user::kGetConfig, [](auto& a) { a.payload[5] = std::byte{1}; }),
         "another part"},
        {"refuses", changing(vhost_user::kSetOwner, [](auto& a) { a.payload[7] = std::byte{1}; }),
         "refuses request 3"},
    };
    for (const Rudeness& row : rows) {
        Manners manners;
        row.breaks(manners);
        const Conversation conversation{manners};
        ASSERT_FALSE(conversation.client) << row.name;
        EXPECT_THAT(conversation.client.error(), HasSubstr(row.told)) << row.name;
    }
}

TEST(VhostUser, SilenceIsNotWaitedForForEver) {
    auto [front, back] = test::make_socket_pair();
    auto client = VhostUser::open(std::move(front), 0, std::chrono::milliseconds{20});
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error(), "it does not answer");
    // Half a header is silence too.
    auto [second_front, second_back] = test::make_socket_pair();
    ASSERT_EQ(write(second_back.get(), "abc", 3), 3);
    client = VhostUser::open(std::move(second_front), 0, std::chrono::milliseconds{20});
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error(), "it does not answer");
}

TEST(VhostUser, DescriptorsThatComeWithAnAnswerAreClosed) {
    auto [front, back] = test::make_socket_pair();
    int pipe_ends[2] = {};
    ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK), 0);
    const UniqueFd out{pipe_ends[0]};
    UniqueFd in{pipe_ends[1]};
    vhost_user::Header header{vhost_user::kGetFeatures, 5, 8};
    iovec data{&header, sizeof header};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = in.get();
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    ASSERT_EQ(sendmsg(back.get(), &message, 0), static_cast<ssize_t>(sizeof header));
    in.reset();
    const auto client = VhostUser::open(std::move(front), 0, std::chrono::milliseconds{20});
    EXPECT_FALSE(client);
    char byte = 0;
    EXPECT_EQ(read(out.get(), &byte, 1), 0) << "somebody still has its other end";
}

TEST(VhostUser, NobodyWhoListensIsTold) {
    const test::TemporaryFolder folder;
    EXPECT_EQ(connect_vhost_user(folder.path() / "none").error(), "No such file or directory");
    EXPECT_EQ(connect_vhost_user(folder.file("file", "x")).error(), "Connection refused");
    EXPECT_THAT(connect_vhost_user(std::string(108, 'x')).error(), HasSubstr("107 bytes"));
    EXPECT_THAT(connect_vhost_user("").error(), HasSubstr("107 bytes"));
    test::expect_error(
        [&] {
            greet_vhost_user(connect_vhost_user(folder.path() / "none"), served_disk_kind(1),
                             "cannot use 'none'", "is it there?");
        },
        ExitStatus::bad_file, {"cannot use 'none': No such file", "is it there?"});
    auto [front, back] = test::make_socket_pair();
    const VhostUserServer server{std::move(back)};
    test::expect_error(
        [&, socket = &front] {
            greet_vhost_user(std::move(*socket), served_disk_kind(3), "cannot use it", "try");
        },
        ExitStatus::bad_file, {"cannot use it: it serves 2 queues, and 3 are wanted"});
}

/// A served disk with two queues behind a transport, and a back end at a path.
class VhostUserDeviceTest : public testing::Test {
  protected:
    explicit VhostUserDeviceTest(bool comes_back = true) : comes_back_{comes_back} { make_device({}); }
    void make_device(Manners manners) {
        auto [front, back] = test::make_socket_pair();
        server_ = std::make_unique<VhostUserServer>(std::move(back), std::move(manners));
        transport_.reset();
        VhostUser client = greet_vhost_user(std::move(front), kind_, "", "");
        device_ =
            std::make_unique<VhostUserDevice>(kind_, std::move(client), comes_back_ ? path_ : "", "disk");
        transport_ = std::make_unique<MmioTransport>(*device_, memory_, irq_, "disk");
    }
    /// Negotiates and starts both queues.
    void start() {
        test::MmioDriver registers{*transport_};
        for (uint16_t index = 0; index < 2; ++index) {
            ASSERT_TRUE(memory_.discard(GuestRange::of(kRings + index * kRingsApart, kRingsApart)));
            drivers_[index].emplace(memory_, kRings + index * kRingsApart, kSize);
        }
        registers.negotiate(test::kVersion1);
        registers.set_queue(0, drivers_[0]->config());
        registers.set_queue(1, drivers_[1]->config());
        registers.start();
    }
    [[nodiscard]] uint32_t status() { return test::MmioDriver{*transport_}.get(VIRTIO_MMIO_STATUS); }
    [[nodiscard]] bool needs_reset() { return (status() & VIRTIO_CONFIG_S_NEEDS_RESET) != 0; }
    void write_status(uint32_t value) { test::MmioDriver{*transport_}.set(VIRTIO_MMIO_STATUS, value); }
    void kick(int queue) {
        test::MmioDriver{*transport_}.set(VIRTIO_MMIO_QUEUE_NOTIFY, static_cast<uint32_t>(queue));
    }
    static uint64_t status_of(int head) { return kData + static_cast<uint64_t>(head) * 0x100 + 0x80; }
    /// Makes a request available; its status byte is a mark until it is answered.
    void request(int queue, int head) {
        ASSERT_TRUE(memory_.write(GuestAddress{status_of(head)}, uint8_t{0x77}));
        const test::Buffer buffers[] = {{status_of(head) - 0x80, 16, false}, {status_of(head), 1, true}};
        drivers_[queue]->add(buffers, static_cast<uint16_t>(head));
    }
    /// As the back end does it.
    void answer(uint32_t queue, uint16_t head) {
        const vhost_user::VringAddr& addresses = server_->rings[queue].addresses;
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

    const bool comes_back_;
    const test::TemporaryFolder folder_;
    const std::filesystem::path path_ = folder_.path() / "socket";
    const GuestRange ranges_[1] = {GuestRange::of(0, 0x10000)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent, GuestMemory::Sharing::shareable};
    test::CountingIrqLine irq_;
    const VhostUserKind kind_ = served_disk_kind(2);
    std::unique_ptr<VhostUserServer> server_;
    std::unique_ptr<VhostUserDevice> device_;
    std::unique_ptr<MmioTransport> transport_;
    std::optional<test::DriverQueue> drivers_[2];
    uint16_t answered_[2] = {};
};

TEST_F(VhostUserDeviceTest, ItsQueuesAreTheBackEndsWithKicksAndCalls) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(0));
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->accepted, test::kVersion1 | uint64_t{1} << vhost_user::kProtocolFeatures);
    for (uint32_t index = 0; index < 2; ++index) {
        VhostUserServer::Ring& ring = server_->rings[index];
        EXPECT_EQ(ring.size, kSize);
        EXPECT_EQ(ring.base, 0U);
        ASSERT_TRUE(ring.kick.valid() && ring.call.valid() && ring.err.valid());
        drain_eventfd(ring.kick.get());  // each is kicked once when it starts
        request(static_cast<int>(index), 2);
        kick(static_cast<int>(index));
        EXPECT_TRUE(is_readable(ring.kick.get()));
        // It sees what the driver wrote, through its own mapping.
        vring_desc descriptor{};
        std::memcpy(&descriptor, server_->at(ring.addresses.descriptor) + 2 * sizeof descriptor,
                    sizeof descriptor);
        EXPECT_EQ(descriptor.addr, kData + 0x200);
        uint16_t available[3] = {};
        std::memcpy(available, server_->at(ring.addresses.available), sizeof available);
        EXPECT_EQ(available[1], 1);
        EXPECT_EQ(available[2], 2);
        const int before = irq_.count();
        answer(index, 2);
        signal_eventfd(ring.call.get());
        EXPECT_TRUE(wait_for([&] { return irq_.count() > before; }));
        EXPECT_EQ(drivers_[index]->take_used().size(), 1U);
    }
}

TEST_F(VhostUserDeviceTest, AResetTakesTheQueuesBackBeforeItAnswers) {
    for (int round = 0; round < 3; ++round) {
        start();
        ASSERT_TRUE(server_->wait_for_ring(0));
        ASSERT_TRUE(server_->wait_for_ring(1));
        write_status(0);
        EXPECT_TRUE(server_->wait_until([](VhostUserServer& server) {
            return !server.rings[0].started && !server.rings[1].started && !server.rings[0].enabled;
        }));
        EXPECT_EQ(std::ranges::count(server_->requests, uint32_t{vhost_user::kGetVringBase}),
                  2 * (round + 1));
    }
    EXPECT_EQ(std::ranges::count(server_->requests, uint32_t{vhost_user::kSetOwner}), 1);
}

TEST_F(VhostUserDeviceTest, OffersOnlyWhatAllSidesHave) {
    Manners manners;
    manners.features = test::kVersion1 | uint64_t{1} << vhost_user::kProtocolFeatures |
                       uint64_t{1} << VIRTIO_RING_F_EVENT_IDX | uint64_t{1} << VIRTIO_BLK_F_FLUSH |
                       uint64_t{1} << VIRTIO_BLK_F_CONFIG_WCE | uint64_t{1} << VIRTIO_F_RING_PACKED |
                       uint64_t{1} << 26;  // VHOST_F_LOG_ALL
    make_device(manners);
    test::MmioDriver registers{*transport_};
    registers.set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
    const uint64_t low = registers.get(VIRTIO_MMIO_DEVICE_FEATURES);
    registers.set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
    const uint64_t offered = low | uint64_t{registers.get(VIRTIO_MMIO_DEVICE_FEATURES)} << 32;
    EXPECT_EQ(offered,
              test::kVersion1 | uint64_t{1} << VIRTIO_RING_F_EVENT_IDX | uint64_t{1} << VIRTIO_BLK_F_FLUSH);
}

TEST_F(VhostUserDeviceTest, TheConfigurationIsTheBackEndsButForTheQueues) {
    Manners manners;
    manners.configuration[0] = std::byte{9};
    make_device(manners);
    test::MmioDriver registers{*transport_};
    EXPECT_EQ(registers.get(VIRTIO_MMIO_DEVICE_ID), 2U);
    EXPECT_EQ(registers.get(VIRTIO_MMIO_CONFIG), 9U);
    uint16_t queues = 0;
    transport_->read(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, num_queues),
                     std::as_writable_bytes(std::span{&queues, 1}));
    EXPECT_EQ(queues, 2);
    EXPECT_EQ(registers.get(VIRTIO_MMIO_CONFIG + kConfigSize), 0U);
    EXPECT_EQ(registers.get(VIRTIO_MMIO_CONFIG + 0x400), 0U);
}

TEST_F(VhostUserDeviceTest, WhatALostBackEndOwesIsAnsweredWithErrors) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    for (const int head : {0, 2, 4}) {
        request(1, head);
    }
    answer(1, 2);  // out of order
    server_.reset();
    EXPECT_THAT(wait_for_used(1, 3), testing::UnorderedElementsAre(2, 0, 4));
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(0)}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(4)}), VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(2)}), 0x77) << "the back end's own answer";
    EXPECT_GE(irq_.count(), 1);
    // What comes later is answered too, in either queue.
    for (const int queue : {0, 1, 1}) {
        request(queue, 6);
        kick(queue);
        EXPECT_THAT(wait_for_used(queue, 1), testing::ElementsAre(6));
        EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(6)}), VIRTIO_BLK_S_IOERR);
    }
    EXPECT_FALSE(needs_reset());
    write_status(0);
    EXPECT_EQ(status(), 0U);
}

TEST_F(VhostUserDeviceTest, ABackEndThatIsBackGoesOnWhereTheErrorsEnd) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(0));
    for (const int head : {0, 2}) {
        request(0, head);
    }
    server_.reset();
    EXPECT_EQ(wait_for_used(0, 2).size(), 2U);
    const UniqueFd listener = test::listen_unix(path_);
    UniqueFd connection{accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    Manners manners;
    manners.configuration[1] = std::byte{5};
    server_ = std::make_unique<VhostUserServer>(std::move(connection), manners);
    ASSERT_TRUE(server_->wait_for_ring(0));
    ASSERT_TRUE(server_->wait_for_ring(1));
    EXPECT_EQ(server_->rings[0].base, 2U);
    EXPECT_EQ(server_->rings[1].base, 0U);
    EXPECT_TRUE(is_readable(server_->rings[0].kick.get())) << "a kick may have been missed";
    EXPECT_EQ(test::MmioDriver{*transport_}.get(VIRTIO_MMIO_CONFIG), 5U << 8);
    answered_[0] = 2;
    request(0, 4);
    answer(0, 4);
    signal_eventfd(server_->rings[0].call.get());
    EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(4));
    EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(4)}), 0x77);
}

TEST_F(VhostUserDeviceTest, ABackEndThatIsReplacedBeforeTheDriverComesIsFoundAgain) {
    server_.reset();
    const UniqueFd listener = test::listen_unix(path_);
    start();
    UniqueFd connection{accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    server_ = std::make_unique<VhostUserServer>(std::move(connection));
    EXPECT_TRUE(server_->wait_for_ring(0));
    EXPECT_EQ(server_->rings[0].base, 0U);
}

/// Every way in which a back end can go wrong once the driver has started.
TEST_F(VhostUserDeviceTest, ABackEndGoneWildCostsItsDeviceOnly) {
    const auto spoil = [](uint32_t request, std::function<bool(VhostUserMessage&)> change) {
        Manners manners;
        manners.change = [=](VhostUserMessage& answer) {
            return answer.request != request || change(answer);
        };
        return manners;
    };
    const auto refuse = [](VhostUserMessage& answer) {
        answer.set(uint64_t{1});
        return true;
    };
    const auto close = [](VhostUserMessage&) { return false; };
    struct Row {
        const char* name;
        Manners manners;
    };
    const Row rows[] = {
        {"refuses the memory", spoil(vhost_user::kSetMemTable, refuse)},
        {"refuses a queue's size", spoil(vhost_user::kSetVringNum, refuse)},
        {"refuses the features", spoil(vhost_user::kSetFeatures, refuse)},
        {"refuses to enable", spoil(vhost_user::kSetVringEnable, refuse)},
        {"closes when it gets a kick", spoil(vhost_user::kSetVringKick, close)},
        {"another answer", spoil(vhost_user::kSetVringAddr,
                                 [](VhostUserMessage& answer) {
                                     answer.request = vhost_user::kGetFeatures;
                                     return true;
                                 })},
    };
    Rng rng;
    test::CountingIrqLine rng_irq;
    MmioTransport rng_transport{rng, memory_, rng_irq, "rng"};
    test::DriverQueue rng_driver{memory_, 0x6000, kSize};
    test::MmioDriver rng_registers{rng_transport};
    rng_registers.negotiate(test::kVersion1);
    rng_registers.set_queue(0, rng_driver.config());
    rng_registers.start();
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        make_device(row.manners);
        start();
        request(0, 2);
        kick(0);
        EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(2));
        EXPECT_EQ(memory_.read<uint8_t>(GuestAddress{status_of(2)}), VIRTIO_BLK_S_IOERR);
        EXPECT_FALSE(needs_reset());
        write_status(0);
        EXPECT_EQ(status(), 0U);

        const test::Buffer buffer[] = {{0x7800, 16, true}};
        rng_driver.add(buffer);
        rng_registers.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
        EXPECT_TRUE(wait_for([&] { return !rng_driver.take_used().empty(); })) << "the second device";
    }
}

TEST_F(VhostUserDeviceTest, ABackEndThatDoesNotGiveQueuesBackIsLeftAtAReset) {
    const Manners rows[] = {
        {.change = [](VhostUserMessage& answer) { return answer.request != vhost_user::kGetVringBase; }},
        {.change =
             [](VhostUserMessage& answer) {
                 if (answer.request == vhost_user::kGetVringBase) {
                     answer.set(vhost_user::VringState{.index = 7, .num = 0});
                 }
                 return true;
             }},
    };
    for (const Manners& manners : rows) {
        make_device(manners);
        start();
        ASSERT_TRUE(server_->wait_for_ring(1));
        write_status(0);
        EXPECT_EQ(status(), 0U);
        EXPECT_TRUE(server_->wait_until([](VhostUserServer& server) { return server.ended; }));
    }
}

TEST_F(VhostUserDeviceTest, WhatABackEndSaysUnaskedEndsItsConnection) {
    auto [front, back] = test::make_socket_pair();
    const int speak = dup(back.get());
    server_ = std::make_unique<VhostUserServer>(std::move(back));
    transport_.reset();
    device_ = std::make_unique<VhostUserDevice>(kind_, greet_vhost_user(std::move(front), kind_, "", ""), "",
                                                "disk");
    transport_ = std::make_unique<MmioTransport>(*device_, memory_, irq_, "disk");
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    ASSERT_EQ(write(speak, "hello", 5), 5);
    const UniqueFd closes{speak};
    request(0, 0);
    EXPECT_THAT(wait_for_used(0, 1), testing::ElementsAre(0));
    EXPECT_TRUE(server_->wait_until([](VhostUserServer& server) { return server.ended; }));
}

TEST_F(VhostUserDeviceTest, AQueueThatTheBackEndFindsBrokenNeedsAReset) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    signal_eventfd(server_->rings[1].err.get());
    EXPECT_TRUE(wait_for([&] { return needs_reset(); }));
    write_status(0);
    start();
    EXPECT_TRUE(server_->wait_for_ring(0));
    EXPECT_FALSE(needs_reset());
}

TEST_F(VhostUserDeviceTest, RingsThatMakeNoSenseWithoutABackEndNeedAReset) {
    start();
    ASSERT_TRUE(server_->wait_for_ring(1));
    drivers_[1]->set_available_index(100);
    server_.reset();
    EXPECT_TRUE(wait_for([&] { return needs_reset(); }));
    write_status(0);
    EXPECT_EQ(status(), 0U);
}

TEST(Share, TellsItsTagAndRefusesRequestsAsFuseDoes) {
    const VhostUserKind kind = share_kind("src");
    EXPECT_EQ(kind.type, 26U);
    EXPECT_EQ(kind.queue_sizes.size(), 2U);
    const auto config = kind.make_configuration({});
    ASSERT_EQ(config.size(), 40U);
    EXPECT_STREQ(reinterpret_cast<const char*>(config.data()), "src");
    EXPECT_EQ(config[36], std::byte{1});

    fuse_in_header question{};
    question.unique = 77;
    fuse_out_header answer{};
    const iovec readable[] = {{&question, sizeof question}};
    const iovec writable[] = {{&answer, sizeof answer}};
    EXPECT_EQ(kind.refuse(DescriptorChain{0, readable, sizeof question, writable, sizeof answer}),
              sizeof answer);
    EXPECT_EQ(answer.len, sizeof answer);
    EXPECT_EQ(answer.error, -EIO);
    EXPECT_EQ(answer.unique, 77U);
    EXPECT_EQ(kind.refuse(DescriptorChain{0, readable, sizeof question, {}, 0}), 0U) << "FORGET";
    EXPECT_EQ(kind.refuse(DescriptorChain{0, {}, 0, writable, 4}), 0U) << "no room";
}

TEST(ServedDisk, RefusesWhatHasNoRoomForAnAnswer) {
    uint8_t bytes[2] = {0x77, 0x77};
    const iovec writable[] = {{bytes, 2}};
    const VhostUserKind kind = served_disk_kind(1);
    EXPECT_EQ(kind.refuse(DescriptorChain{0, {}, 0, {}, 0}), 0U);
    EXPECT_EQ(kind.refuse(DescriptorChain{0, {}, 0, writable, 2}), 2U);
    EXPECT_EQ(bytes[1], VIRTIO_BLK_S_IOERR);
    EXPECT_EQ(bytes[0], 0x77);
    EXPECT_EQ(kind.features & uint64_t{1} << VIRTIO_BLK_F_MQ, 0U);
}

}  // namespace
}  // namespace hull::virtio
