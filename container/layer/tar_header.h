// What stands before each file of a tar archive that Hull writes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace hull::container {

inline constexpr size_t kTarBlock = 512;  ///< bytes; contents are filled up to them, and two of zeros end all

/// A header of ustar's (POSIX.1-2017, pax, "ustar Interchange Format"), of root's, made at the beginning of
/// 1970, so that the same contents make the same archive: of a folder where `name` ends with a slash, else of
/// a file of so many bytes, in GNU tar's form from 8 GiB on. The name has 1 to 99 characters.
std::string tar_header(std::string_view name, uint64_t size);

}  // namespace hull::container
