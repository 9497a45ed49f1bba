// Files that are read or written whole, such as those of /proc and /sys, and what comes through a pipe.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace hull {

/// Writes into a file that is there, in one piece. False with errno where it cannot.
bool write_file(const std::filesystem::path& path, const std::string& text);

/// Puts a file of this content, for this user alone, where another or none was: at any moment, whoever dies,
/// one of the two is there and whole, and afterwards this one. Throws Error: no_resources where the disk is
/// full, else bad_file.
void replace_file(const std::filesystem::path& path, std::string_view text);

/// Has the host put on its disk which names a folder holds, after one was made or renamed there; an empty
/// path is the working folder. False with errno where it cannot.
bool sync_folder(const std::filesystem::path& folder);

/// All that is in a regular file of at most 64 MiB. Throws Error (bad_file).
std::string file_text(const std::filesystem::path& path);

/// Everything to the end; what there is where reading fails.
std::string read_all(int fd);

}  // namespace hull
