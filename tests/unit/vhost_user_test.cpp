// The conversation with a vhost-user back end that a test plays.
#include "devices/virtio/vhost_user.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/virtio_blk.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "devices/block/served_disk.h"
#include "devices/virtio/vhost_user_device.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/mmio_driver.h"
#include "tests/support/vhost_user_server.h"
#include "tests/support/virtio_driver.h"

namespace hull::virtio {
namespace {

using test::VhostUserMessage;
using test::VhostUserServer;
using Manners = VhostUserServer::Manners;
using testing::HasSubstr;

constexpr uint64_t kRings = 0x1000;
constexpr uint16_t kSize = 8;
constexpr size_t kConfigSize = 60;

/// A conversation that was begun, and its other side.
struct Conversation {
    explicit Conversation(Manners manners = {},
                          const VhostUserNeeds& needs = {.configuration_size = kConfigSize}) {
        auto [front, back] = test::make_socket_pair();
        server = std::make_unique<VhostUserServer>(std::move(back), std::move(manners));
        client = VhostUser::open(std::move(front), needs, std::chrono::milliseconds{200});
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
    Conversation conversation{manners, VhostUserNeeds{}};
    ASSERT_TRUE(conversation.client) << conversation.client.error();
    EXPECT_EQ(conversation.client->most_queues(), 1U);
    EXPECT_TRUE(conversation.client->configuration().empty());
    // Nothing waits for an answer to this.
    EXPECT_TRUE(conversation.server->wait_until([](const VhostUserServer& server) {
        return std::ranges::count(server.requests, vhost_user::kSetProtocolFeatures) == 1;
    }));
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

/// A conversation with a back end that notes requests in flight, and what it is started with.
class VhostUserInflightTest : public testing::Test {
  protected:
    VhostUserResult<void> start(Manners manners) {
        manners.protocol |= 1 << vhost_user::kInflightFd;
        conversation_ = std::make_unique<Conversation>(
            std::move(manners), VhostUserNeeds{.configuration_size = 0, .inflight = true});
        return conversation_->client->start(test::kVersion1, memory_, rings_, inflight_);
    }
    /// Starts with an answer to GET_INFLIGHT_FD that was changed.
    VhostUserResult<void> start_with(std::function<void(VhostUserMessage&)> change) {
        inflight_ = {};
        Manners manners;
        changing(vhost_user::kGetInflightFd, std::move(change))(manners);
        return start(std::move(manners));
    }

    const GuestRange ranges_[1] = {GuestRange::of(0, 0x10000)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent, GuestMemory::Sharing::shareable};
    test::DriverQueue driver_{memory_, kRings, kSize};
    const VirtQueue queue_ = std::move(*VirtQueue::make(memory_, driver_.config(), 0));
    const UniqueFd event_ = make_eventfd();
    const VhostUserRing rings_[1] = {{.index = 2,
                                      .queue = &queue_,
                                      .kick_fd = event_.get(),
                                      .call_fd = event_.get(),
                                      .err_fd = event_.get()}};
    VhostUserInflight inflight_;
    std::unique_ptr<Conversation> conversation_;
};

TEST_F(VhostUserInflightTest, ItsNoteGoesFromOneBackEndToTheNext) {
    ASSERT_TRUE(start({}));
    VhostUserServer& first = *conversation_->server;
    ASSERT_TRUE(first.wait_for_ring(2));
    ASSERT_TRUE(first.inflight.valid());
    EXPECT_EQ(first.inflight_place.queues, 3);
    EXPECT_EQ(first.inflight_place.queue_size, kSize);
    ASSERT_EQ(write(first.inflight.get(), "mark", 4), 4);
    ASSERT_TRUE(start({}));
    VhostUserServer& second = *conversation_->server;
    ASSERT_TRUE(second.wait_for_ring(2));
    EXPECT_EQ(std::ranges::count(second.requests, uint32_t{vhost_user::kGetInflightFd}), 0);
    char mark[4] = {};
    EXPECT_EQ(pread(second.inflight.get(), mark, 4, 0), 4);
    EXPECT_EQ(std::string(mark, 4), "mark");
}

TEST_F(VhostUserInflightTest, IsNotAskedForWhereNobodyNeedsIt) {
    Manners manners;
    manners.protocol |= 1 << vhost_user::kInflightFd;
    conversation_ = std::make_unique<Conversation>(manners, VhostUserNeeds{});
    EXPECT_EQ(conversation_->server->accepted_protocol & 1 << vhost_user::kInflightFd, 0U);
    ASSERT_TRUE(conversation_->client->start(test::kVersion1, memory_, rings_, inflight_));
    EXPECT_FALSE(inflight_.fd.valid());
}

TEST_F(VhostUserInflightTest, AnUnsoundNoteEndsTheConversation) {
    const auto placed = [](const std::function<void(vhost_user::Inflight&)>& change) {
        return [change](VhostUserMessage& answer) {
            auto place = answer.as<vhost_user::Inflight>();
            change(place);
            answer.set(place);
        };
    };
    const auto with_fd = [](UniqueFd (*make)()) {
        return [make](VhostUserMessage& answer) {
            answer.fds.clear();
            answer.fds.push_back(make());
        };
    };
    constexpr const char* kPlace = "no place for its note";
    struct Row {
        const char* name;
        std::function<void(VhostUserMessage&)> change;
        const char* told;
    };
    const Row rows[] = {
        {"no descriptor", [](auto& a) { a.fds.clear(); }, kPlace},
        {"an empty file", with_fd([] { return UniqueFd{memfd_create("none", MFD_CLOEXEC)}; }), kPlace},
        {"an eventfd", with_fd([] { return make_eventfd(); }), kPlace},
        {"a folder", with_fd([] { return UniqueFd{open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)}; }), kPlace},
        {"a socket", with_fd([] { return std::move(test::make_socket_pair().first); }), kPlace},
        {"nothing of it", placed([](auto& place) { place.mmap_size = 0; }), kPlace},
        {"more than there is", placed([](auto& place) { place.mmap_size += 1; }), kPlace},
        {"all there can be", placed([](auto& place) { place.mmap_size = UINT64_MAX; }), kPlace},
        {"beyond the end", placed([](auto& place) { place.mmap_offset = 1; }), kPlace},
        {"far beyond", placed([](auto& place) { place.mmap_offset = UINT64_MAX; }), kPlace},
        {"a sum that wraps", placed([](auto& place) {
             place.mmap_offset = 4096;
             place.mmap_size = UINT64_MAX - 4095;
         }),
         kPlace},
        {"other queues", placed([](auto& place) { place.queues = 1; }), kPlace},
        {"another size of queues", placed([](auto& place) { place.queue_size = 0xffff; }), kPlace},
        {"too short", [](auto& a) { a.payload.resize(20); }, "20 bytes instead of 24"},
        {"another answer", [](auto& a) { a.request = vhost_user::kSetInflightFd; }, "no answer"},
    };
    for (const Row& row : rows) {
        const auto started = start_with(row.change);
        ASSERT_FALSE(started) << row.name;
        EXPECT_THAT(started.error(), HasSubstr(row.told)) << row.name;
        EXPECT_FALSE(inflight_.fd.valid()) << row.name;
    }
    // Too many descriptors cost nothing but themselves.
    EXPECT_TRUE(start_with([](auto& a) { a.fds.push_back(make_eventfd()); }));
    // And one that refuses it is lost.
    Manners refuses;
    changing(vhost_user::kSetInflightFd, [](auto& a) { a.set(uint64_t{1}); })(refuses);
    inflight_ = {};
    EXPECT_THAT(start(refuses).error(), HasSubstr("refuses request 32"));
}

TEST(VhostUser, SilenceIsNotWaitedForForEver) {
    auto [front, back] = test::make_socket_pair();
    auto client = VhostUser::open(std::move(front), {}, std::chrono::milliseconds{20});
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error(), "it does not answer");
    // Half a header is silence too.
    auto [second_front, second_back] = test::make_socket_pair();
    ASSERT_EQ(write(second_back.get(), "abc", 3), 3);
    client = VhostUser::open(std::move(second_front), {}, std::chrono::milliseconds{20});
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error(), "it does not answer");
}

TEST(VhostUser, OneThatDawdlesHasItsPatienceOnceAndNotForEachAnswer) {
    Manners manners;
    manners.change = [](VhostUserMessage&) {
        std::this_thread::sleep_for(std::chrono::milliseconds{60});
        return true;
    };
    // Five answers, none of which is late by itself.
    const Conversation conversation{manners};
    ASSERT_FALSE(conversation.client);
    EXPECT_EQ(conversation.client.error(), "it does not answer");
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
    const auto client = VhostUser::open(std::move(front), {}, std::chrono::milliseconds{20});
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

}  // namespace
}  // namespace hull::virtio
