// Gets images out of an archive (docker load) into the store.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "container/image/digest.h"
#include "container/image/reference.h"
#include "container/image/store.h"
#include "container/layer/tar_reader.h"

namespace hull::container {

/// What an archive may have.
struct LoadLimits {
    size_t entries = 8192;                           ///< files, folders and links: of each 1 KiB of memory
    size_t path_bytes = 512;                         ///< of a file's name, and of what a link leads to
    uint64_t bytes = uint64_t{256} << uint32_t{30};  ///< unpacked
};

struct Loaded {
    Digest image;
    std::vector<Reference> names;  ///< may be none
};

/// How far a layer is in becoming a disk.
struct LoadProgress {
    Digest layer;  ///< of the unpacked archive
    uint64_t done;
    uint64_t total;  ///< bytes
};

/// Reads a tar archive, packed by gzip or Zstandard or not at all, to its end: an OCI layout (OCI image-spec
/// 1.1, image-layout.md) with the image of this host's platform, manifest and layers kept as they come, or
/// docker's own form with a manifest.json (moby, image/tarexport), of any age from Docker 1.10 on. An archive
/// that is both is taken for the former. Each file goes into the store as it comes, under its digest, so that
/// memory is bounded; what no image turns out to need is collected. `tell` is called about ten times a second
/// at most, and throws nothing. Throws Error: bad_file where something is missing, is not what its digest
/// says, leads out of the archive, or is beyond the limits; and as `archive` and Store do. Images that came
/// before in the archive are there then.
std::vector<Loaded> load(Store& store, const ByteSource& archive, const LoadLimits& limits,
                         const std::function<void(const LoadProgress&)>& tell);

}  // namespace hull::container
