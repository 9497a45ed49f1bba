#include "container/build/layer_changes.h"

#include <unistd.h>

#include <cerrno>
#include <set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/printable.h"
#include "container/api/api_error.h"
#include "container/layer/tar_entry.h"
#include "container/layer/tar_header.h"

namespace hull::container {

namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text});
}

}  // namespace

std::optional<TreeFile> LayerChanges::look(const std::string& path) const {
    if (const auto made = made_.find(path); made != made_.end()) {
        return TreeFile{.entry = made->second};
    }
    // What was made of a folder that is one no more hides what is below.
    for (std::string folder = path; !folder.empty();) {
        folder = folder_of(folder);
        if (const auto made = made_.find(folder); made != made_.end()) {
            if (made->second.kind != TarEntry::Kind::folder) {
                return std::nullopt;
            }
            break;
        }
    }
    return below_.look(path);
}

std::vector<std::string> LayerChanges::names(const std::string& path) const {
    const std::vector<std::string> below = below_.names(path);
    std::set<std::string> all{below.begin(), below.end()};
    for (const auto& [made, entry] : made_) {
        if (!made.empty() && folder_of(made) == path) {
            all.insert(name_of(made));
        }
    }
    return {all.begin(), all.end()};
}

ByteSource LayerChanges::open(const TreeFile& file) const {
    return below_.open(file);
}

void LayerChanges::write(TarEntry& entry) {
    const std::string name = name_of(entry.path);
    if (name.starts_with(".wh.")) {
        throw ApiError{400, "'" + printable(entry.path) +
                                "' cannot be in an image: names that begin with '.wh.' tell what is deleted"};
    }
    entry.be_no_later_than(latest_);
    file_.append(bytes_of(tar_entry(entry)));
}

void LayerChanges::bring_up(const std::string& folder) {
    if (folder.empty() || made_.contains(folder)) {
        return;
    }
    bring_up(folder_of(folder));
    if (auto below = below_.look(folder)) {
        write(below->entry);
        made_[folder] = std::move(below->entry);
    }
}

void LayerChanges::make_folders(const std::string& path, Owner owner) {
    if (path.empty()) {
        return;
    }
    const auto file = look(path);
    if (file && file->entry.kind != TarEntry::Kind::folder) {
        throw ApiError{400, "mkdir /" + printable(path) + ": not a directory"};
    }
    if (file) {
        bring_up(path);
        return;
    }
    make_folders(folder_of(path), owner);
    constexpr uint32_t kMode = 0755;
    put(path,
        {.kind = TarEntry::Kind::folder,
         .path = {},
         .link = {},
         .mode = kMode,
         .uid = owner.uid,
         .gid = owner.gid},
        {});
}

void LayerChanges::put(const std::string& path, TarEntry entry, const ByteSource& content) {
    if (path.size() > TarReader::kMostPath) {
        throw ApiError{400, "'" + printable(path) + "' cannot be in an image: its path is too long"};
    }
    bring_up(folder_of(path));
    entry.path = path;
    const bool is_folder = entry.kind == TarEntry::Kind::folder;
    if (!is_folder) {
        const std::string beginning = path + "/";
        auto inside = made_.lower_bound(beginning);
        while (inside != made_.end() && inside->first.starts_with(beginning)) {
            inside = made_.erase(inside);
        }
    }
    write(entry);
    if (entry.kind == TarEntry::Kind::file) {
        std::vector<std::byte> buffer(size_t{256} << 10);
        uint64_t left = entry.size;
        while (left > 0) {
            const size_t got = content(std::span{buffer}.first(std::min<uint64_t>(buffer.size(), left)));
            if (got == 0) {
                throw Error{ExitStatus::bad_file, "cannot copy '" + printable(path) + "'", "it ends early"};
            }
            file_.append(std::span{buffer}.first(got));
            left -= got;
        }
        const std::string padding(-entry.size % kTarBlock, '\0');
        file_.append(bytes_of(padding));
    }
    made_[path] = std::move(entry);
}

TakenLayer LayerChanges::take(Store& store) {
    file_.append(bytes_of(std::string(2 * kTarBlock, '\0')));
    const auto read = [fd = file_.fd(), at = uint64_t{0}](std::span<std::byte> room) mutable {
        ssize_t got = 0;
        do {
            got = pread(fd, room.data(), room.size(), static_cast<off_t>(at));
        } while (got < 0 && errno == EINTR);
        if (got < 0) {
            throw Error{ExitStatus::bad_file, "cannot read the layer that was made", errno_text(errno)};
        }
        at += static_cast<uint64_t>(got);
        return static_cast<size_t>(got);
    };
    TakenLayer layer = take_layer(store, read, true);
    layer.blob.emplace(std::move(file_));
    return layer;
}

}  // namespace hull::container
