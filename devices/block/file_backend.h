// Disks in files and block devices of the host.
#pragma once

#include <filesystem>

#include "base/unique_fd.h"
#include "devices/block/backend.h"

namespace hull::virtio {

/// An image that was opened for a machine, with what is known of it at that moment.
struct DiskImage {
    UniqueFd fd;
    uint64_t size = 0;          ///< bytes, a multiple of block_size and above zero
    uint32_t block_size = 512;  ///< the least that can be read or written, a power of two from 512 to 4096
    bool readonly = false;
};

/// Opens a regular file or a block device and locks it against other machines (flock(2)): one alone may write
/// to it, several may read it. With `direct` the host's page cache is left out. Throws Error (bad_file) where
/// it is missing, not permitted, neither, locked, empty, not made of whole blocks, or cannot be used without
/// the cache.
DiskImage open_disk_image(const std::filesystem::path& path, bool readonly, bool direct);

/// Backends on `fd` (an image's, which must outlive them): by io_uring where the host lets it be used,
/// otherwise by one system call after the other.
BlockBackendMaker make_file_backends(int fd);
/// The second way alone.
BlockBackendMaker make_synchronous_backends(int fd);

}  // namespace hull::virtio
