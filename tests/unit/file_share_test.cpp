// The device that passes a driver's requests on to a file server, whatever either of them does.
#include "devices/fs/file_share.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <vector>

#include "base/error.h"
#include "devices/fs/fuse_request.h"
#include "tests/support/device_rig.h"
#include "tests/support/errors.h"
#include "tests/support/fuse_messages.h"

namespace hull::virtio {
namespace {

using test::eventually;
using test::fuse_forget;
using test::fuse_lookup;
using test::fuse_request;
using test::FuseAnswer;
using test::kPage;
using test::kReset;
using test::kVersion1;

template <typename Transport>
class FileShareTest : public testing::Test {
  protected:
    using Rig = test::Rig<Transport>;
    static constexpr uint64_t kAnswers = 128;  // the first of their pages
    static constexpr uint16_t kForgets = 0;
    static constexpr uint16_t kRequests = 1;

    FileShareTest() { rig_.start(kVersion1 | kReset); }

    void send(uint16_t queue, const std::string& request, uint32_t room) {
        const uint64_t at = Rig::data_at(queue, sent_);
        rig_.put(at, request);
        std::vector<test::Buffer> buffers{{at, static_cast<uint32_t>(request.size()), false}};
        if (room > 0) {
            buffers.push_back({kPage * (kAnswers + sent_), room, true});
        }
        rig_.add(queue, buffers, 2 * sent_++);
        rig_.side().kick(queue);
    }
    /// The bytes of the next answer in a queue.
    std::string take(uint16_t queue) {
        std::vector<vring_used_elem> used;
        EXPECT_TRUE(eventually([&] { return !(used = rig_.queues[queue].take_used()).empty(); }));
        if (used.empty()) {
            return "";
        }
        std::string text(used[0].len, ' ');
        EXPECT_TRUE(rig_.memory.read_bytes(GuestAddress{kPage * (kAnswers + used[0].id / 2)},
                                           std::as_writable_bytes(std::span{text})));
        return text;
    }
    int error_in(uint16_t queue) { return -FuseAnswer::of(take(queue)).header.error; }
    /// What the server is sent next.
    std::string receive() {
        std::string got;
        EXPECT_TRUE(eventually([&] { return !(got = test::read_some(wire_.far_end.get())).empty(); }));
        return got;
    }
    void answer(const std::string& text) { EXPECT_EQ(send_message(text), static_cast<ssize_t>(text.size())); }
    ssize_t send_message(const std::string& text) {
        return ::send(wire_.far_end.get(), text.data(), text.size(), MSG_NOSIGNAL);
    }

    test::Wire wire_{SOCK_SEQPACKET};
    Rig rig_{2, [this] {
                 return std::make_unique<FileShare>("the tag",
                                                    UniqueFd{fcntl(wire_.device.get(), F_DUPFD_CLOEXEC, 0)});
             }};
    uint64_t sent_ = 0;
};

using Transports = testing::Types<test::MmioSide, test::PciSide>;
TYPED_TEST_SUITE(FileShareTest, Transports);

TYPED_TEST(FileShareTest, PassesRequestsOnAndAnswersBack) {
    std::array<std::byte, 44> configuration{};
    this->rig_.device().read_configuration(0, configuration);
    EXPECT_STREQ(reinterpret_cast<const char*>(configuration.data()), "the tag");
    EXPECT_EQ(configuration[36], std::byte{1});
    this->send(this->kRequests, fuse_lookup(1, "name"), 200);
    EXPECT_EQ(this->receive(), fuse_lookup(1, "name"));
    this->answer("an answer of some bytes");
    EXPECT_EQ(this->take(this->kRequests), "an answer of some bytes");
    this->send(this->kForgets, fuse_forget(5, 1), 0);
    EXPECT_EQ(this->receive(), fuse_forget(5, 1));
    EXPECT_EQ(this->take(this->kForgets), "");
    this->send(this->kRequests, fuse_forget(6, 1), 0);
    EXPECT_EQ(this->take(this->kRequests), "") << "it waits for no answer to that";
    EXPECT_EQ(this->receive(), fuse_forget(6, 1));
}

TYPED_TEST(FileShareTest, ADriversOddRequestsDoNotMixUpTheAnswers) {
    this->send(this->kForgets, fuse_lookup(1, "name"), 200);
    EXPECT_EQ(this->error_in(this->kForgets), EIO) << "that queue gets no answers from the server";
    this->send(this->kRequests, "short", 200);
    EXPECT_EQ(this->error_in(this->kRequests), EIO);
    this->send(this->kRequests, fuse_lookup(1, "one"), 0);
    EXPECT_EQ(this->receive(), fuse_lookup(1, "one"));
    this->answer("an answer that there is no room for");
    EXPECT_EQ(this->take(this->kRequests), "");
    this->send(this->kRequests, fuse_lookup(1, "two"), 10);
    this->receive();
    this->answer("an answer that there is little room for");
    EXPECT_EQ(this->take(this->kRequests), "an answer ");
    this->send(this->kRequests, fuse_lookup(1, "three"), 200);
    this->receive();
    this->answer("the third");
    EXPECT_EQ(this->take(this->kRequests), "the third");
}

TYPED_TEST(FileShareTest, AServerThatDoesNotAnswerKeepsNoDriverFromAReset) {
    this->send(this->kRequests, fuse_lookup(1, "one"), 200);
    this->receive();
    const auto begin = std::chrono::steady_clock::now();
    this->rig_.clear_queues();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds{10});
    this->rig_.start(kVersion1 | kReset);
    this->send(this->kRequests, fuse_lookup(1, "two"), 200);
    EXPECT_EQ(this->receive(), fuse_lookup(1, "two"));
    this->answer("late, to the first");
    this->answer("to the second");
    EXPECT_EQ(this->take(this->kRequests), "to the second");
}

TYPED_TEST(FileShareTest, AServerThatEndsIsToldAsErrors) {
    this->send(this->kRequests, fuse_lookup(1, "one"), 200);
    this->receive();
    this->wire_.far_end.reset();
    EXPECT_EQ(this->error_in(this->kRequests), EIO);
    this->send(this->kRequests, fuse_lookup(1, "two"), 200);
    EXPECT_EQ(this->error_in(this->kRequests), EIO);
    this->send(this->kForgets, fuse_forget(5, 1), 0);
    EXPECT_EQ(this->take(this->kForgets), "");
    EXPECT_EQ(this->rig_.side().status() & VIRTIO_CONFIG_S_NEEDS_RESET, 0);
}

TYPED_TEST(FileShareTest, IsNotSaved) {
    this->rig_.side().state().quiesce();
    StateWriter state;
    test::expect_error([&] { this->rig_.side().state().save(state); }, ExitStatus::usage, {"the tag"});
}

}  // namespace
}  // namespace hull::virtio
