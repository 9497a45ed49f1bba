#include "container/build/copy.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "container/api/api_error.h"
#include "container/build/glob.h"
#include "container/image/digest.h"
#include "container/image/manifest.h"
#include "container/layer/decompress.h"

namespace hull::container {

namespace {

using Kind = TarEntry::Kind;

[[noreturn]] void refuse(const std::string& why) {
    throw ApiError{400, why};
}

Digest digest_of(const std::string& text) {
    return Digest::of(std::as_bytes(std::span{text}));
}

/// Of one file, folder or link.
std::string digits_of(const FileTree& tree, const TreeFile& file) {
    const TarEntry& entry = file.entry;
    std::string head = entry.path + '\0' + entry.link + '\0';
    for (const uint64_t number :
         {static_cast<uint64_t>(entry.kind), uint64_t{entry.mode}, uint64_t{entry.uid}, uint64_t{entry.gid},
          entry.size, uint64_t{entry.major}, uint64_t{entry.minor}}) {
        head += std::to_string(number) + ' ';
    }
    for (const auto& [name, value] : entry.attributes) {
        head += '\0' + name + '\0' + std::to_string(value.size()) + ' ' + value;
    }
    Sha256 sum;
    sum.add(std::as_bytes(std::span{head}));
    if (entry.kind == Kind::file && entry.size > 0) {
        std::vector<std::byte> buffer(size_t{256} << 10);
        const ByteSource content = tree.open(file);
        while (const size_t got = content(buffer)) {
            sum.add(std::span{buffer}.first(got));
        }
    }
    return sum.finish().digits();
}

/// Calls with all that is in a folder, folders before what is in them, by name.
void walk(const FileTree& tree, const std::string& folder, const std::function<void(const TreeFile&)>& each) {
    for (const std::string& name : tree.names(folder)) {
        const std::string path = joined_path(folder, name);
        if (path.size() > TarReader::kMostPath) {
            refuse("a path below '" + printable(folder.substr(0, 100)) + "' is too long");
        }
        if (const auto file = tree.look(path)) {
            each(*file);
            if (file->entry.kind == Kind::folder) {
                walk(tree, path, each);
            }
        }
    }
}

std::string hash_of(const FileTree& tree, const TreeFile& file) {
    if (file.entry.kind != Kind::folder) {
        return "file:" + digits_of(tree, file);
    }
    std::vector<std::string> all{digits_of(tree, file)};
    walk(tree, file.entry.path, [&](const TreeFile& inside) { all.push_back(digits_of(tree, inside)); });
    std::string text;
    for (const std::string& digits : all) {
        text += digits;
    }
    return "dir:" + digest_of(text).digits();
}

/// The paths that a pattern means, one name after the other.
void match(const FileTree& tree, const std::string& folder, std::string_view pattern,
           std::vector<std::string>& found) {
    const std::string_view first = pattern.substr(0, pattern.find('/'));
    const bool is_last = first.size() == pattern.size();
    for (const std::string& name : tree.names(folder)) {
        if (!matches_pattern(first, name)) {
            continue;
        }
        const std::string path = joined_path(folder, name);
        if (is_last) {
            found.push_back(path);
        } else if (path.size() <= TarReader::kMostPath) {
            match(tree, path, pattern.substr(first.size() + 1), found);
        }
    }
}

/// Whether it leads out, as a text.
bool leads_out(std::string_view path) {
    int depth = 0;
    while (!path.empty()) {
        const std::string_view name = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(name.size() + 1, path.size()));
        if (name == "..") {
            --depth;
        } else if (!name.empty() && name != ".") {
            ++depth;
        }
        if (depth < 0) {
            return true;
        }
    }
    return false;
}

/// Whether a file begins as an archive does, packed or not.
bool is_archive(const FileTree& tree, const TreeFile& file) {
    if (file.entry.kind != Kind::file) {
        return false;
    }
    try {
        TarReader reader{unpack(tree.open(file), Manifest::kMostLayerBytes)};
        return reader.next().has_value();
    } catch (const Error&) {
        return false;
    }
}

void unpack_into(LayerChanges& changes, const FileTree& tree, const TreeFile& archive,
                 const std::string& folder) {
    changes.make_folders(folder, {});
    TarReader reader{unpack(tree.open(archive), Manifest::kMostLayerBytes)};
    while (auto entry = reader.next()) {
        const std::string path = clean_path(entry->path);
        if (path.empty()) {
            continue;
        }
        // What is on the way may be a link, of the image's or of the archive's; it leads to something in the
        // image.
        const std::string place = resolve_path(changes, joined_path(folder, folder_of(path)));
        changes.make_folders(place, {});
        if (entry->kind == Kind::hard_link) {
            const std::string link = clean_path(entry->link);
            entry->link =
                joined_path(resolve_path(changes, joined_path(folder, folder_of(link))), name_of(link));
            if (!changes.look(entry->link)) {
                refuse("the archive '" + printable(archive.entry.path) + "' has a hard link to nothing");
            }
        }
        changes.put(joined_path(place, name_of(path)), *entry,
                    [&reader](std::span<std::byte> room) { return reader.read(room); });
    }
}

/// Copies files as they are, and names of one file as such.
class Copier {
  public:
    Copier(LayerChanges& changes, const FileTree& tree, const CopyOptions& options)
        : changes_{changes}, tree_{tree}, options_{options} {}

    void put(const TreeFile& file, const std::string& path) {
        TarEntry entry = file.entry;
        if (options_.owner) {
            entry.uid = options_.owner->uid;
            entry.gid = options_.owner->gid;
        }
        if (options_.mode && entry.kind != Kind::symbolic_link) {
            entry.mode = *options_.mode;
        }
        if (file.inode != 0) {
            const auto [first, is_new] = names_.emplace(file.inode, path);
            if (!is_new && first->second != path) {
                entry.kind = Kind::hard_link;
                entry.link = first->second;
                entry.size = 0;
            }
        }
        ByteSource content = entry.kind == Kind::file ? tree_.open(file) : ByteSource{};
        changes_.put(path, std::move(entry), std::move(content));
    }

  private:
    LayerChanges& changes_;
    const FileTree& tree_;
    const CopyOptions& options_;
    std::map<uint64_t, std::string> names_;  // by inode
};

std::optional<uint32_t> number_of(std::string_view text) {
    uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    const bool is_number = error == std::errc{} && end == text.data() + text.size() && number != UINT32_MAX;
    return is_number ? std::optional{number} : std::nullopt;
}

/// A file of the image's, whose lines are looked through for a first field.
std::vector<std::vector<std::string>> table_of(const FileTree& image, const std::string& path) {
    constexpr uint64_t kMost = uint64_t{4} << 20;
    const auto file = image.look(resolve_path(image, path));
    if (!file || file->entry.kind != Kind::file || file->entry.size > kMost) {
        return {};
    }
    std::string text(file->entry.size, '\0');
    const ByteSource content = image.open(*file);
    size_t have = 0;
    while (const size_t got = content(std::as_writable_bytes(std::span{text}).subspan(have))) {
        have += got;
    }
    std::vector<std::vector<std::string>> rows;
    std::string_view rest = text;
    while (!rest.empty()) {
        std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(line.size() + 1, rest.size()));
        std::vector<std::string> fields;
        for (;;) {
            const size_t colon = line.find(':');
            fields.emplace_back(line.substr(0, colon));
            if (colon == std::string_view::npos) {
                break;
            }
            line.remove_prefix(colon + 1);
        }
        rows.push_back(std::move(fields));
    }
    return rows;
}

std::optional<uint32_t> id_in(const FileTree& image, const std::string& table, const std::string& name) {
    if (const auto number = number_of(name)) {
        return number;
    }
    for (const std::vector<std::string>& row : table_of(image, table)) {
        if (row.size() > 2 && row.front() == name) {
            return number_of(row[2]);
        }
    }
    return std::nullopt;
}

}  // namespace

CopySource find_source(const FileTree& tree, const std::string& path, bool is_context) {
    if (leads_out(path)) {
        refuse("forbidden path outside the build context: " + path + " ()");
    }
    const std::string clean = clean_path(path);
    const auto file = tree.look(resolve_path(tree, clean));
    if (!file) {
        const std::string where =
            is_context ? "file not found in build context or excluded by .dockerignore: " : "";
        refuse(where + "stat " + path + ": file does not exist");
    }
    return {.name = clean, .file = *file, .hash = hash_of(tree, *file), .tree = &tree};
}

std::vector<CopySource> find_sources(const FileTree& tree, const std::vector<std::string>& sources,
                                     bool is_context) {
    std::vector<CopySource> all;
    for (const std::string& source : sources) {
        std::string_view path = source;
        path.remove_prefix(path.starts_with('/') ? 1 : 0);
        path.remove_prefix(path.starts_with("./") ? 2 : 0);
        if (!has_pattern(path)) {
            all.push_back(find_source(tree, std::string{path}, is_context));
            continue;
        }
        std::vector<std::string> found;
        match(tree, "", path, found);
        for (const std::string& each : found) {
            all.push_back(find_source(tree, each, is_context));
        }
    }
    if (all.empty()) {
        refuse("no source files were specified");
    }
    return all;
}

std::string hash_of(const std::vector<CopySource>& sources) {
    if (sources.size() == 1) {
        return sources.front().hash;
    }
    std::string text;
    for (const CopySource& source : sources) {
        text += (text.empty() ? "" : ",") + source.hash;
    }
    return "multi:" + digest_of(text).digits();
}

void copy_source(LayerChanges& changes, const CopySource& source, const CopyOptions& options) {
    const FileTree& tree = *source.tree;
    Copier copier{changes, tree, options};
    const std::string place = resolve_path(changes, options.destination);
    const auto there = changes.look(place);
    const bool is_folder = there && there->entry.kind == Kind::folder;
    const Owner owner = options.owner.value_or(Owner{});
    if (source.file.entry.kind == Kind::folder) {
        if (!is_folder && !place.empty()) {
            changes.make_folders(folder_of(place), {});
            changes.make_folders(place, owner);
        }
        const std::string& root = source.file.entry.path;
        walk(tree, root, [&](const TreeFile& file) {
            const size_t begin = root.empty() ? 0 : root.size() + 1;
            copier.put(file, joined_path(place, file.entry.path.substr(begin)));
        });
        return;
    }
    if (options.unpacks && is_archive(tree, source.file)) {
        return unpack_into(changes, tree, source.file, place);
    }
    const std::string path =
        is_folder || options.destination.ends_with('/') ? joined_path(place, name_of(source.name)) : place;
    changes.make_folders(folder_of(path), owner);
    copier.put(source.file, path);
}

Owner find_owner(const FileTree& image, const std::string& text) {
    const size_t colon = text.find(':');
    const std::string user = text.substr(0, colon);
    const std::string group = colon == std::string::npos ? user : text.substr(colon + 1);
    const std::string tried = "unable to convert uid/gid chown string to host mapping: ";
    const auto uid = id_in(image, "etc/passwd", user);
    if (!uid) {
        refuse(tried + "can't find uid for user " + user + ": no such user: " + user);
    }
    const auto gid = id_in(image, "etc/group", group);
    if (!gid) {
        refuse(tried + "can't find gid for group " + group + ": no such group: " + group);
    }
    return {.uid = *uid, .gid = *gid};
}

}  // namespace hull::container
