// Turns a layer's archive into the disk by which guests see it.
#pragma once

#include <cstdint>

#include "container/layer/tar_reader.h"

namespace hull::container {

/// Reads a tar archive to its end and writes an EROFS image (ErofsWriter) of what it changes (LayerTree) to
/// the empty `file`, of at most `most_bytes`. Answers the image's size in bytes. Throws Error: bad_file for
/// what is wrong with the archive, no_resources where the disk is full. What it has written then is of no
/// use.
uint64_t convert_layer(ByteSource archive, int file, uint64_t most_bytes);

}  // namespace hull::container
