#include "container/layer/file_tree.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/printable.h"

namespace hull::container {

std::vector<std::string> names_backwards(std::string_view path) {
    std::vector<std::string> names;
    while (!path.empty()) {
        const std::string_view name = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(name.size() + 1, path.size()));
        if (!name.empty() && name != ".") {
            names.emplace_back(name);
        }
    }
    std::ranges::reverse(names);
    return names;
}

std::string folder_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
    return path.substr(path.rfind('/') + 1);
}

std::string joined_path(const std::string& folder, const std::string& name) {
    return folder.empty() ? name : folder + "/" + name;
}

std::string clean_path(std::string_view path) {
    std::string result;
    std::vector<std::string> names = names_backwards(path);
    for (; !names.empty(); names.pop_back()) {
        result = names.back() == ".." ? folder_of(result) : joined_path(result, names.back());
    }
    return result;
}

std::string resolve_path(const FileTree& tree, const std::string& path) {
    constexpr int kMostLinks = 255;
    std::vector<std::string> left = names_backwards(path);
    std::string result;
    int links = 0;
    bool is_there = true;
    while (!left.empty()) {
        const std::string name = std::move(left.back());
        left.pop_back();
        if (name == "..") {
            result = folder_of(result);
            is_there = true;
            continue;
        }
        const std::string next = joined_path(result, name);
        if (next.size() > TarReader::kMostPath) {
            throw Error{ExitStatus::bad_file, "cannot tell where '" + printable(path) + "' leads",
                        "it is too long"};
        }
        const auto file = is_there ? tree.look(next) : std::nullopt;
        is_there = file.has_value();
        if (!file || file->entry.kind != TarEntry::Kind::symbolic_link) {
            result = next;
            continue;
        }
        if (++links > kMostLinks) {
            throw Error{ExitStatus::bad_file, "cannot tell where '" + printable(path) + "' leads",
                        "too many symbolic links are on the way"};
        }
        if (file->entry.link.starts_with('/')) {
            result.clear();
        }
        std::vector<std::string> target = names_backwards(file->entry.link);
        left.insert(left.end(), std::move_iterator{target.begin()}, std::move_iterator{target.end()});
    }
    return result;
}

}  // namespace hull::container
