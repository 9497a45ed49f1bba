// Kernels and initramfs that the scripts of Hull's source have fetched or made.
#pragma once

#include <filesystem>

namespace hull {

/// The folder that scripts/guest-kernel and scripts/guest-initramfs fill. Need not be there.
std::filesystem::path guest_folder();

}  // namespace hull
