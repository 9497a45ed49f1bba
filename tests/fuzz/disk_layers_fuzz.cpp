// What lies between a disk's queue and its files: several files behind a partition table, and a layer above
// that is thrown away. A guest reads, writes and clears anywhere; the files do a part of what they are asked
// for, or fail. What it reads is what it wrote.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "devices/block/joined.h"
#include "devices/block/overlay.h"
#include "tests/fuzz/input.h"

namespace {

using namespace hull;
using test::require;
using namespace hull::virtio;
using Kind = BlockOperation::Kind;

constexpr uint64_t kSector = 512;
constexpr uint16_t kQueueSize = 1;
using Sector = std::array<std::byte, kSector>;

/// Contents of which most is zeros.
class Sparse {
  public:
    void read(uint64_t offset, std::span<std::byte> target) const {
        while (!target.empty()) {
            const size_t at = offset % kSector;
            const size_t part = std::min(target.size(), kSector - at);
            const auto found = sectors_.find(offset / kSector);
            if (found == sectors_.end()) {
                std::ranges::fill(target.first(part), std::byte{0});
            } else {
                std::copy_n(found->second.begin() + static_cast<ptrdiff_t>(at), part, target.begin());
            }
            offset += part;
            target = target.subspan(part);
        }
    }
    void write(uint64_t offset, std::span<const std::byte> source) {
        while (!source.empty()) {
            const size_t at = offset % kSector;
            const size_t part = std::min(source.size(), kSector - at);
            std::copy_n(source.begin(), part,
                        sectors_[offset / kSector].begin() + static_cast<ptrdiff_t>(at));
            offset += part;
            source = source.subspan(part);
        }
    }
    void clear(uint64_t offset, uint64_t length) {
        sectors_.erase(sectors_.lower_bound(offset / kSector),
                       sectors_.lower_bound((offset + length) / kSector));
    }

  private:
    std::map<uint64_t, Sector> sectors_;
};

/// Files of given sizes, which do at most `most` bytes of a transfer, or fail.
class Files final : public BlockBackend {
  public:
    explicit Files(std::vector<uint64_t> sizes) : sizes_{std::move(sizes)}, files_(sizes_.size()) {}

    void start(uint16_t slot, const BlockOperation& operation) override {
        require(operation.file < files_.size());
        const uint64_t size = sizes_[operation.file];
        require(operation.offset <= size && operation.length <= size - operation.offset);
        const bool is_transfer = operation.kind == Kind::read || operation.kind == Kind::write;
        if (fails) {
            ended_.push_back({slot, -EIO});
            return;
        }
        Sparse& file = files_[operation.file];
        uint64_t done = 0;
        if (is_transfer) {
            require(operation.length > 0);
            uint64_t asked = 0;
            for (const iovec& segment : operation.memory) {
                asked += segment.iov_len;
                const std::span<std::byte> part{static_cast<std::byte*>(segment.iov_base),
                                                std::min(segment.iov_len, most - done)};
                if (operation.kind == Kind::read) {
                    file.read(operation.offset + done, part);
                } else {
                    file.write(operation.offset + done, part);
                }
                done += part.size();
            }
            require(asked == operation.length);
        } else if (operation.kind != Kind::flush) {
            file.clear(operation.offset, operation.length);
        }
        ended_.push_back({slot, static_cast<int32_t>(done)});
    }
    bool wait(std::vector<End>& ends, std::chrono::nanoseconds /*most*/) override {
        for (const End& end : std::exchange(ended_, {})) {
            ends.push_back(end);
        }
        return true;
    }

    uint64_t most = UINT64_MAX;
    bool fails = false;

  private:
    std::vector<uint64_t> sizes_;
    std::vector<Sparse> files_;
    std::vector<End> ended_;
};

class Disk {
  public:
    Disk(const std::vector<uint64_t>& parts, bool layered) {
        if (parts.size() > 1) {
            table_.emplace(parts, uint32_t{kSector}, "fuzz");
        }
        size_ = table_ ? table_->disk_size() : parts.front();
        std::vector<uint64_t> sizes = parts;
        sizes.push_back(size_);  // the layer's
        auto files = std::make_unique<Files>(sizes);
        files_ = files.get();
        backend_ = std::move(files);
        if (table_) {
            backend_ = std::make_unique<JoinedBackend>(std::move(backend_), *table_, kQueueSize);
        }
        if (layered) {
            map_.emplace(size_ / kSector);
            backend_ = std::make_unique<OverlayBackend>(std::move(backend_), *map_, kQueueSize);
        }
    }

    /// Does it whole, as BlockQueue does: how many bytes before it failed, or nothing where it did not.
    std::optional<uint64_t> run(Kind kind, uint64_t offset, std::vector<std::byte>& bytes, size_t cut) {
        const bool is_transfer = kind == Kind::read || kind == Kind::write;
        uint64_t done = 0;
        do {
            // In two pieces, as a guest's buffers are.
            const size_t first = is_transfer && cut > done ? std::min(cut, bytes.size()) - done : 0;
            std::vector<iovec> memory;
            for (const auto& [start, length] :
                 {std::pair{done, first}, std::pair{done + first, bytes.size() - done - first}}) {
                if (length > 0) {
                    memory.push_back({bytes.data() + start, length});
                }
            }
            BlockOperation operation{.kind = kind, .offset = offset + done, .length = bytes.size() - done};
            if (is_transfer) {
                operation.memory = memory;
            } else if (kind == Kind::flush) {
                operation.offset = operation.length = 0;
            }
            backend_->start(0, operation);
            std::vector<BlockBackend::End> ends;
            for (int waits = 0; ends.empty(); ++waits) {
                require(waits < 1000);
                backend_->wait(ends, BlockBackend::kForever);
            }
            require(ends.size() == 1);
            if (ends[0].result < 0) {
                return done;
            }
            require(!is_transfer ||
                    (ends[0].result > 0 && static_cast<uint64_t>(ends[0].result) <= bytes.size() - done));
            done += static_cast<uint64_t>(ends[0].result);
        } while (is_transfer && done < bytes.size());
        return std::nullopt;
    }

    /// Whether one of these bytes is in no partition.
    [[nodiscard]] bool is_outside(uint64_t offset, uint64_t length) const {
        if (!table_) {
            return false;
        }
        return std::ranges::none_of(table_->partitions(), [&](const PartitionTable::Partition& part) {
            return offset >= part.start && offset + length <= part.start + part.size;
        });
    }
    /// What the disk has there if nobody has written anything.
    [[nodiscard]] std::vector<std::byte> first_contents(uint64_t offset, uint64_t length) const {
        std::vector<std::byte> bytes(length);
        for (uint64_t at = 0; table_ && at < length; at += kSector) {
            if (is_outside(offset + at, kSector)) {
                table_->read(offset + at, std::span{bytes}.subspan(at, kSector));
            }
        }
        return bytes;
    }
    [[nodiscard]] uint64_t size() const { return size_; }
    [[nodiscard]] uint64_t start_of(size_t part) const {
        return table_ ? table_->partitions()[part % table_->partitions().size()].start : 0;
    }
    [[nodiscard]] bool is_layered() const { return map_.has_value(); }
    Files& files() { return *files_; }

  private:
    std::optional<PartitionTable> table_;
    uint64_t size_ = 0;
    std::optional<OverlayMap> map_;
    Files* files_ = nullptr;
    std::unique_ptr<BlockBackend> backend_;
};

/// What the guest has written, by sector.
using Written = std::map<uint64_t, Sector>;

std::vector<std::byte> expected(const Disk& disk, const Written& written, uint64_t offset, uint64_t length) {
    std::vector<std::byte> bytes = disk.first_contents(offset, length);
    for (uint64_t at = 0; at < length; at += kSector) {
        if (const auto found = written.find((offset + at) / kSector); found != written.end()) {
            std::ranges::copy(found->second, bytes.begin() + static_cast<ptrdiff_t>(at));
        }
    }
    return bytes;
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    const uint8_t shape = input.byte();
    std::vector<uint64_t> parts;
    for (int part = 0; part <= (shape & 3); ++part) {
        parts.push_back((input.byte() + 1U) * kSector);
    }
    Disk disk{parts, (shape & 4) != 0};
    Written written;
    for (int step = 0; !input.empty() && step < 300; ++step) {
        static constexpr Kind kKinds[] = {Kind::read,    Kind::read,         Kind::write,        Kind::write,
                                          Kind::discard, Kind::write_zeroes, Kind::unmap_zeroes, Kind::flush};
        const uint8_t what = input.byte();
        const Kind kind = kKinds[what & 7];
        // Where something begins or ends: a partition, or the disk.
        const uint64_t sectors = disk.size() / kSector;
        const uint64_t first = (what & 8) != 0
                                   ? (disk.start_of(what >> 4) / kSector + input.half_word() % 300) % sectors
                                   : (sectors - 40 + input.byte()) % sectors;
        const uint64_t count = std::min<uint64_t>(input.byte() % 40 + 1U, sectors - first);
        disk.files().fails = input.byte() == 0xff;
        disk.files().most = (what & 0x80) != 0 ? input.half_word() % 3000 + 1U : UINT64_MAX;
        const uint64_t offset = first * kSector;
        std::vector<std::byte> bytes(count * kSector, std::byte{static_cast<uint8_t>(step + 1)});
        const auto failed = disk.run(kind, offset, bytes, input.half_word());
        const bool writes = kind != Kind::read && kind != Kind::flush;
        // Without a layer, what is between the partitions cannot be written.
        require(failed || !writes || disk.is_layered() || !disk.is_outside(offset, bytes.size()));
        if (kind == Kind::read && !failed) {
            require(bytes == expected(disk, written, offset, bytes.size()));
        }
        if (writes && !failed) {
            for (uint64_t sector = first; sector < first + count; ++sector) {
                written[sector].fill(kind == Kind::write ? bytes.front() : std::byte{0});
            }
        }
        if (writes && failed) {
            // What is there now may be either: look.
            disk.files().fails = false;
            disk.files().most = UINT64_MAX;
            require(!disk.run(Kind::read, offset, bytes, 0));
            for (uint64_t sector = 0; sector < count; ++sector) {
                std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(sector * kSector), kSector,
                            written[first + sector].begin());
            }
        }
    }
    return 0;
}
