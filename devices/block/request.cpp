#include "devices/block/request.h"

#include <linux/virtio_blk.h>

#include "devices/virtio/segments.h"

namespace hull::virtio {

namespace {

constexpr uint64_t kSector = 512;

/// The bytes of `sectors` from `first` on, if all of them are there.
bool is_inside(uint64_t first, uint64_t bytes, const BlockLimits& limits) {
    return first <= limits.size / kSector && bytes <= limits.size - first * kSector;
}

std::variant<BlockOperation, GetId, Refusal> transfer(BlockOperation::Kind kind, uint64_t sector,
                                                      uint64_t bytes, std::span<const iovec> memory,
                                                      const BlockLimits& limits) {
    if (bytes % kSector != 0 || bytes == 0 || !is_inside(sector, bytes, limits)) {
        return Refusal{VIRTIO_BLK_S_IOERR};
    }
    return BlockOperation{.kind = kind, .offset = sector * kSector, .length = bytes, .memory = memory};
}

/// 5.2.6.1 and 5.2.6.2: one segment, as the configuration space says, and no flag but the one to unmap.
std::variant<BlockOperation, GetId, Refusal> clear(uint32_t type, ChainReader& reader,
                                                   const BlockLimits& limits) {
    const auto segment = reader.read<virtio_blk_discard_write_zeroes>();
    if (!segment || reader.remaining() != 0) {
        return Refusal{VIRTIO_BLK_S_IOERR};
    }
    const bool unmap = (segment->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0;
    if ((segment->flags & ~uint32_t{VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP}) != 0 ||
        (unmap && type == VIRTIO_BLK_T_DISCARD)) {
        return Refusal{VIRTIO_BLK_S_UNSUPP};
    }
    const uint64_t bytes = segment->num_sectors * kSector;
    if (bytes == 0 || segment->num_sectors > kMostSectorsAtOnce ||
        !is_inside(segment->sector, bytes, limits)) {
        return Refusal{VIRTIO_BLK_S_IOERR};
    }
    const auto kind = type == VIRTIO_BLK_T_DISCARD ? BlockOperation::Kind::discard
                      : unmap                      ? BlockOperation::Kind::unmap_zeroes
                                                   : BlockOperation::Kind::write_zeroes;
    return BlockOperation{.kind = kind, .offset = segment->sector * kSector, .length = bytes};
}

}  // namespace

std::optional<BlockRequest> parse_block_request(const DescriptorChain& chain, const BlockLimits& limits,
                                                std::vector<iovec>& memory) {
    ChainReader reader = chain.reader();
    const auto header = reader.read<virtio_blk_outhdr>();
    if (!header || chain.writable().empty()) {
        return std::nullopt;
    }
    const iovec& last = chain.writable().back();
    BlockRequest request{Refusal{VIRTIO_BLK_S_UNSUPP},
                         static_cast<std::byte*>(last.iov_base) + last.iov_len - 1};
    memory.clear();
    const bool writes = header->type == VIRTIO_BLK_T_OUT || header->type == VIRTIO_BLK_T_DISCARD ||
                        header->type == VIRTIO_BLK_T_WRITE_ZEROES;
    if (writes && limits.readonly) {
        request.what = Refusal{VIRTIO_BLK_S_IOERR};
        return request;
    }
    switch (header->type) {
        case VIRTIO_BLK_T_IN: {
            const uint64_t bytes = chain.writable_size() - uint64_t{1};  // the last is the answer
            append_part(chain.writable(), 0, bytes, memory);
            request.what = transfer(BlockOperation::Kind::read, header->sector, bytes, memory, limits);
            break;
        }
        case VIRTIO_BLK_T_OUT: {
            const uint64_t bytes = chain.readable_size() - sizeof *header;
            append_part(chain.readable(), sizeof *header, bytes, memory);
            request.what = transfer(BlockOperation::Kind::write, header->sector, bytes, memory, limits);
            break;
        }
        case VIRTIO_BLK_T_FLUSH:
            request.what = BlockOperation{BlockOperation::Kind::flush};
            break;
        case VIRTIO_BLK_T_DISCARD:
        case VIRTIO_BLK_T_WRITE_ZEROES:
            request.what = clear(header->type, reader, limits);
            break;
        case VIRTIO_BLK_T_GET_ID:
            request.what = GetId{};
            break;
        default:
            break;
    }
    return request;
}

}  // namespace hull::virtio
