// The messages of vhost-user, which no header of Linux's has: QEMU's docs/interop/vhost-user.rst, "Message
// Specification". Names are those of that text, without VHOST_USER_; numbers are in the host's byte order.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hull::virtio::vhost_user {

struct Header {
    uint32_t request;
    uint32_t flags;
    uint32_t size;  ///< bytes of the payload behind it
};
inline constexpr uint32_t kVersion = 1;
inline constexpr uint32_t kVersionMask = 3;
inline constexpr uint32_t kReply = 1 << 2;
inline constexpr uint32_t kNeedReply = 1 << 3;

enum Request : uint32_t {
    kGetFeatures = 1,
    kSetFeatures = 2,
    kSetOwner = 3,
    kSetMemTable = 5,
    kSetLogBase = 6,
    kSetVringNum = 8,
    kSetVringAddr = 9,
    kSetVringBase = 10,
    kGetVringBase = 11,
    kSetVringKick = 12,
    kSetVringCall = 13,
    kSetVringErr = 14,
    kGetProtocolFeatures = 15,
    kSetProtocolFeatures = 16,
    kGetQueueNum = 17,
    kSetVringEnable = 18,
    kGetConfig = 24,
    kGetInflightFd = 31,
    kSetInflightFd = 32,
};

/// The bit among virtio's features that says that there are protocol features.
inline constexpr unsigned kProtocolFeatures = 30;
/// Protocol features, by bit.
inline constexpr unsigned kMultiQueue = 0;
inline constexpr unsigned kLogShmfd = 1;
inline constexpr unsigned kReplyAck = 3;
inline constexpr unsigned kConfig = 9;
inline constexpr unsigned kInflightFd = 12;

/// The bit among virtio's features that has a back end log what it writes.
inline constexpr unsigned kLogAll = 26;

struct VringState {
    uint32_t index;
    uint32_t num;
};
struct VringAddr {
    uint32_t index;
    uint32_t flags;
    uint64_t descriptor;  ///< these three are addresses in this process, as the memory table has them
    uint64_t used;
    uint64_t available;
    uint64_t log;  ///< the guest's address of the used ring
};
inline constexpr uint32_t kVringIsLogged = 1;  ///< among the flags
/// Where a log is, in what the descriptor beside it is of.
struct Log {
    uint64_t mmap_size;
    uint64_t mmap_offset;
};
inline constexpr size_t kMostRegions = 8;
struct Region {
    uint64_t guest_address;
    uint64_t size;
    uint64_t user_address;
    uint64_t mmap_offset;
};
struct MemoryTable {
    uint32_t count;
    uint32_t padding;
    Region regions[kMostRegions];  ///< only so many as `count` says are sent
};
/// What comes before the bytes of a configuration space.
struct ConfigHeader {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
};
inline constexpr size_t kMostConfig = 256;
/// Where requests in flight are noted, in what the descriptor beside it is of.
struct Inflight {
    uint64_t mmap_size;
    uint64_t mmap_offset;
    uint16_t queues;
    uint16_t queue_size;
    uint32_t padding;  ///< the text has none, and every program that speaks this sends it
};
static_assert(sizeof(Inflight) == 24);

}  // namespace hull::virtio::vhost_user
