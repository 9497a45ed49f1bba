#include "container/contents/own_files.h"

#include <algorithm>
#include <array>
#include <utility>

namespace hull::container {

namespace {

/// In which a start writes files, or mounts.
bool is_own_folder(const GuestEntry& entry) {
    constexpr std::array<std::string_view, 4> kFolders{"etc", "dev", "proc", "sys"};
    return entry.file.kind == TarEntry::Kind::folder && entry.change != agent::kDeleted &&
           std::ranges::find(kFolders, entry.file.path) != kFolders.end();
}

}  // namespace

bool is_own_file(std::string_view path) {
    constexpr std::array<std::string_view, 3> kFiles{"etc/hostname", "etc/hosts", "etc/resolv.conf"};
    return std::ranges::find(kFiles, path) != kFiles.end();
}

std::optional<GuestEntry> ChangedEntries::next() {
    if (ahead_) {
        return std::exchange(ahead_, std::nullopt);
    }
    std::optional<GuestEntry> held;
    for (;;) {
        std::optional<GuestEntry> entry = kind_ == Kind::tree ? from_.next() : from_.next_change();
        if (!entry) {
            return std::nullopt;
        }
        if (is_own_file(entry->file.path)) {
            continue;
        }
        if (held && entry->file.path.starts_with(held->file.path + "/")) {
            ahead_ = std::move(entry);
            return held;
        }
        if (!is_own_folder(*entry)) {
            return entry;
        }
        held = std::move(entry);
    }
}

}  // namespace hull::container
