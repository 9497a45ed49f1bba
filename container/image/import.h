// Makes an image of an archive of files (docker import).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "container/image/digest.h"
#include "container/image/reference.h"
#include "container/image/store.h"
#include "container/layer/tar_reader.h"

namespace hull::container {

struct Import {
    std::optional<Reference> name;     ///< with a tag
    std::string message;               ///< in the image's history
    std::vector<std::string> changes;  ///< instructions of a Dockerfile (change_config)
};

/// Reads a tar archive, packed by gzip or Zstandard or not at all, to its end, and makes it the one layer of
/// a new image, whose id it answers. The archive is kept as it came. Throws Error: usage where a change
/// cannot be, bad_file where the archive is none, or leads out; and as `archive` and Store do.
Digest import_image(Store& store, const ByteSource& archive, const Import& import);

}  // namespace hull::container
