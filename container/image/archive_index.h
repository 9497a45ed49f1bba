// What an archive of images (docker save) says of what is in it.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "container/image/manifest.h"
#include "container/image/reference.h"

namespace hull::container {

/// An image as docker's manifest.json has it (moby, image/tarexport).
struct ArchivedImage {
    std::string config;               ///< its path in the archive
    std::vector<std::string> layers;  ///< theirs, the lowest first
    std::vector<Reference> names;     ///< each has a tag
};

/// An image as the index of an OCI layout has it (OCI image-spec 1.1, image-layout.md).
struct IndexedImage {
    Descriptor manifest;           ///< or an index that leads on
    std::vector<Reference> names;  ///< each has a tag
};

/// More images than so many are refused.
inline constexpr size_t kMostArchivedImages = 1000;

/// Of docker's manifest.json. Throws Error (bad_file) where it is none.
std::vector<ArchivedImage> parse_archive_manifest(std::string_view text);

/// Of an OCI layout's index.json, in which names are containerd's annotation io.containerd.image.name, or
/// org.opencontainers.image.ref.name where that is a whole one. Those that are for another platform are left
/// out. Throws Error (bad_file) where it is none, or has nothing else.
std::vector<IndexedImage> parse_archive_index(std::string_view text, const Platform& platform);

/// Where something is in an archive, without "./" and double slashes: "blobs/sha256/…"; empty for the
/// archive's own folder, and none where it leads out of that, or is absolute. Any thread.
std::optional<std::string> path_in_archive(std::string_view path);

}  // namespace hull::container
