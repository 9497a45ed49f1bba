// The front end of vhost-user, by which another program serves a device's queues: QEMU's
// docs/interop/vhost-user.rst, whose words are used here.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "base/guest_memory.h"
#include "base/unique_fd.h"
#include "devices/virtio/queue.h"

namespace hull::virtio {

/// What an attempt gives, or a clause that says why it failed.
template <typename T>
using VhostUserResult = tl::expected<T, std::string>;

/// Connects to the back end that listens at a path. A clause says why it failed.
VhostUserResult<UniqueFd> connect_vhost_user(const std::filesystem::path& path);

/// A queue as it is handed to a back end.
struct VhostUserRing {
    uint16_t index;
    const VirtQueue* queue;
    int kick_fd;  ///< of the driver
    int call_fd;  ///< readable once the back end has used chains of which the driver wants to know
    int err_fd;   ///< readable once the back end finds the queue broken
};

/// The conversation with one back end. That is a program of the user's, and may be the wrong one, dead or
/// hostile: each answer is held against what was asked, and none is waited for longer than its patience.
/// After the first failure the conversation is over: it is to be destroyed. One thread at a time.
class VhostUser {
  public:
    static constexpr std::chrono::seconds kPatience{10};

    /// Begins the conversation over a stream socket: asks the back end what it can do. `configuration_size`
    /// (at most 256) bytes of the configuration space are asked for, none for 0.
    static VhostUserResult<VhostUser> open(UniqueFd socket, size_t configuration_size,
                                           std::chrono::milliseconds patience = kPatience);

    /// Features of virtio that it offers, with VIRTIO_F_VERSION_1 among them.
    [[nodiscard]] uint64_t features() const { return features_; }
    /// The most queues that it serves; at least 1.
    [[nodiscard]] uint64_t most_queues() const { return most_queues_; }
    /// The beginning of the configuration space, as long as was asked for.
    [[nodiscard]] std::span<const std::byte> configuration() const { return configuration_; }
    /// Readable when the back end is gone, or says what nobody asked for.
    [[nodiscard]] int fd() const { return socket_.get(); }

    /// Hands it the memory, which must be shareable and outlive what it does, and the queues, each from its
    /// next_available() on. `features` are those that the driver accepted.
    VhostUserResult<void> start(uint64_t features, const GuestMemory& memory,
                                std::span<const VhostUserRing> rings);
    /// Takes the queues back. Once it has returned, the back end uses them no more, if it does what it is
    /// told.
    VhostUserResult<void> stop(std::span<const VhostUserRing> rings);

  private:
    VhostUser(UniqueFd socket, std::chrono::milliseconds patience)
        : socket_{std::move(socket)}, patience_{patience} {}

    VhostUserResult<void> send(uint32_t request, uint32_t flags, std::span<const std::byte> payload,
                               std::span<const int> fds);
    VhostUserResult<void> receive(uint32_t request, std::span<std::byte> payload);
    /// Sends a request, and waits for its acknowledgement where the back end gives such.
    VhostUserResult<void> tell(uint32_t request, std::span<const std::byte> payload,
                               std::span<const int> fds = {});
    VhostUserResult<uint64_t> ask_number(uint32_t request);
    VhostUserResult<void> ask_configuration(size_t size);
    VhostUserResult<void> negotiate(size_t configuration_size);
    VhostUserResult<void> share_memory(const GuestMemory& memory);
    VhostUserResult<void> start_ring(const VhostUserRing& ring);

    UniqueFd socket_;
    std::chrono::milliseconds patience_;
    bool acknowledges_ = false;
    uint64_t features_ = 0;
    uint64_t most_queues_ = 1;
    std::vector<std::byte> configuration_;
};

}  // namespace hull::virtio
