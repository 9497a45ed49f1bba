#include "vmm/main/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>

#include "base/error.h"

namespace hull {

std::string failed(const std::string& what) {
    return what + ": " + errno_text(errno);
}

bool make_mounts_private() {
    return mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

UniqueFd open_mount(const std::filesystem::path& source, bool readonly) {
    UniqueFd tree{open_tree(AT_FDCWD, source.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE)};
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_NODEV | (readonly ? MOUNT_ATTR_RDONLY : 0);
    if (tree.valid() &&
        mount_setattr(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) != 0) {
        tree.reset();
    }
    return tree;
}

bool put_mount(int mount, const std::filesystem::path& place) {
    return move_mount(mount, "", AT_FDCWD, place.c_str(), MOVE_MOUNT_F_EMPTY_PATH) == 0;
}

}  // namespace hull
