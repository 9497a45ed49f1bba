// The initramfs: files read straight into guest memory.
#pragma once

#include <optional>
#include <vector>

#include "base/guest_memory.h"
#include "base/unique_fd.h"
#include "boot/image/kernel_image.h"

namespace hull::boot::x86 {

/// How many bytes of guest memory, in whole pages, `files` need together; 2^62 where it is more than that.
uint64_t initramfs_room(const std::vector<InputFile>& files);

/// Reads `files` one after another, each padded with zeros to 4 bytes, to the highest place in the first
/// region of `memory` that the kernel takes and does not occupy itself, at a page's start. Nothing where
/// there are no files. Throws Error: bad_file where one cannot be read, no_resources where there is no room.
std::optional<GuestRange> load_initramfs(const std::vector<InputFile>& files, const LoadedKernel& kernel,
                                         GuestMemory& memory);

}  // namespace hull::boot::x86
