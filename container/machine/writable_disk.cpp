#include "container/machine/writable_disk.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "base/error.h"
#include "vmm/main/helper_process.h"

namespace hull::container {

std::filesystem::path empty_disk(const std::filesystem::path& root) {
    std::filesystem::path disk = root / "empty-10G.ext4";
    if (access(disk.c_str(), R_OK) == 0) {
        return disk;
    }
    const std::string tried = "cannot make the disk '" + disk.string() + "'";
    // Whoever is quicker has made the same one.
    const std::string unfinished = disk.string() + "." + std::to_string(getpid());
    // Nothing of it is written but what says how large it is: the tables of inodes are holes, as they are to
    // be, and nobody grows it.
    const std::string said = output_of(
        "mke2fs",
        "PATH=$PATH:/usr/sbin:/sbin; mke2fs -q -F -t ext4 -O ^has_journal,^resize_inode -m 0 "
        "-E lazy_itable_init=1,nodiscard,root_owner=0:0 \"$0\" 10G >/dev/null 2>&3 && sync \"$0\" || echo "
        "failed >&3",
        unfinished);
    if (!said.empty()) {
        unlink(unfinished.c_str());
        throw Error{ExitStatus::bad_file, tried, "mke2fs says: " + said.substr(0, said.find('\n')),
                    "install e2fsprogs, and give it room"};
    }
    if (std::rename(unfinished.c_str(), disk.c_str()) != 0) {
        const int cause = errno;
        unlink(unfinished.c_str());
        throw Error{ExitStatus::no_resources, tried, errno_text(cause), "check who may write there"};
    }
    return disk;
}

}  // namespace hull::container
