#include "container/layer/merged_layers.h"

#include <sys/stat.h>

#include <set>
#include <utility>

#include "container/layer/entry_kind.h"

namespace hull::container {

namespace {

constexpr unsigned kLayerShift = 56;  // of a TreeFile's place: behind the inode's number

bool is_whiteout(const ErofsReader::Inode& inode) {
    return S_ISCHR(inode.mode) && inode.major == 0 && inode.minor == 0;
}

}  // namespace

MergedLayers::MergedLayers(const std::vector<std::filesystem::path>& disks) {
    for (auto disk = disks.rbegin(); disk != disks.rend(); ++disk) {
        layers_.push_back(std::make_unique<ErofsReader>(*disk));
    }
    Parts& root = folders_[""];
    for (size_t layer = 0; layer < layers_.size(); ++layer) {
        root.push_back({layer, layers_[layer]->root()});
    }
}

bool MergedLayers::covers(const Part& part) const {
    if (part.inode.attributes_size == 0) {
        return false;
    }
    const auto attributes = layers_[part.layer]->attributes(part.inode);
    const auto opaque = attributes.find("trusted.overlay.opaque");
    return opaque != attributes.end() && opaque->second == "y";
}

MergedLayers::Parts MergedLayers::find_in(const Parts& folder, const std::string& name) const {
    Parts found;
    for (const Part& part : folder) {
        const auto number = layers_[part.layer]->find(part.inode, name);
        if (!number) {
            continue;
        }
        const Part next{part.layer, layers_[part.layer]->inode(*number)};
        const bool is_folder = S_ISDIR(next.inode.mode);
        if (is_whiteout(next.inode) || (!is_folder && !found.empty())) {
            break;
        }
        found.push_back(next);
        if (!is_folder || covers(next)) {
            break;
        }
    }
    return found;
}

MergedLayers::Parts MergedLayers::find(const std::string& path) const {
    if (const auto known = folders_.find(path); known != folders_.end()) {
        return known->second;
    }
    const Parts folder = find(folder_of(path));
    if (folder.empty() || !S_ISDIR(folder.front().inode.mode)) {
        return {};
    }
    Parts found = find_in(folder, name_of(path));
    constexpr size_t kMostFolders = 10'000;
    if (!found.empty() && S_ISDIR(found.front().inode.mode) && folders_.size() < kMostFolders) {
        folders_[path] = found;
    }
    return found;
}

std::optional<TreeFile> MergedLayers::look(const std::string& path) const {
    const Parts found = find(path);
    if (found.empty()) {
        if (!path.empty()) {
            return std::nullopt;
        }
        constexpr uint32_t kMode = 0755;
        return TreeFile{.entry = {.kind = TarEntry::Kind::folder, .path = "", .link = "", .mode = kMode}};
    }
    const Part& part = found.front();
    const ErofsReader::Inode& inode = part.inode;
    constexpr uint32_t kPermissions = 07777;
    TreeFile file{.entry = {.kind = kind_of_mode(inode.mode).value_or(TarEntry::Kind::file),
                            .path = path,
                            .link = S_ISLNK(inode.mode) ? layers_[part.layer]->target(inode) : "",
                            .mode = inode.mode & kPermissions,
                            .uid = inode.uid,
                            .gid = inode.gid,
                            .mtime = inode.mtime,
                            .mtime_ns = inode.mtime_ns,
                            .size = S_ISREG(inode.mode) ? inode.size : 0,
                            .major = inode.major,
                            .minor = inode.minor,
                            .attributes = layers_[part.layer]->attributes(inode)}};
    file.entry.attributes.erase("trusted.overlay.opaque");
    file.place = uint64_t{part.layer} << kLayerShift | inode.number;
    if (!S_ISDIR(inode.mode) && inode.links > 1) {
        file.inode = file.place + 1;
    }
    return file;
}

std::vector<std::string> MergedLayers::names(const std::string& path) const {
    std::set<std::string> seen;
    std::set<std::string> hidden;
    const Parts folder = find(path);
    for (const Part& part : folder) {
        if (!S_ISDIR(part.inode.mode)) {
            break;
        }
        std::vector<std::string> whiteouts;  // these hide what is further below, not beside them
        const ErofsReader& layer = *layers_[part.layer];
        layer.list(part.inode, [&](std::string_view name, uint64_t number) {
            if (is_whiteout(layer.inode(number))) {
                whiteouts.emplace_back(name);
            } else if (!hidden.contains(std::string{name})) {
                seen.emplace(name);
            }
        });
        hidden.insert(whiteouts.begin(), whiteouts.end());
    }
    return {seen.begin(), seen.end()};
}

ByteSource MergedLayers::open(const TreeFile& file) const {
    const ErofsReader& layer = *layers_.at(file.place >> kLayerShift);
    const ErofsReader::Inode inode = layer.inode(file.place & ((uint64_t{1} << kLayerShift) - 1));
    return [&layer, inode, offset = uint64_t{0}](std::span<std::byte> room) mutable {
        const size_t got = layer.read(inode, offset, room);
        offset += got;
        return got;
    };
}

}  // namespace hull::container
