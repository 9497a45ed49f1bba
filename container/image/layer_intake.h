// Takes a layer into the store, wherever it comes from.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "container/image/digest.h"
#include "container/image/manifest.h"
#include "container/image/store.h"
#include "container/layer/tar_reader.h"

namespace hull::container {

/// What file has, from its beginning; reading throws Error (bad_file).
ByteSource file_source(const std::filesystem::path& path);

/// A layer whose bytes have all been seen, and which has no place in the store yet.
struct TakenLayer {
    Digest packed;
    uint64_t packed_size;
    Digest unpacked;
    std::optional<Store::NewFile> blob;  ///< none where the store had it
    Store::NewFile disk;
};

/// Reads a layer's archive, packed or not, to its end in one pass, in which it becomes a disk and its digests
/// are computed; what comes is kept beside it, unless it comes from the store. The caller has a Hold. Throws
/// Error, as `packed`, unpack() and convert_layer() do.
TakenLayer take_layer(Store& store, const ByteSource& packed, bool is_from_store);

/// Gives it its place, and has the store know what unpacks to what. The caller has checked that it is what it
/// should be.
void keep_layer(Store& store, TakenLayer layer);

/// Whether the store has a packed layer, and the disk of what it is known to unpack to, which is `unpacked`.
/// That somebody says so does not count.
bool has_layer(const Store& store, const Descriptor& packed, const Digest& unpacked);

/// A layer that the store has, as a manifest has it. Throws Error (bad_file) where it cannot be read.
Descriptor describe_layer(const Store& store, const Digest& packed, uint64_t size);

/// Throws Error (bad_file): a layer is not what it should be. `how` is behind "it".
void check_layer(const Digest& computed, const Digest& wanted, const std::string& how);

}  // namespace hull::container
