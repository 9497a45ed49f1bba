// A client's tar archive, on its way into a container.
#pragma once

#include "container/contents/guest_contents.h"
#include "container/layer/tar_reader.h"

namespace hull::container {

/// Reads an unpacked archive to its end, puts what is in it to `to`, and waits until it is there. Throws
/// Error (bad_file) where the archive is none, or leads out of where it is extracted, and as GuestContents
/// and `archive` do.
void put_archive(const ByteSource& archive, GuestContents& to);

}  // namespace hull::container
