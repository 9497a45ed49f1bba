// The backends of disks in files and block devices of the host.
#pragma once

#include "devices/block/backend.h"
#include "devices/block/disk_image.h"

namespace hull::virtio {

/// Backends on an image, which must outlive them: by io_uring where the host lets it be used,
/// otherwise by one system call after the other.
BlockBackendMaker make_file_backends(const DiskImage& image);
/// The second way alone.
BlockBackendMaker make_synchronous_backends(const DiskImage& image);

}  // namespace hull::virtio
