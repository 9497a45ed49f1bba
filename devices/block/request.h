// A request to a disk (VIRTIO 1.2, 5.2.6), checked.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "devices/block/backend.h"
#include "devices/virtio/descriptor_chain.h"

namespace hull::virtio {

/// What requests are held against.
struct BlockLimits {
    uint64_t size;  ///< bytes
    bool readonly;
};

/// The most that one discard or write-zeroes may be of, in sectors of 512 bytes: 2 GiB.
inline constexpr uint32_t kMostSectorsAtOnce = uint32_t{1} << 22;

/// The driver asks for the disk's name.
struct GetId {};
/// The answer is known without doing anything: a VIRTIO_BLK_S_ value.
struct Refusal {
    uint8_t status;
};

struct BlockRequest {
    std::variant<BlockOperation, GetId, Refusal> what;
    std::byte* status;  ///< where the answer goes, in guest memory
};

/// Parses the request of a chain. The memory to read into or write from is put into `memory`, which the
/// operation refers to. Nothing where the chain has no room for the header or the answer.
std::optional<BlockRequest> parse_block_request(const DescriptorChain& chain, const BlockLimits& limits,
                                                std::vector<iovec>& memory);

}  // namespace hull::virtio
