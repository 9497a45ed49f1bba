#include "devices/block/disk_image.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

#include "base/error.h"

namespace hull::virtio {

namespace {

constexpr uint32_t kSector = 512;

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

/// What direct I/O on a file needs.
struct DirectLimits {
    uint32_t block_size = kSector;        ///< bytes, of which it reads and writes multiples
    uint32_t memory_alignment = kSector;  ///< bytes
};

DirectLimits direct_limits(int fd, bool is_device) {
    DirectLimits limits;
#ifdef STATX_DIOALIGN
    // Linux 6.1.
    struct statx details {};
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &details) == 0 && details.stx_dio_offset_align != 0) {
        return {details.stx_dio_offset_align, details.stx_dio_mem_align};
    }
#endif
    if (int size = 0; is_device && ioctl(fd, BLKSSZGET, &size) == 0) {
        limits.block_size = limits.memory_alignment = static_cast<uint32_t>(size);
    }
    return limits;
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

/// One of a disk's files.
struct OpenedFile {
    UniqueFd fd;
    uint64_t size = 0;
    DirectLimits limits{.block_size = kSector, .memory_alignment = 1};
    DiskLock lock;
};

void see_that_blocks_are_whole(const std::filesystem::path& path, uint64_t size, uint32_t block_size) {
    if (size % block_size != 0) {
        const std::string block = std::to_string(block_size);
        refuse(path, "its size, " + std::to_string(size) + " bytes, is not a multiple of " + block + " bytes",
               "is it whole? If so, lengthen it (truncate -s %" + block + " FILE)");
    }
}

OpenedFile open_file(const std::filesystem::path& path, DiskUse use, bool direct) {
    const bool readonly = use != DiskUse::write;
    OpenedFile file{.fd = open_or_throw(path, readonly, direct), .lock = {}};
    const int fd = file.fd.get();
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
        ioctl(fd, BLKGETSIZE64, &file.size);
    } else {
        file.size = static_cast<uint64_t>(status.st_size);
    }
    if (direct) {
        file.limits = direct_limits(fd, is_device);
        const auto is_sound = [](uint32_t size) { return std::has_single_bit(size) && size <= 4096; };
        if (!is_sound(file.limits.block_size) || !is_sound(file.limits.memory_alignment)) {
            refuse(path,
                   "direct I/O works in blocks of " + std::to_string(file.limits.block_size) +
                       " bytes there, in memory aligned at " + std::to_string(file.limits.memory_alignment),
                   "leave 'direct' out");
        }
        file.limits.block_size = std::max(file.limits.block_size, kSector);
    }
    if (file.size == 0) {
        refuse(path, "it is empty", "make it as large as the disk is to be (truncate -s 8G FILE)");
    }
    see_that_blocks_are_whole(path, file.size, file.limits.block_size);
    if (flock(fd, (readonly ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
        refuse(path, "another machine, or another disk of this one, uses it",
               "end that one, or give the disk to all of them as 'readonly' or 'overlay'");
    }
    file.lock = DiskLock{duplicate(fd)};
    return file;
}

void add_file(DiskImage& image, OpenedFile file) {
    image.block_size = std::max(image.block_size, file.limits.block_size);
    image.memory_alignment = std::max(image.memory_alignment, file.limits.memory_alignment);
    image.files.push_back(std::move(file.fd));
    image.locks.push_back(std::move(file.lock));
}

}  // namespace

DiskLock::~DiskLock() {
    if (fd_.valid()) {
        flock(fd_.get(), LOCK_UN);
    }
}

DiskImage open_disk_image(const std::filesystem::path& path, DiskUse use, bool direct) {
    DiskImage image{.files = {}, .table = {}, .layer = {}, .readonly = use == DiskUse::read, .locks = {}};
    OpenedFile file = open_file(path, use, direct);
    image.size = file.size;
    add_file(image, std::move(file));
    if (use == DiskUse::overlay) {
        image.layer = make_layer(image.size);
    }
    return image;
}

DiskImage open_joined_image(std::span<const std::filesystem::path> paths, std::string_view name, DiskUse use,
                            bool direct) {
    DiskImage image{.files = {}, .table = {}, .layer = {}, .readonly = use == DiskUse::read, .locks = {}};
    std::vector<uint64_t> sizes;
    for (const std::filesystem::path& path : paths) {
        OpenedFile file = open_file(path, use, direct);
        sizes.push_back(file.size);
        add_file(image, std::move(file));
    }
    for (size_t index = 0; index < sizes.size(); ++index) {
        see_that_blocks_are_whole(paths[index], sizes[index], image.block_size);
    }
    image.table = std::make_shared<const PartitionTable>(sizes, image.block_size, name);
    image.size = image.table->disk_size();
    if (use == DiskUse::overlay) {
        image.layer = make_layer(image.size);
    }
    return image;
}

}  // namespace hull::virtio
