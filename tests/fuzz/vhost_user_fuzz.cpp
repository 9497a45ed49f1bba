// A back end of vhost-user whose answers are mostly sound, and rings that it and a guest left in any state.
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "devices/virtio/vhost_user.h"
#include "devices/virtio/vhost_user_layout.h"
#include "tests/fuzz/input.h"
#include "tests/support/virtio_driver.h"

namespace {

using namespace hull;
using namespace hull::virtio;
namespace vu = hull::virtio::vhost_user;
using test::require;

constexpr uint64_t kRings = 0x1000;
constexpr uint64_t kEnd = 0x4000;
constexpr uint16_t kQueueSize = 8;
constexpr size_t kConfigSize = 60;
constexpr size_t kNoteSize = 4096;

/// What a back end sends in answer to all that it is asked below.
std::vector<std::pair<uint32_t, std::vector<std::byte>>> sound_answers() {
    std::vector<std::pair<uint32_t, std::vector<std::byte>>> answers;
    const auto add = [&](uint32_t request, const auto& value) {
        const auto bytes = std::as_bytes(std::span{&value, 1});
        answers.emplace_back(request, std::vector<std::byte>{bytes.begin(), bytes.end()});
    };
    add(vu::kGetFeatures, feature(32) | feature(vu::kProtocolFeatures));
    add(vu::kGetProtocolFeatures,
        feature(vu::kMultiQueue) | feature(vu::kReplyAck) | feature(vu::kConfig) | feature(vu::kInflightFd));
    add(vu::kGetQueueNum, uint64_t{2});
    add(vu::kSetOwner, uint64_t{0});
    add(vu::kGetConfig, vu::ConfigHeader{.offset = 0, .size = kConfigSize, .flags = 0});
    answers.back().second.resize(sizeof(vu::ConfigHeader) + kConfigSize);
    add(vu::kSetFeatures, uint64_t{0});
    add(vu::kGetInflightFd,
        vu::Inflight{
            .mmap_size = kNoteSize, .mmap_offset = 0, .queues = 1, .queue_size = kQueueSize, .padding = 0});
    for (const uint32_t request :
         {vu::kSetInflightFd, vu::kSetMemTable, vu::kSetVringNum, vu::kSetVringBase, vu::kSetVringAddr,
          vu::kSetVringCall, vu::kSetVringErr, vu::kSetVringKick, vu::kSetVringEnable}) {
        add(request, uint64_t{0});
    }
    add(vu::kSetVringEnable, uint64_t{0});
    add(vu::kGetVringBase, vu::VringState{.index = 0, .num = 0});
    return answers;
}

/// What comes with an answer: mostly what belongs there, a note of requests in flight.
std::vector<UniqueFd> make_fds(test::FuzzInput& input, bool belongs) {
    std::vector<UniqueFd> fds;
    const uint8_t shape = input.byte() % 16;
    if (belongs && shape != 1) {
        fds.emplace_back(memfd_create("note", MFD_CLOEXEC));
        require(ftruncate(fds.back().get(), shape == 2 ? input.half_word() : kNoteSize) == 0);
    }
    if (shape == 3) {
        fds.push_back(make_eventfd());
    }
    return fds;
}

void send_part(int socket, std::span<const std::byte> bytes, std::span<const UniqueFd> fds) {
    iovec data{const_cast<std::byte*>(bytes.data()), bytes.size()};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(2 * sizeof(int))> control{};
    if (!fds.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
        cmsghdr* rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
        for (size_t index = 0; index < fds.size(); ++index) {
            const int fd = fds[index].get();
            std::memcpy(CMSG_DATA(rights) + index * sizeof fd, &fd, sizeof fd);
        }
    }
    require(sendmsg(socket, &message, 0) == static_cast<ssize_t>(bytes.size()));
}

/// Everything is sent before anything is asked, and then the end.
void send_answers(test::FuzzInput& input, int socket) {
    for (auto& [request, payload] : sound_answers()) {
        vu::Header header{request, vu::kVersion | vu::kReply, static_cast<uint32_t>(payload.size())};
        switch (input.byte() % 32) {
            case 1:
                header.request = input.byte();
                break;
            case 2:
                header.flags = input.byte();
                break;
            case 3:
                header.size = input.word();
                break;
            case 4:
                payload.resize(input.byte());
                header.size = static_cast<uint32_t>(payload.size());
                break;
            case 5:
                payload[input.byte() % payload.size()] = std::byte{input.byte()};
                break;
            case 6:
                payload.resize(payload.size() / 2);
                break;
            default:
                break;
        }
        const auto bytes = std::as_bytes(std::span{&header, 1});
        std::vector<std::byte> message{bytes.begin(), bytes.end()};
        message.insert(message.end(), payload.begin(), payload.end());
        send_part(socket, message, make_fds(input, request == vu::kGetInflightFd));
    }
    shutdown(socket, SHUT_WR);
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    const GuestRange ranges[] = {GuestRange::of(0, kEnd)};
    GuestMemory memory{ranges, Mapping::Pages::transparent, GuestMemory::Sharing::shareable};
    test::DriverQueue driver{memory, kRings, kQueueSize};
    VirtQueue queue = std::move(*VirtQueue::make(memory, driver.config(), 0));

    int pair[2] = {};
    require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    UniqueFd front{pair[0]};
    const UniqueFd back{pair[1]};
    send_answers(input, back.get());
    auto server = VhostUser::open(std::move(front), {.configuration_size = kConfigSize, .inflight = true},
                                  std::chrono::milliseconds{100});
    if (server) {
        require(server->configuration().size() == kConfigSize && server->most_queues() > 0);
        const UniqueFd event = make_eventfd();
        const VhostUserRing rings[] = {{.index = 0,
                                        .queue = &queue,
                                        .kick_fd = event.get(),
                                        .call_fd = event.get(),
                                        .err_fd = event.get()}};
        VhostUserInflight inflight;
        if (server->start(feature(32), memory, rings, inflight)) {
            static_cast<void>(server->stop(rings));
        }
        require(!inflight.fd.valid() || inflight.place.mmap_size > 0);
    }

    while (!input.empty()) {
        switch (input.byte() % 4) {
            case 0: {
                const test::Buffer buffer[] = {{kRings + input.half_word() % kEnd, input.byte(), true}};
                driver.add(buffer, input.byte() % kQueueSize);
                break;
            }
            case 1: {
                // An answer, mostly to what was asked.
                const uint64_t used = raw(driver.config().device_area);
                const auto index = memory.read<uint16_t>(GuestAddress{used + 2}).value();
                require(memory.write(GuestAddress{used + 4 + 8 * (index % kQueueSize)},
                                     vring_used_elem{input.byte() % (kQueueSize + 1U), 0}));
                require(memory.write(GuestAddress{used + 2}, static_cast<uint16_t>(index + 1)));
                break;
            }
            case 2:
                require(memory.write(GuestAddress{kRings + input.byte()}, input.byte()));
                break;
            default: {
                const auto heads = queue.take_over();
                if (!heads) {
                    return 0;
                }
                require(heads->size() <= kQueueSize);
                for (const uint16_t head : *heads) {
                    auto chain = queue.pop_owed(head);
                    if (!chain) {
                        return 0;
                    }
                    queue.push(std::move(*chain), 0);
                }
                require(queue.take_over().value().empty());
                break;
            }
        }
    }
    return 0;
}
