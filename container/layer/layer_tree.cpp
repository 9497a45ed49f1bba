#include "container/layer/layer_tree.h"

#include <sys/stat.h>

#include <algorithm>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "container/layer/entry_kind.h"
#include "container/layer/file_tree.h"

namespace hull::container {

namespace {

constexpr std::string_view kWhiteout = ".wh.";
/// What else aufs marks; but for the next, nothing to others.
constexpr std::string_view kMark = ".wh..wh.";
constexpr std::string_view kOpaqueMark = ".wh..wh..opq";
constexpr const char* kOpaque = "trusted.overlay.opaque";
constexpr std::string_view kOverlays = "trusted.overlay.";

constexpr size_t kMostName = 255;
constexpr int kMostLinks = 40;  // as Linux follows on the way to one file
/// Folders in each other: what a path can name. Links of the layer's own could make more.
constexpr size_t kMostDepth = 2048;
/// All attributes of one node: what fits one block of ext4, the file system of those who write such.
constexpr size_t kMostAttributes = 4096;
constexpr uint32_t kFolderMode = S_IFDIR | 0755;

[[noreturn]] void fail(const TarEntry& entry, const std::string& why) {
    throw Error{ExitStatus::bad_file, "cannot use the layer's entry '" + entry.path + "'", why,
                "get or make the image again"};
}

bool is_folder(const LayerNode& node) {
    return S_ISDIR(node.mode);
}
bool is_whiteout(const LayerNode& node) {
    return S_ISCHR(node.mode) && node.major == 0 && node.minor == 0;
}

}  // namespace

LayerTree::LayerTree() : root_{std::make_shared<LayerNode>()} {
    root_->mode = kFolderMode;
}

LayerNode* LayerTree::add(TarEntry entry) {
    if (++entries_ > kMostEntries) {
        fail(entry, "the layer has more than " + std::to_string(kMostEntries) + " entries");
    }
    std::vector<std::string> names = names_backwards(entry.path);
    for (const std::string& name : names) {
        if (name == "..") {
            fail(entry, "it leads out of the image");
        }
        if (name.size() > kMostName) {
            fail(entry, "a name in it is longer than 255 bytes");
        }
    }
    if (names.empty()) {
        if (entry.kind != TarEntry::Kind::folder) {
            fail(entry, "the image's root is a folder");
        }
        root_ = make_folder(entry, root_);
        return nullptr;
    }
    const std::string name = std::move(names.front());
    names.erase(names.begin());
    const Node folder = folder_at(std::move(names));
    if (!folder) {
        fail(entry, "its symbolic links lead in a circle, or to something that is no folder");
    }
    if (name == kOpaqueMark) {
        folder->attributes[kOpaque] = "y";
        return nullptr;
    }
    if (name.starts_with(kMark)) {
        return nullptr;
    }
    if (name.starts_with(kWhiteout)) {
        const std::string gone = name.substr(kWhiteout.size());
        if (gone.empty() || gone == "." || gone == "..") {
            fail(entry, "it takes away what has no name");
        }
        take_away(*folder, gone);
        return nullptr;
    }
    Node& place = folder->children[name];
    if (entry.kind == TarEntry::Kind::hard_link) {
        const Node target = find(entry.link);
        if (!target || is_folder(*target) || is_whiteout(*target)) {
            fail(entry,
                 "it is a hard link to '" + entry.link + "', and the layer has no such file before it");
        }
        place = target;
        return nullptr;
    }
    place = entry.kind == TarEntry::Kind::folder && place ? make_folder(entry, place) : make_node(entry);
    return S_ISREG(place->mode) ? place.get() : nullptr;
}

LayerTree::Node LayerTree::folder_at(std::vector<std::string> names) {
    std::vector<Node> way{root_};
    int links = 0;
    while (!names.empty()) {
        const std::string name = std::move(names.back());
        names.pop_back();
        if (name == "..") {
            if (way.size() > 1) {
                way.pop_back();
            }
            continue;
        }
        if (name.size() > kMostName) {
            return nullptr;
        }
        Node& next = way.back()->children[name];
        if (!next || is_whiteout(*next)) {
            const bool is_opaque = next != nullptr;
            next = std::make_shared<LayerNode>();
            next->mode = kFolderMode;
            if (is_opaque) {
                next->attributes[kOpaque] = "y";
            }
        }
        if (S_ISLNK(next->mode)) {
            if (++links > kMostLinks) {
                return nullptr;
            }
            if (next->target.starts_with('/')) {
                way.resize(1);
            }
            std::ranges::copy(names_backwards(next->target), std::back_inserter(names));
        } else if (is_folder(*next) && way.size() < kMostDepth) {
            way.push_back(next);
        } else {
            return nullptr;
        }
    }
    return way.back();
}

/// In the place of what the layer has there already.
LayerTree::Node LayerTree::make_folder(TarEntry& entry, const Node& before) {
    Node node = make_node(entry);
    if (is_folder(*before)) {
        node->children = std::move(before->children);
    }
    if (!is_folder(*before) || before->attributes.contains(kOpaque)) {
        node->attributes[kOpaque] = "y";  // what was below it is gone
    }
    return node;
}

/// What is there by this name; its folder's symbolic links are followed, itself is not.
LayerTree::Node LayerTree::find(const std::string& path) {
    std::vector<std::string> names = names_backwards(path);
    if (names.empty() || std::ranges::find(names, "..") != names.end()) {
        return nullptr;
    }
    const std::string name = std::move(names.front());
    names.erase(names.begin());
    const Node folder = folder_at(std::move(names));
    if (!folder) {
        return nullptr;
    }
    const auto found = folder->children.find(name);
    return found == folder->children.end() ? nullptr : found->second;
}

/// What the layer itself has by this name stays, whichever came first; what is below is gone.
void LayerTree::take_away(LayerNode& folder, const std::string& name) {
    Node& place = folder.children[name];
    if (!place) {
        place = std::make_shared<LayerNode>();
        place->mode = S_IFCHR;
    } else if (is_folder(*place)) {
        place->attributes[kOpaque] = "y";
    }
}

LayerTree::Node LayerTree::make_node(TarEntry& entry) {
    auto node = std::make_shared<LayerNode>();
    node->mode = type_bits(entry.kind) | (entry.kind == TarEntry::Kind::symbolic_link ? 0777 : entry.mode);
    node->uid = entry.uid;
    node->gid = entry.gid;
    node->mtime = entry.mtime;
    node->mtime_ns = entry.mtime_ns;
    node->major = entry.major;
    node->minor = entry.minor;
    node->size = entry.size;
    node->target = entry.kind == TarEntry::Kind::symbolic_link ? std::move(entry.link) : "";
    size_t size = 0;
    for (auto& [name, value] : entry.attributes) {
        if (name.starts_with(kOverlays)) {
            continue;  // how layers are joined is not for them to say
        }
        if (name.size() > kMostName) {
            fail(entry, "an attribute's name is longer than 255 bytes");
        }
        size += name.size() + value.size();
        node->attributes.emplace(name, std::move(value));
    }
    if (size > kMostAttributes) {
        fail(entry, "its attributes take more than 4 KiB");
    }
    return node;
}

}  // namespace hull::container
