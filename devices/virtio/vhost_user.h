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
#include "devices/virtio/vhost_user_layout.h"

namespace hull::virtio {

/// What an attempt gives, or a clause that says why it failed.
template <typename T>
using VhostUserResult = tl::expected<T, std::string>;

/// Connects to the back end that listens at a path. A clause says why it failed.
VhostUserResult<UniqueFd> connect_vhost_user(const std::filesystem::path& path);
/// The same for a path that was used before, without waiting: none where nobody takes the connection now.
UniqueFd find_vhost_user(const std::filesystem::path& path);

/// What is asked of a back end.
struct VhostUserNeeds {
    size_t configuration_size = 0;  ///< bytes of its configuration space, at most 256; 0: none
    bool inflight = false;          ///< that it notes requests in flight (see VhostUserInflight), if it can
};

/// Where a back end notes which requests it has in hand, so that the next one does again what it left undone
/// (the text's "Inflight I/O tracking"). It is theirs: nothing in it is looked at here.
struct VhostUserInflight {
    UniqueFd fd;  ///< none: there is no such note yet
    vhost_user::Inflight place{};
};

/// A queue as it is handed to a back end.
struct VhostUserRing {
    uint16_t index;
    const VirtQueue* queue;
    int kick_fd;  ///< of the driver
    int call_fd;  ///< readable once the back end has used chains of which the driver wants to know
    int err_fd;   ///< readable once the back end finds the queue broken
};

/// The conversation with one back end. That is a program of the user's, and may be the wrong one, dead or
/// hostile: each answer is held against what was asked, and none of the calls below takes longer than its
/// patience in all (start() eight times that: the guest's memory may be long in coming).
/// After the first failure the conversation is over: it is to be destroyed. One thread at a time.
class VhostUser {
  public:
    static constexpr std::chrono::seconds kPatience{10};

    /// Begins the conversation over a stream socket: asks the back end what it can do.
    static VhostUserResult<VhostUser> open(UniqueFd socket, const VhostUserNeeds& needs,
                                           std::chrono::milliseconds patience = kPatience);

    /// Features of virtio that it offers, with VIRTIO_F_VERSION_1 among them.
    [[nodiscard]] uint64_t features() const { return features_; }
    /// The most queues that it serves; at least 1.
    [[nodiscard]] uint64_t most_queues() const { return most_queues_; }
    /// The beginning of the configuration space, as long as was asked for.
    [[nodiscard]] std::span<const std::byte> configuration() const { return configuration_; }
    /// Whether it notes requests in flight, where that was asked for.
    [[nodiscard]] bool notes_inflight() const { return notes_inflight_; }
    /// Whether it can log what it writes.
    [[nodiscard]] bool can_log() const { return can_log_; }
    /// Readable when the back end is gone, or says what nobody asked for.
    [[nodiscard]] int fd() const { return socket_.get(); }

    /// Hands it the memory, which must be shareable and outlive what it does, and the queues, each from its
    /// next_available() on. `features` are those that the driver accepted. Where what is written is logged it
    /// logs that too, if it can. Where it notes requests in flight,
    /// it gets `inflight`, of a back end that had the same queues, or fills it with a new one where there is
    /// none; with one that is not new each queue must have been resumed: what is in flight is found there.
    VhostUserResult<void> start(uint64_t features, const GuestMemory& memory,
                                std::span<const VhostUserRing> rings, VhostUserInflight& inflight);
    /// Takes the queues back. Once it has returned, the back end uses them no more, if it does what it is
    /// told.
    VhostUserResult<void> stop(std::span<const VhostUserRing> rings);

  private:
    VhostUser(UniqueFd socket, std::chrono::milliseconds patience)
        : socket_{std::move(socket)}, patience_{patience} {}

    VhostUserResult<void> send(uint32_t request, uint32_t flags, std::span<const std::byte> payload,
                               std::span<const int> fds);
    /// A descriptor that comes with the answer is closed where `fd` is null.
    VhostUserResult<void> receive(uint32_t request, std::span<std::byte> payload, UniqueFd* fd = nullptr);
    /// Sends a request, and waits for its acknowledgement where the back end gives such.
    VhostUserResult<void> tell(uint32_t request, std::span<const std::byte> payload,
                               std::span<const int> fds = {});
    VhostUserResult<uint64_t> ask_number(uint32_t request);
    VhostUserResult<void> ask_configuration(size_t size);
    VhostUserResult<void> negotiate(const VhostUserNeeds& needs);
    VhostUserResult<VhostUserInflight> make_inflight(std::span<const VhostUserRing> rings);
    VhostUserResult<void> hand_over_inflight(std::span<const VhostUserRing> rings,
                                             VhostUserInflight& inflight);
    VhostUserResult<void> share_memory(const GuestMemory& memory);
    VhostUserResult<void> share_log(const GuestMemory::WriteLog& log);
    VhostUserResult<void> start_ring(const VhostUserRing& ring, const GuestMemory& memory);
    /// From now on the back end has so many times its patience for all that it is asked.
    void give_time(int times = 1) { until_ = std::chrono::steady_clock::now() + times * patience_; }

    UniqueFd socket_;
    std::chrono::milliseconds patience_;
    std::chrono::steady_clock::time_point until_{};
    bool acknowledges_ = false;
    bool notes_inflight_ = false;
    bool can_log_ = false;
    uint64_t features_ = 0;
    uint64_t most_queues_ = 1;
    std::vector<std::byte> configuration_;
};

}  // namespace hull::virtio
