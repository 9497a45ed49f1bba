// What an entry of an archive is, in the bits of st_mode (inode(7)).
#pragma once

#include <cstdint>
#include <optional>

#include "container/layer/tar_reader.h"

namespace hull::container {

/// The type's bits; those of a file for a hard link.
uint32_t type_bits(TarEntry::Kind kind);
/// What a mode's type is; a socket, which no archive has, is a pipe. None where it is no type.
std::optional<TarEntry::Kind> kind_of_mode(uint64_t mode);

}  // namespace hull::container
