// An entry of a tar archive that Hull writes, with all that it is.
#pragma once

#include <string>

#include "container/layer/tar_reader.h"

namespace hull::container {

/// What stands before the entry's content: a header of ustar's, and before it, where that has no room for
/// something, a header with pax's records, attributes as SCHILY.xattr.NAME (what TarReader reads). Times are
/// whole seconds, as Docker writes them. The path is not empty; that of a folder gets a slash at its end.
std::string tar_entry(const TarEntry& entry);

}  // namespace hull::container
