#include "devices/block/file_backend.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/io_ring.h"
#include "devices/block/bounce.h"
#include "devices/block/joined.h"
#include "devices/block/overlay.h"

namespace hull::virtio {

namespace {

constexpr uint32_t kSector = 512;

/// fallocate's mode for what is neither read, written nor flushed.
int allocation_mode(BlockOperation::Kind kind) {
    return FALLOC_FL_KEEP_SIZE |
           (kind == BlockOperation::Kind::write_zeroes ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);
}

/// Operations, the driver's kicks and the end of the worker all end in one ring. What goes through the host's
/// cache is done in place while nothing else is under way: a read of what is there, and a write, which most
/// file systems would have a ring hand over to a thread of the kernel's.
class RingBackend final : public BlockBackend {
  public:
    RingBackend(IoRing ring, std::vector<int> files) : files_{std::move(files)}, ring_{std::move(ring)} {
        for (const int fd : files_) {
            cached_.push_back((fcntl(fd, F_GETFL) & O_DIRECT) == 0);
        }
        ring_.watch(kKickFile, kKickTag);
    }

    // The first files of its ring; the disk's come behind them.
    static constexpr int kKickFile = 0;
    static constexpr int kStopFile = 1;
    static constexpr int kEvents = 2;

    [[nodiscard]] ThreadKind thread_kind() const override { return ThreadKind::block; }
    // Once: so that no end of this watch is left over for the time after.
    void begin() override { ring_.watch_once(kStopFile, kStopTag); }

    void start(uint16_t slot, const BlockOperation& operation) override {
        if (under_way_ == 0 && cached_[operation.file]) {
            if (const ssize_t result = do_in_place(operation); result >= 0) {
                ended_.push_back({slot, static_cast<int32_t>(result)});
                return;
            }
            // What has failed is tried again by the ring, which then says why.
        }
        ++under_way_;
        const int file = kEvents + operation.file;
        switch (operation.kind) {
            case BlockOperation::Kind::read:
                ring_.read(file, operation.memory, operation.offset, slot);
                break;
            case BlockOperation::Kind::write:
                ring_.write(file, operation.memory, operation.offset, slot);
                break;
            case BlockOperation::Kind::flush:
                ring_.synchronize(file, slot);
                break;
            default:
                ring_.allocate(file, allocation_mode(operation.kind), operation.offset, operation.length,
                               slot);
                break;
        }
    }

    bool wait(std::vector<End>& ends, std::chrono::nanoseconds most) override {
        const bool has_ended = !ended_.empty();
        ends.insert(ends.end(), ended_.begin(), ended_.end());
        ended_.clear();
        if (has_ended && ++passed_by_ < kMostPassedBy) {
            return true;
        }
        passed_by_ = 0;
        std::array<IoRing::End, 64> ended;
        bool go_on = true;
        const size_t count = ring_.wait(ended, has_ended ? std::chrono::nanoseconds{0} : most);
        for (const IoRing::End& end : std::span{ended}.first(count)) {
            if (end.tag == kKickTag) {
                if (!end.goes_on) {
                    ring_.watch(kKickFile, kKickTag);
                }
            } else if (end.tag == kStopTag) {
                go_on = false;
            } else {
                --under_way_;
                ends.push_back({static_cast<uint16_t>(end.tag), end.result});
            }
        }
        return go_on;
    }

  private:
    static constexpr uint64_t kKickTag = 0x1'0000;  // above every slot
    static constexpr uint64_t kStopTag = 0x1'0001;
    /// So often what was done in place is told without a look into the ring, for its worker to be told to
    /// stop in time.
    static constexpr int kMostPassedBy = 16;

    [[nodiscard]] ssize_t do_in_place(const BlockOperation& operation) const {
        const int fd = files_[operation.file];
        const auto offset = static_cast<off_t>(operation.offset);
        const auto segments = static_cast<int>(operation.memory.size());
        switch (operation.kind) {
            case BlockOperation::Kind::read:
                return preadv2(fd, operation.memory.data(), segments, offset, RWF_NOWAIT);
            case BlockOperation::Kind::write:
                return pwritev2(fd, operation.memory.data(), segments, offset, 0);
            default:
                return -1;
        }
    }

    std::vector<int> files_;    // the disk's
    std::vector<bool> cached_;  // which of them go through the host's cache
    std::vector<End> ended_;    // in place
    int passed_by_ = 0;
    size_t under_way_ = 0;  // in the ring
    IoRing ring_;
};

/// Each operation has ended when it was started.
class SynchronousBackend final : public BlockBackend {
  public:
    SynchronousBackend(std::vector<int> files, int kick_fd, int stop_fd)
        : files_{std::move(files)}, kick_fd_{kick_fd}, stop_fd_{stop_fd} {}

    void begin() override { stopped_ = false; }

    void start(uint16_t slot, const BlockOperation& operation) override {
        const int64_t result = perform(operation);
        ended_.push_back({slot, static_cast<int32_t>(result < 0 ? -errno : result)});
    }

    bool wait(std::vector<End>& ends, std::chrono::nanoseconds most) override {
        std::array<pollfd, 2> entries{{{kick_fd_, POLLIN, 0}, {stopped_ ? -1 : stop_fd_, POLLIN, 0}}};
        const auto sleep = ended_.empty() ? most : std::chrono::nanoseconds{0};
        constexpr int64_t kSecond = 1'000'000'000;
        const timespec time{.tv_sec = sleep.count() / kSecond, .tv_nsec = sleep.count() % kSecond};
        if (ppoll(entries.data(), entries.size(), &time, nullptr) <= 0) {
            entries = {};
        }
        if (entries[0].revents != 0) {
            take_kicks();
        }
        ends.insert(ends.end(), ended_.begin(), ended_.end());
        ended_.clear();
        if (entries[1].revents != 0) {
            stopped_ = true;
            return false;
        }
        return true;
    }

  private:
    /// By the call that reads the disk, too: its thread's list of calls is to be short.
    void take_kicks() const {
        uint64_t count = 0;
        const iovec target{&count, sizeof count};
        [[maybe_unused]] const ssize_t taken = preadv2(kick_fd_, &target, 1, -1, 0);
    }

    [[nodiscard]] int64_t perform(const BlockOperation& operation) const {
        const int fd = files_[operation.file];
        const auto offset = static_cast<off_t>(operation.offset);
        const auto segments = static_cast<int>(operation.memory.size());
        switch (operation.kind) {
            case BlockOperation::Kind::read:
                return preadv2(fd, operation.memory.data(), segments, offset, 0);
            case BlockOperation::Kind::write:
                return pwritev2(fd, operation.memory.data(), segments, offset, 0);
            case BlockOperation::Kind::flush:
                return fdatasync(fd);
            default:
                return fallocate(fd, allocation_mode(operation.kind), offset,
                                 static_cast<off_t>(operation.length));
        }
    }

    std::vector<int> files_;
    int kick_fd_;
    int stop_fd_;
    bool stopped_ = false;
    std::vector<End> ended_;
};

std::unique_ptr<BlockBackend> make_backend(const std::vector<int>& disk_files, bool may_use_ring,
                                           uint16_t queue_size, int kick_fd, int stop_fd) {
    if (may_use_ring) {
        std::vector<int> files(RingBackend::kEvents);
        files[RingBackend::kKickFile] = kick_fd;
        files[RingBackend::kStopFile] = stop_fd;
        files.insert(files.end(), disk_files.begin(), disk_files.end());
        if (auto ring = IoRing::make(queue_size + RingBackend::kEvents, files)) {
            return std::make_unique<RingBackend>(std::move(*ring), disk_files);
        }
    }
    return std::make_unique<SynchronousBackend>(disk_files, kick_fd, stop_fd);
}

/// What the operations of a disk go through, from the files upwards.
BlockBackendMaker make_backends(const DiskImage& image, bool may_use_ring) {
    std::vector<int> files(image.files.size());
    std::ranges::transform(image.files, files.begin(), [](const UniqueFd& file) { return file.get(); });
    std::shared_ptr<OverlayMap> map;
    if (image.layer.valid()) {
        files.push_back(image.layer.get());
        map = std::make_shared<OverlayMap>(image.size / kSector);
    }
    return [files, may_use_ring, map, table = image.table, alignment = image.memory_alignment,
            block_size = image.block_size](uint16_t queue_size, int kick_fd, int stop_fd) {
        auto backend = make_backend(files, may_use_ring, queue_size, kick_fd, stop_fd);
        if (alignment > 1) {
            backend = std::make_unique<BounceBackend>(std::move(backend), alignment, block_size, queue_size);
        }
        if (table) {
            backend = std::make_unique<JoinedBackend>(std::move(backend), *table, queue_size);
        }
        if (map) {
            backend = std::make_unique<OverlayBackend>(std::move(backend), *map, queue_size);
        }
        return backend;
    };
}

}  // namespace

BlockBackendMaker make_file_backends(const DiskImage& image) {
    return make_backends(image, true);
}

BlockBackendMaker make_synchronous_backends(const DiskImage& image) {
    return make_backends(image, false);
}

}  // namespace hull::virtio
