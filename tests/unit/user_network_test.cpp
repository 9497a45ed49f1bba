// The user network, as its process serves it, without anything of the host's.
#include "devices/net/user/user_network.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "devices/net/layout.h"

namespace hull::virtio {
namespace {

constexpr size_t kHeader = sizeof(virtio_net_hdr_v1);
using Frame = std::vector<uint8_t>;

Frame frame_of(std::initializer_list<uint8_t> type, std::initializer_list<uint8_t> packet) {
    Frame frame(kHeader);
    frame.insert(frame.end(), {0x52, 0x55, 0x0a, 0x00, 0x02, 0x02, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56});
    frame.insert(frame.end(), type);
    frame.insert(frame.end(), packet);
    return frame;
}

/// Who has 10.0.2.2?
Frame question() {
    return frame_of({0x08, 0x06}, {0,  1, 8, 0,  6, 4, 0, 1, 0x52, 0x54, 0,  0x12, 0x34, 0x56,
                                   10, 0, 2, 15, 0, 0, 0, 0, 0,    0,    10, 0,    2,    2});
}

constexpr size_t kAnswer = kHeader + 64;  // Ethernet's least frame, with its checksum

/// The sizes of what a guest is answered that sends these frames and nothing more.
std::vector<size_t> answers_to(const std::vector<Frame>& frames) {
    int pair[2] = {};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    const UniqueFd guest{pair[1]};
    UserNetwork network{{.forwards = {}, .restricted = true}, UniqueFd{pair[0]}};
    for (const Frame& frame : frames) {
        EXPECT_EQ(write(guest.get(), frame.data(), frame.size()), static_cast<ssize_t>(frame.size()));
    }
    shutdown(guest.get(), SHUT_WR);
    network.serve();
    std::vector<size_t> sizes;
    std::array<uint8_t, 0x10000> answer{};
    for (ssize_t got = 0; (got = read(guest.get(), answer.data(), answer.size())) > 0;) {
        sizes.push_back(static_cast<size_t>(got));
    }
    return sizes;
}

TEST(UserNetwork, AnswersAndEndsWithItsLink) {
    EXPECT_EQ(answers_to({question()}), std::vector<size_t>{kAnswer});
}

/// One such frame ended the process, by a write through a pointer of the guest's.
TEST(UserNetwork, ALastFragmentThatComesFirstIsDropped) {
    Frame last =
        frame_of({0x08, 0x00}, {0x45, 0, 0, 44, 0, 1, 0, 10, 64, 6, 0x62, 0xa3, 10, 0, 2, 15, 10, 0, 2, 16});
    last.resize(last.size() + 24, 0x41);
    EXPECT_EQ(answers_to({last, question()}), std::vector<size_t>{kAnswer});
}

TEST(UserNetwork, WhatIsNoFrameIsDropped) {
    std::vector<Frame> frames;
    for (size_t size = 1; size < kHeader + 14 + 20; ++size) {
        Frame frame =
            frame_of({0x08, 0x00}, {0x45, 0, 0, 44, 0, 1, 0x20, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 16});
        frame.resize(size);
        frames.push_back(frame);
    }
    frames.push_back(question());
    EXPECT_EQ(answers_to(frames), std::vector<size_t>{kAnswer});
}

}  // namespace
}  // namespace hull::virtio
