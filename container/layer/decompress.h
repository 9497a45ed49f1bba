// Unpacks a layer as it comes.
#pragma once

#include <cstdint>

#include "container/layer/tar_reader.h"

namespace hull::container {

/// What `packed` holds: members of gzip (RFC 1952) or frames of Zstandard (RFC 8878), one behind the other,
/// or, where it begins with neither's mark, the bytes themselves. Reading throws Error (bad_file) where they
/// are broken or end early, where Zstandard wants more than 128 MiB of memory, and beyond `most_bytes`.
/// `is_packed`, if it is given, outlives it and says from the first read on which of both it is.
ByteSource unpack(ByteSource packed, uint64_t most_bytes, bool* is_packed = nullptr);

}  // namespace hull::container
