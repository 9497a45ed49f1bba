#include "devices/block/file_backend.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/io_ring.h"
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
        ring_.watch(kStopFile, kStopTag);
    }

    // The first files of its ring; the disk's come behind them.
    static constexpr int kKickFile = 0;
    static constexpr int kStopFile = 1;
    static constexpr int kEvents = 2;

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
                return pwritev(fd, operation.memory.data(), segments, offset);
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
            drain_eventfd(kick_fd_);
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
    [[nodiscard]] int64_t perform(const BlockOperation& operation) const {
        const int fd = files_[operation.file];
        const auto offset = static_cast<off_t>(operation.offset);
        const auto segments = static_cast<int>(operation.memory.size());
        switch (operation.kind) {
            case BlockOperation::Kind::read:
                return preadv(fd, operation.memory.data(), segments, offset);
            case BlockOperation::Kind::write:
                return pwritev(fd, operation.memory.data(), segments, offset);
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

[[noreturn]] void refuse(const std::filesystem::path& path, std::string_view why, std::string_view advice) {
    throw Error{ExitStatus::bad_file, "cannot use disk '" + path.string() + "'", why, advice};
}

UniqueFd open_or_throw(const std::filesystem::path& path, bool readonly, bool direct) {
    // Without O_NONBLOCK, opening a pipe would wait.
    const int flags = (readonly ? O_RDONLY : O_RDWR) | (direct ? O_DIRECT : 0);
    UniqueFd fd{open(path.c_str(), flags | O_NONBLOCK | O_CLOEXEC)};
    if (fd.valid()) {
        fcntl(fd.get(), F_SETFL, flags);
        return fd;
    }
    const int error = errno;
    if (error == EISDIR) {
        refuse(path, "it is a folder", "give an image file or a block device");
    }
    if (error == EINVAL && direct) {
        refuse(path, "its file system has no direct I/O", "leave 'direct' out");
    }
    const bool not_writable = !readonly && (error == EACCES || error == EROFS || error == EPERM);
    refuse(path, errno_text(error),
           not_writable ? "allow writing to it, or give it as 'readonly' or 'overlay'" : "check the path");
}

/// The least that direct I/O reads or writes.
uint32_t direct_block_size(int fd, bool is_device) {
    if (int size = 0; is_device && ioctl(fd, BLKSSZGET, &size) == 0) {
        return static_cast<uint32_t>(size);
    }
#ifdef STATX_DIOALIGN
    struct statx details {};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &details) == 0 && details.stx_dio_offset_align != 0) {
        return details.stx_dio_offset_align;
    }
#endif
    return kSector;
}

/// An unlinked file of zeros for what is written over a disk.
UniqueFd make_layer(uint64_t size) {
    const char* variable = std::getenv("TMPDIR");
    const std::string folder = variable == nullptr || *variable == 0 ? "/var/tmp" : variable;
    UniqueFd fd{open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    if (!fd.valid()) {
        // Not every file system can make one without a name.
        std::string name = folder + "/hull-overlay-XXXXXX";
        fd = UniqueFd{mkostemp(name.data(), O_CLOEXEC)};
        if (fd.valid()) {
            unlink(name.c_str());
        }
    }
    if (!fd.valid() || ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make a file in '" + folder + "' for an overlay",
                    errno_text(errno), "let TMPDIR name a folder that can be written to and has room"};
    }
    return fd;
}

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

BlockBackendMaker make_backends(const DiskImage& image, bool may_use_ring) {
    if (!image.layer.valid()) {
        return [files = std::vector{image.fd.get()}, may_use_ring](uint16_t queue_size, int kick_fd,
                                                                   int stop_fd) {
            return make_backend(files, may_use_ring, queue_size, kick_fd, stop_fd);
        };
    }
    std::vector<int> files(2);
    files[0] = image.fd.get();
    files[kLayerFile] = image.layer.get();
    return [files, may_use_ring, map = std::make_shared<OverlayMap>(image.size / kSector)](
               uint16_t queue_size, int kick_fd, int stop_fd) {
        return std::make_unique<OverlayBackend>(
            make_backend(files, may_use_ring, queue_size, kick_fd, stop_fd), *map, queue_size);
    };
}

}  // namespace

DiskLock::~DiskLock() {
    if (fd_.valid()) {
        flock(fd_.get(), LOCK_UN);
    }
}

DiskImage open_disk_image(const std::filesystem::path& path, DiskUse use, bool direct) {
    const bool readonly = use != DiskUse::write;
    DiskImage image{.fd = open_or_throw(path, readonly, direct),
                    .layer = {},
                    .readonly = use == DiskUse::read,
                    .lock = {}};
    const int fd = image.fd.get();
    struct stat status {};
    fstat(fd, &status);
    const bool is_device = S_ISBLK(status.st_mode);
    if (S_ISDIR(status.st_mode)) {
        refuse(path, "it is a folder", "give an image file or a block device");
    }
    if (!is_device && !S_ISREG(status.st_mode)) {
        refuse(path, "it is neither a regular file nor a block device", "give one of these");
    }
    if (is_device) {
        ioctl(fd, BLKGETSIZE64, &image.size);
    } else {
        image.size = static_cast<uint64_t>(status.st_size);
    }
    if (direct) {
        image.block_size = direct_block_size(fd, is_device);
        if (!std::has_single_bit(image.block_size) || image.block_size < kSector || image.block_size > 4096) {
            refuse(path, "direct I/O works in blocks of " + std::to_string(image.block_size) + " bytes there",
                   "leave 'direct' out");
        }
    }
    if (image.size == 0) {
        refuse(path, "it is empty", "make it as large as the disk is to be (truncate -s 8G FILE)");
    }
    if (image.size % image.block_size != 0) {
        const std::string block = std::to_string(image.block_size);
        refuse(path,
               "its size, " + std::to_string(image.size) + " bytes, is not a multiple of " + block + " bytes",
               "is it whole? If so, lengthen it (truncate -s %" + block + " FILE)");
    }
    if (flock(fd, (readonly ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
        refuse(path, "another machine, or another disk of this one, uses it",
               "end that one, or give the disk to all of them as 'readonly' or 'overlay'");
    }
    image.lock = DiskLock{UniqueFd{fcntl(fd, F_DUPFD_CLOEXEC, 0)}};
    if (use == DiskUse::overlay) {
        image.layer = make_layer(image.size);
    }
    return image;
}

BlockBackendMaker make_file_backends(const DiskImage& image) {
    return make_backends(image, true);
}

BlockBackendMaker make_synchronous_backends(const DiskImage& image) {
    return make_backends(image, false);
}

}  // namespace hull::virtio
