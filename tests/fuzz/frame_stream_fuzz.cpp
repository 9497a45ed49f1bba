// Frames over a stream: the other side's come in pieces of any size, one with a length that cannot be; it
// takes ours as slowly as it likes. What comes out is what went in.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <vector>

#include "base/unique_fd.h"
#include "devices/net/frame_stream.h"
#include "devices/net/layout.h"
#include "devices/net/net_queues.h"
#include "tests/fuzz/input.h"

namespace {

using namespace hull;
using test::require;
using namespace hull::virtio;

using Bytes = std::vector<std::byte>;
constexpr size_t kHeader = sizeof(virtio_net_hdr_v1);

/// The length of a frame as it is sent, and the frame itself.
void append_frame(Bytes& stream, uint32_t told, const Bytes& frame) {
    const uint32_t length = htonl(told);
    const auto bytes = std::as_bytes(std::span{&length, 1});
    stream.insert(stream.end(), bytes.begin(), bytes.end());
    stream.insert(stream.end(), frame.begin(), frame.end());
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    int pair[2] = {};
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    const UniqueFd ours{pair[0]};
    const UniqueFd theirs{pair[1]};
    const int least = 1;
    setsockopt(ours.get(), SOL_SOCKET, SO_SNDBUF, &least, sizeof least);
    FrameStream stream{ours.get()};

    Bytes to_send;             // of the other side's
    std::deque<Bytes> frames;  // that are in it, to come out here
    bool is_broken = false;    // none after these
    Bytes sent;                // of ours, which the other side is to get
    Bytes got;
    Bytes buffer(0x2'0000);
    const auto take = [&](size_t most) {
        const ssize_t part = read(theirs.get(), buffer.data(), std::min(most, buffer.size()));
        got.insert(got.end(), buffer.begin(), buffer.begin() + std::max<ssize_t>(part, 0));
        return part > 0;
    };
    const auto frame_of = [&](size_t length) {
        return Bytes(length, std::byte{static_cast<uint8_t>(frames.size() + sent.size())});
    };
    for (int step = 0; !input.empty() && step < 500; ++step) {
        const uint8_t what = input.byte();
        switch (what % 5) {
            case 0: {
                const size_t length = input.half_word() >> (what & 0x80 ? 0 : 8);
                if (what == 0x7d) {
                    append_frame(to_send, NetQueues::kMostFrame + 1 + input.word() % 0x7fff'0000, {});
                    is_broken = true;
                } else if (to_send.size() < 0x10'0000) {
                    Bytes frame = frame_of(length);
                    append_frame(to_send, static_cast<uint32_t>(length), frame);
                    if (!is_broken) {
                        frames.push_back(std::move(frame));
                    }
                }
                break;
            }
            case 1: {
                const size_t part =
                    std::min<size_t>(to_send.size(), size_t{input.half_word()} << (what >> 7));
                const ssize_t done = write(theirs.get(), to_send.data(), part);
                to_send.erase(to_send.begin(), to_send.begin() + std::max<ssize_t>(done, 0));
                break;
            }
            case 2: {
                std::array<iovec, 2> places{};
                const size_t first = input.half_word() % 0x1000 + 1;
                const size_t second = (what & 0x80) != 0 ? NetQueues::kMostFrame : input.byte();
                places[0] = {buffer.data(), first};
                places[1] = {buffer.data() + first, second};
                const bool had = stream.has_frame();
                const ssize_t size_got = stream.receive(places);
                if (size_got <= 0) {
                    require(size_got == 0 ? is_broken && frames.empty() : errno == EAGAIN && !had);
                    break;
                }
                require(!frames.empty());
                const Bytes& frame = frames.front();
                const auto room = static_cast<ssize_t>(first + second);
                require(size_got == std::min<ssize_t>(room, static_cast<ssize_t>(kHeader + frame.size())));
                if (static_cast<size_t>(size_got) > kHeader) {
                    require(std::equal(buffer.begin() + kHeader, buffer.begin() + size_got, frame.begin()));
                }
                frames.pop_front();
                break;
            }
            case 3: {
                // In three parts, of which the header may be cut anywhere.
                Bytes message(kHeader);
                const Bytes frame = frame_of(input.half_word() + 1U);
                message.insert(message.end(), frame.begin(), frame.end());
                const size_t first = input.byte() % 20;
                const std::array<iovec, 2> segments{
                    iovec{message.data(), std::min(first, message.size())},
                    iovec{message.data() + first, message.size() - std::min(first, message.size())}};
                const ssize_t done = stream.send(segments);
                require(done == static_cast<ssize_t>(message.size()) || (done < 0 && errno == EAGAIN));
                if (done > 0) {
                    append_frame(sent, static_cast<uint32_t>(frame.size()), frame);
                }
                break;
            }
            default:
                take(size_t{input.half_word()} << (what >> 7));
                break;
        }
    }
    while (!stream.flush()) {
        take(buffer.size());
    }
    require(!stream.has_rest());
    while (take(buffer.size())) {
    }
    require(got == sent);
    return 0;
}
