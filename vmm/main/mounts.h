// Parts of the host's files as mounts in a namespace of a helper's own.
#pragma once

#include <filesystem>
#include <string>

#include "base/unique_fd.h"

namespace hull {

/// "WHAT: " and errno's text, for a helper that says why it cannot begin.
std::string failed(const std::string& what);

/// Makes what is mounted from here on this namespace's alone. False with errno where it cannot.
bool make_mounts_private();

/// A file or folder of the host's, with what is mounted below it, as a mount which is nowhere yet; without
/// its devices, and read-only where asked for. None with errno where it cannot be made.
UniqueFd open_mount(const std::filesystem::path& source, bool readonly);

/// Puts such a mount at a place that is there. False with errno where it cannot.
bool put_mount(int mount, const std::filesystem::path& place);

}  // namespace hull
