// What both sides of a shared folder's requests (FUSE, linux/fuse.h) must agree on: the device that passes
// them on, and the program that answers them.
#pragma once

#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>

namespace hull::virtio {

/// The most bytes of a request that are passed on. What is longer writes, which nobody may here; its header
/// is enough for a refusal.
inline constexpr size_t kMostFuseRequest = 8192;

/// Whether a request of this kind is answered at all.
constexpr bool is_answered(uint32_t opcode) {
    return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

}  // namespace hull::virtio
