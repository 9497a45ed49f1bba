#include "devices/block/partition_table.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace hull::virtio {

namespace {

constexpr uint64_t kAlignment = uint64_t{1} << 20;

// All fields are little-endian, as every host that this is built for.

using Guid = std::array<uint8_t, 16>;

/// 5.3.2, table 5.5. The checksums are of the header, with its own as zero, and of all entries.
struct [[gnu::packed]] Header {
    std::array<char, 8> signature{'E', 'F', 'I', ' ', 'P', 'A', 'R', 'T'};
    uint32_t revision = 0x0001'0000;
    uint32_t size = 92;
    uint32_t checksum = 0;
    uint32_t reserved = 0;
    uint64_t own_block = 0;
    uint64_t other_block = 0;  // where the other header is
    uint64_t first_usable = 0;
    uint64_t last_usable = 0;
    Guid disk{};
    uint64_t entries_block = 0;
    uint32_t entries = PartitionTable::kMostPartitions;
    uint32_t entry_size = 128;
    uint32_t entries_checksum = 0;
};
static_assert(sizeof(Header) == 92);

/// 5.3.3, table 5.6.
struct [[gnu::packed]] Entry {
    Guid type{};
    Guid partition{};
    uint64_t first_block = 0;
    uint64_t last_block = 0;
    uint64_t attributes = 0;
    std::array<char16_t, 36> name{};
};
static_assert(sizeof(Entry) == 128);

constexpr uint64_t kEntriesSize = sizeof(Entry) * PartitionTable::kMostPartitions;

/// 0fc63daf-8483-4772-8e79-3d69d8477de4: data of Linux.
constexpr Guid kLinuxData{0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
                          0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4};

/// RFC 9562, 5.8: a UUID of a meaning of one's own, here the disk's name (by FNV-1a) and the partition's
/// number, 0 for the disk itself.
Guid guid_of(std::string_view name, uint16_t number) {
    uint64_t hash = 0xcbf2'9ce4'8422'2325;
    for (const char letter : name) {
        hash = (hash ^ static_cast<uint8_t>(letter)) * 0x100'0000'01b3;
    }
    Guid guid{};
    std::memcpy(guid.data(), &hash, sizeof hash);
    std::memcpy(guid.data() + 14, &number, sizeof number);
    guid[7] =
        static_cast<uint8_t>((guid[7] & 0x0f) | 0x80);  // the version; the first fields are little-endian
    guid[8] = 0x80;                                     // the variant
    return guid;
}

uint64_t round_up(uint64_t value, uint64_t step) {
    return (value + step - 1) / step * step;
}

uint32_t checksum(const void* data, size_t size) {
    return static_cast<uint32_t>(crc32(0, static_cast<const Bytef*>(data), static_cast<uInt>(size)));
}

template <typename T>
void put(std::vector<std::byte>& bytes, uint64_t offset, const T& value) {
    std::memcpy(bytes.data() + offset, &value, sizeof value);
}

/// 5.2.3: one partition over all of it, for programs that know no other table.
void put_protective_mbr(std::vector<std::byte>& bytes, uint64_t blocks) {
    struct [[gnu::packed]] {
        uint8_t boot = 0;
        std::array<uint8_t, 3> first{0x00, 0x02, 0x00};
        uint8_t type = 0xee;
        std::array<uint8_t, 3> last{0xff, 0xff, 0xff};
        uint32_t first_block = 1;
        uint32_t blocks = 0;
    } partition;
    static_assert(sizeof partition == 16);
    partition.blocks =
        static_cast<uint32_t>(std::min<uint64_t>(blocks - 1, std::numeric_limits<uint32_t>::max()));
    constexpr uint64_t kFirstPartition = 446;
    constexpr uint64_t kSignature = 510;
    put(bytes, kFirstPartition, partition);
    put(bytes, kSignature, std::array<uint8_t, 2>{0x55, 0xaa});
}

}  // namespace

PartitionTable::PartitionTable(std::span<const uint64_t> sizes, uint32_t block_size, std::string_view name) {
    std::vector<std::byte> entries(kEntriesSize);
    uint64_t end = kAlignment;
    for (const uint64_t size : sizes) {
        const uint64_t start = round_up(end, kAlignment);
        end = start + size;
        const size_t index = partitions_.size();
        put(entries, index * sizeof(Entry),
            Entry{.type = kLinuxData,
                  .partition = guid_of(name, static_cast<uint16_t>(index + 1)),
                  .first_block = start / block_size,
                  .last_block = end / block_size - 1});
        partitions_.push_back({start, size});
    }
    const uint64_t back_size = kEntriesSize + block_size;
    disk_size_ = round_up(end + back_size, kAlignment);
    const uint64_t blocks = disk_size_ / block_size;
    const uint64_t entries_blocks = kEntriesSize / block_size;

    Header header{.own_block = 1,
                  .other_block = blocks - 1,
                  .first_usable = 2 + entries_blocks,
                  .last_usable = blocks - entries_blocks - 2,
                  .disk = guid_of(name, 0),
                  .entries_block = 2,
                  .entries_checksum = checksum(entries.data(), entries.size())};
    header.checksum = checksum(&header, sizeof header);
    front_.resize(2 * uint64_t{block_size});
    put_protective_mbr(front_, blocks);
    put(front_, block_size, header);
    front_.insert(front_.end(), entries.begin(), entries.end());

    header.own_block = blocks - 1;
    header.other_block = 1;
    header.entries_block = header.last_usable + 1;
    header.checksum = 0;
    header.checksum = checksum(&header, sizeof header);
    back_ = std::move(entries);
    back_.resize(back_size);
    put(back_, kEntriesSize, header);
}

void PartitionTable::read(uint64_t offset, std::span<std::byte> data) const {
    std::ranges::fill(data, std::byte{0});
    const auto copy = [&](const std::vector<std::byte>& piece, uint64_t at) {
        const uint64_t first = std::max(offset, at);
        const uint64_t last = std::min(offset + data.size(), at + piece.size());
        if (first < last) {
            std::memcpy(data.data() + (first - offset), piece.data() + (first - at), last - first);
        }
    };
    copy(front_, 0);
    copy(back_, disk_size_ - back_.size());
}

}  // namespace hull::virtio
