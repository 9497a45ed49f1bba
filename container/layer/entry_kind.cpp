#include "container/layer/entry_kind.h"

#include <sys/stat.h>

namespace hull::container {

uint32_t type_bits(TarEntry::Kind kind) {
    switch (kind) {
        case TarEntry::Kind::folder:
            return S_IFDIR;
        case TarEntry::Kind::symbolic_link:
            return S_IFLNK;
        case TarEntry::Kind::character_device:
            return S_IFCHR;
        case TarEntry::Kind::block_device:
            return S_IFBLK;
        case TarEntry::Kind::fifo:
            return S_IFIFO;
        default:
            return S_IFREG;
    }
}

std::optional<TarEntry::Kind> kind_of_mode(uint64_t mode) {
    switch (mode & S_IFMT) {
        case S_IFREG:
            return TarEntry::Kind::file;
        case S_IFDIR:
            return TarEntry::Kind::folder;
        case S_IFLNK:
            return TarEntry::Kind::symbolic_link;
        case S_IFCHR:
            return TarEntry::Kind::character_device;
        case S_IFBLK:
            return TarEntry::Kind::block_device;
        case S_IFIFO:
        case S_IFSOCK:
            return TarEntry::Kind::fifo;
        default:
            return std::nullopt;
    }
}

}  // namespace hull::container
