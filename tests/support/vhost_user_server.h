// A vhost-user back end that a test plays, well or badly.
#pragma once

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mapping.h"
#include "base/unique_fd.h"
#include "devices/virtio/vhost_user_layout.h"
#include "tests/support/sockets.h"

namespace hull::test {

namespace vu = virtio::vhost_user;

/// A message as it is on the wire.
struct VhostUserMessage {
    uint32_t request = 0;
    uint32_t flags = 0;
    std::vector<std::byte> payload;
    std::vector<UniqueFd> fds;  ///< that come with it, or go with an answer

    template <typename T>
    [[nodiscard]] T as() const {
        T value{};
        if (!payload.empty()) {
            std::memcpy(&value, payload.data(), std::min(payload.size(), sizeof value));
        }
        return value;
    }
    template <typename T>
    void set(const T& value) {
        payload.resize(sizeof value);
        std::memcpy(payload.data(), &value, sizeof value);
    }
};

/// Serves one connection on a thread of its own until its end. It keeps what it was told, and does nothing
/// with queues by itself: a test does that through memory() and the descriptors.
class VhostUserServer {
  public:
    /// What it says of itself, and how it breaks the rules.
    struct Manners {
        uint64_t features = (uint64_t{1} << 32) | (uint64_t{1} << vu::kProtocolFeatures) |
                            (uint64_t{3} << 28);  // VERSION_1, INDIRECT_DESC, EVENT_IDX
        uint64_t protocol = (1 << vu::kMultiQueue) | (1 << vu::kReplyAck) | (1 << vu::kConfig);
        uint64_t queues = 2;
        std::vector<std::byte> configuration = std::vector<std::byte>(60);
        /// Bytes of its note of requests in flight, for GET_INFLIGHT_FD.
        size_t inflight_size = 4096;
        /// May change an answer before it is sent; false: it is not sent, and the connection is closed.
        std::function<bool(VhostUserMessage& answer)> change = nullptr;
    };
    /// A queue as it was told.
    struct Ring {
        uint32_t size = 0;
        uint32_t base = 0;
        vu::VringAddr addresses{};
        UniqueFd kick;
        UniqueFd call;
        UniqueFd err;
        bool enabled = false;
        bool started = false;
    };

    VhostUserServer(UniqueFd socket, Manners manners)
        : manners_{std::move(manners)}, socket_{std::move(socket)}, thread_{[this] { serve(); }} {}
    explicit VhostUserServer(UniqueFd socket) : VhostUserServer{std::move(socket), Manners{}} {}
    VhostUserServer(const VhostUserServer&) = delete;
    VhostUserServer& operator=(const VhostUserServer&) = delete;
    ~VhostUserServer() {
        shutdown(socket_.get(), SHUT_RDWR);
        thread_.join();
    }

    /// Waits until `holds`; false where it does not within ten seconds.
    bool wait_until(const std::function<bool(VhostUserServer&)>& holds) {
        std::unique_lock lock{mutex_};
        return changed_.wait_for(lock, std::chrono::seconds{10}, [&] { return holds(*this); });
    }
    /// Waits until a queue is enabled (or not).
    bool wait_for_ring(uint32_t index, bool enabled = true) {
        return wait_until([&](VhostUserServer& server) {
            return server.rings[index].enabled == enabled && server.rings[index].started == enabled;
        });
    }
    /// The guest's memory as the back end has mapped it; ends the program where it has not.
    [[nodiscard]] std::byte* at(uint64_t user_address) {
        for (size_t index = 0; index < table.count; ++index) {
            const vu::Region& region = table.regions[index];
            if (user_address >= region.user_address && user_address - region.user_address < region.size) {
                return mappings.at(index).data() + (user_address - region.user_address);
            }
        }
        std::abort();
    }

    // Under mutex_, or once wait_until() has answered.
    uint64_t accepted = 0;
    uint64_t accepted_protocol = 0;
    vu::MemoryTable table{};
    std::vector<Mapping> mappings;
    std::map<uint32_t, Ring> rings;
    Mapping log;        ///< of what it writes, as it was told by SET_LOG_BASE
    UniqueFd inflight;  ///< as it was told by SET_INFLIGHT_FD
    vu::Inflight inflight_place{};
    std::vector<uint32_t> requests;  ///< in the order in which they came
    bool ended = false;

  private:
    bool receive(VhostUserMessage& message) {
        vu::Header header{};
        iovec data{&header, sizeof header};
        alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(16 * sizeof(int))> control{};
        msghdr request{};
        request.msg_iov = &data;
        request.msg_iovlen = 1;
        request.msg_control = control.data();
        request.msg_controllen = control.size();
        if (recvmsg(socket_.get(), &request, MSG_WAITALL | MSG_CMSG_CLOEXEC) != sizeof header) {
            return false;
        }
        for (cmsghdr* part = CMSG_FIRSTHDR(&request); part != nullptr; part = CMSG_NXTHDR(&request, part)) {
            for (size_t at = CMSG_LEN(0); at < part->cmsg_len; at += sizeof(int)) {
                int fd = -1;
                std::memcpy(&fd, reinterpret_cast<std::byte*>(part) + at, sizeof fd);
                message.fds.emplace_back(fd);
            }
        }
        message.request = header.request;
        message.flags = header.flags;
        message.payload.resize(header.size);
        return header.size == 0 ||
               recv(socket_.get(), message.payload.data(), header.size, MSG_WAITALL) == header.size;
    }

    /// Puts the answer into the message; false where there is none.
    bool take(VhostUserMessage& message) {
        const auto state = message.as<vu::VringState>();
        const auto number = message.as<uint64_t>();
        const auto fd = [&] { return message.fds.empty() ? UniqueFd{} : std::move(message.fds.front()); };
        switch (message.request) {
            case vu::kGetFeatures:
                message.set(manners_.features);
                return true;
            case vu::kGetProtocolFeatures:
                message.set(manners_.protocol);
                return true;
            case vu::kGetQueueNum:
                message.set(manners_.queues);
                return true;
            case vu::kGetConfig:
                std::ranges::copy(
                    std::span{manners_.configuration}.first(std::min(
                        manners_.configuration.size(), message.payload.size() - sizeof(vu::ConfigHeader))),
                    message.payload.begin() + sizeof(vu::ConfigHeader));
                return true;
            case vu::kGetInflightFd: {
                auto place = message.as<vu::Inflight>();
                place.mmap_size = manners_.inflight_size;
                message.set(place);
                message.fds.clear();
                message.fds.emplace_back(memfd_create("inflight", MFD_CLOEXEC));
                if (ftruncate(message.fds.front().get(), static_cast<off_t>(manners_.inflight_size)) != 0) {
                    throw std::runtime_error{"ftruncate"};
                }
                return true;
            }
            case vu::kGetVringBase:
                rings[state.index].started = false;
                message.set(vu::VringState{.index = state.index, .num = 0});
                return true;
            case vu::kSetFeatures:
                accepted = number;
                break;
            case vu::kSetProtocolFeatures:
                accepted_protocol = number;
                return false;  // acknowledged from the next one on
            case vu::kSetMemTable:
                table = message.as<vu::MemoryTable>();
                mappings.clear();
                for (size_t index = 0; index < table.count && index < message.fds.size(); ++index) {
                    mappings.push_back(
                        Mapping::shared(message.fds[index].get(), table.regions[index].size, "memory"));
                }
                break;
            case vu::kSetVringNum:
                rings[state.index].size = state.num;
                break;
            case vu::kSetVringBase:
                rings[state.index].base = state.num;
                break;
            case vu::kSetVringAddr:
                rings[state.index].addresses = message.as<vu::VringAddr>();
                break;
            case vu::kSetVringKick:
                rings[static_cast<uint32_t>(number)].kick = fd();
                rings[static_cast<uint32_t>(number)].started = true;
                break;
            case vu::kSetVringCall:
                rings[static_cast<uint32_t>(number)].call = fd();
                break;
            case vu::kSetVringErr:
                rings[static_cast<uint32_t>(number)].err = fd();
                break;
            case vu::kSetLogBase:
                if (!message.fds.empty()) {
                    log = Mapping::shared(message.fds.front().get(), message.as<vu::Log>().mmap_size,
                                          "the log");
                }
                message.set(message.as<uint64_t>());
                message.fds.clear();
                return true;  // as libvhost-user does: with what came, acknowledged or not
            case vu::kSetInflightFd:
                inflight = fd();
                inflight_place = message.as<vu::Inflight>();
                break;
            case vu::kSetVringEnable:
                rings[state.index].enabled = state.num != 0;
                break;
            default:
                break;
        }
        message.set(uint64_t{0});
        message.fds.clear();
        return (message.flags & vu::kNeedReply) != 0;
    }

    bool send(const VhostUserMessage& message) {
        const vu::Header header{message.request, message.flags,
                                static_cast<uint32_t>(message.payload.size())};
        std::vector<std::byte> bytes(sizeof header);
        std::memcpy(bytes.data(), &header, sizeof header);
        bytes.insert(bytes.end(), message.payload.begin(), message.payload.end());
        iovec data{bytes.data(), bytes.size()};
        msghdr answer{};
        answer.msg_iov = &data;
        answer.msg_iovlen = 1;
        alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(16 * sizeof(int))> control{};
        if (!message.fds.empty()) {
            answer.msg_control = control.data();
            answer.msg_controllen = CMSG_SPACE(message.fds.size() * sizeof(int));
            cmsghdr* rights = CMSG_FIRSTHDR(&answer);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(message.fds.size() * sizeof(int));
            for (size_t index = 0; index < message.fds.size(); ++index) {
                const int number = message.fds[index].get();
                std::memcpy(CMSG_DATA(rights) + index * sizeof number, &number, sizeof number);
            }
        }
        return sendmsg(socket_.get(), &answer, MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
    }

    void serve() {
        bool goes_on = true;
        while (goes_on) {
            VhostUserMessage message;
            goes_on = receive(message);
            if (!goes_on) {
                break;
            }
            const std::lock_guard lock{mutex_};
            requests.push_back(message.request);
            if (take(message)) {
                message.flags = vu::kVersion | vu::kReply;
                goes_on = (!manners_.change || manners_.change(message)) && send(message);
            }
            changed_.notify_all();
        }
        shutdown(socket_.get(), SHUT_RDWR);
        const std::lock_guard lock{mutex_};
        ended = true;
        changed_.notify_all();
    }

    const Manners manners_;
    UniqueFd socket_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::thread thread_;
};

}  // namespace hull::test
