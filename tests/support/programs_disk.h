// A disk with programs of this machine's, for guests that have busybox only.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <stdexcept>
#include <string>

#include "tests/support/files.h"

namespace hull::test {

/// An ext2 image in `folder` with these programs and the libraries that they need, each where it is here, and
/// a folder /dev. Throws where it cannot be made.
inline std::filesystem::path programs_disk(const TemporaryFolder& folder,
                                           std::initializer_list<std::string> programs) {
    const std::string root = folder.path() / "programs";
    const std::filesystem::path image = folder.path() / "programs.img";
    std::string command =
        "set -e; export PATH=$PATH:/sbin:/usr/sbin; mkdir -p " + root + "/dev " + root + "/tmp\n";
    for (const std::string& program : programs) {
        // ldd prints the absolute path of each library and of the loader.
        command += "file=$(command -v " + program +
                   "); cp --parents -L $file $(ldd $file | grep -o \"/[^ ]*\") " + root + "\n";
    }
    command += "truncate -s 160M " + image.string() + "; mke2fs -q -t ext2 -d " + root + " " + image.string();
    if (std::system(("bash -c '" + command + "' >/dev/null 2>&1").c_str()) != 0) {
        throw std::runtime_error{"cannot make a disk of programs; scripts/setup installs them"};
    }
    std::filesystem::remove_all(root);
    return image;
}

/// What a guest's shell is typed to have such a disk, `device`, at /programs, for chroot.
inline std::string mount_programs(const std::string& device) {
    return "mkdir /programs; mount -o ro " + device +
           " /programs; mount -t devtmpfs dev /programs/dev; "
           "PATH=$PATH:/usr/bin:/usr/sbin:/sbin\n";
}

}  // namespace hull::test
