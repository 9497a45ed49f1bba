// Kernels and initramfs that the scripts of Hull's source have fetched or made.
#pragma once

#include <filesystem>

namespace hull {

/// The folder that scripts/guest-kernel and scripts/guest-initramfs fill. Need not be there.
std::filesystem::path guest_folder();

/// A kernel that needs no other file than an initramfs.
struct GuestKernel {
    std::filesystem::path kernel;     ///< empty: none was given
    std::filesystem::path initramfs;  ///< with its modules; empty: it needs none
};

/// What was given or, where no kernel was, what the scripts have fetched, the small one first: it is up
/// sooner, and has everything built in. Throws Error (bad_file) where there is none; `what` it is for goes
/// into its text ("a sandbox").
GuestKernel find_guest_kernel(GuestKernel given, const char* what);

}  // namespace hull
