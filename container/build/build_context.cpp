#include "container/build/build_context.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "container/image/manifest.h"
#include "container/layer/decompress.h"

namespace hull::container {

namespace {

constexpr const char* kTried = "cannot take the build context";

UniqueFd make_unnamed_file(const std::filesystem::path& folder) {
    std::string name = folder / "context-XXXXXX";
    UniqueFd file{mkostemp(name.data(), O_CLOEXEC)};
    if (!file.valid()) {
        throw Error{ExitStatus::no_resources, kTried,
                    "no file can be made in '" + folder.string() + "': " + errno_text(errno)};
    }
    unlink(name.c_str());
    return file;
}

void write_all(int fd, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno != EINTR) {
            throw Error{ExitStatus::no_resources, kTried, errno_text(errno),
                        "make room, or leave out what is not needed (.dockerignore)"};
        }
        bytes = bytes.subspan(static_cast<size_t>(std::max<ssize_t>(written, 0)));
    }
}

}  // namespace

BuildContext::BuildContext(const std::filesystem::path& folder)
    : folder_{folder}, file_{make_unnamed_file(folder)} {
    constexpr uint32_t kMode = 0755;
    root_.file.entry = {.kind = TarEntry::Kind::folder, .path = "", .link = "", .mode = kMode};
}

BuildContext::BuildContext(const ByteSource& archive, const std::filesystem::path& folder)
    : BuildContext{folder} {
    const ByteSource unpacked = unpack(archive, Manifest::kMostLayerBytes);
    TarReader reader{[&unpacked](std::span<std::byte> room) { return unpacked(room); }};
    std::vector<std::byte> buffer(size_t{256} << 10);
    size_t entries = 0;
    while (auto entry = reader.next()) {
        if (++entries > kMostEntries) {
            throw Error{ExitStatus::bad_file, kTried, "it has more than a million files",
                        "leave out what is not needed (.dockerignore)"};
        }
        add(*std::move(entry), size_);
        while (const size_t got = reader.read(buffer)) {
            write_all(file_.get(), std::span{buffer}.first(got));
            size_ += got;
        }
    }
    while (unpacked(buffer) != 0) {
    }
}

void BuildContext::put(TarEntry entry, const ByteSource& content) {
    const uint64_t begin = size_;
    std::vector<std::byte> buffer(size_t{256} << 10);
    while (const size_t got = content(buffer)) {
        write_all(file_.get(), std::span{buffer}.first(got));
        size_ += got;
        if (size_ - begin > Manifest::kMostLayerBytes) {
            throw Error{ExitStatus::bad_file, kTried,
                        "'" + printable(entry.path) + "' is larger than 64 GiB"};
        }
    }
    entry.size = size_ - begin;
    add(std::move(entry), begin);
}

void BuildContext::put_text(const std::string& path, std::string_view text) {
    constexpr uint32_t kMode = 0644;
    put({.path = path, .link = "", .mode = kMode},
        [rest = std::as_bytes(std::span{text})](std::span<std::byte> room) mutable {
            const auto part = rest.first(std::min(rest.size(), room.size()));
            std::ranges::copy(part, room.begin());
            rest = rest.subspan(part.size());
            return part.size();
        });
}

BuildContext::Node& BuildContext::make(const std::string& path) {
    if (path.empty()) {
        return root_;
    }
    Node& folder = make(folder_of(path));
    std::unique_ptr<Node>& node = folder.children[name_of(path)];
    if (!node) {
        node = std::make_unique<Node>();
    }
    if (node->file.entry.kind != TarEntry::Kind::folder) {
        // One that no entry has made.
        constexpr uint32_t kMode = 0755;
        node->file = {.entry = {.kind = TarEntry::Kind::folder, .path = path, .link = "", .mode = kMode}};
    }
    return *node;
}

void BuildContext::add(TarEntry entry, uint64_t place) {
    const std::string path = clean_path(entry.path);
    constexpr auto kMostDepth = 512;
    if (std::ranges::count(path, '/') > kMostDepth) {
        throw Error{ExitStatus::bad_file, kTried, "'" + printable(path) + "' is nested too deeply"};
    }
    if (path.empty()) {
        if (entry.kind == TarEntry::Kind::folder) {
            entry.path.clear();
            root_.file.entry = std::move(entry);
        }
        return;
    }
    TreeFile file{.entry = std::move(entry), .inode = 0, .place = place};
    if (file.entry.kind == TarEntry::Kind::hard_link) {
        const Node* const meant = find(clean_path(file.entry.link));
        if (meant == nullptr || meant->file.entry.kind == TarEntry::Kind::folder) {
            throw Error{ExitStatus::bad_file, kTried,
                        "'" + printable(path) + "' is a hard link to nothing that came before it"};
        }
        file = meant->file;
        if (file.inode == 0) {
            file.inode = ++linked_;
            make(folder_of(file.entry.path)).children[name_of(file.entry.path)]->file.inode = file.inode;
        }
    }
    file.entry.path = path;
    Node& folder = make(folder_of(path));
    std::unique_ptr<Node>& node = folder.children[name_of(path)];
    const bool stays_folder =
        node && file.entry.kind == TarEntry::Kind::folder && node->file.entry.kind == TarEntry::Kind::folder;
    if (!stays_folder) {
        node = std::make_unique<Node>();
    }
    node->file = std::move(file);
}

const BuildContext::Node* BuildContext::find(const std::string& path) const {
    if (path.empty()) {
        return &root_;
    }
    const Node* const folder = find(folder_of(path));
    if (folder == nullptr) {
        return nullptr;
    }
    const auto found = folder->children.find(name_of(path));
    return found == folder->children.end() ? nullptr : found->second.get();
}

std::optional<TreeFile> BuildContext::look(const std::string& path) const {
    const Node* const node = find(path);
    return node == nullptr ? std::nullopt : std::optional{node->file};
}

std::vector<std::string> BuildContext::names(const std::string& path) const {
    std::vector<std::string> result;
    if (const Node* const node = find(path); node != nullptr) {
        for (const auto& child : node->children) {
            result.push_back(child.first);
        }
    }
    return result;
}

ByteSource BuildContext::open(const TreeFile& file) const {
    return [fd = file_.get(), at = file.place, left = file.entry.size](std::span<std::byte> room) mutable {
        const size_t most = static_cast<size_t>(std::min<uint64_t>(room.size(), left));
        ssize_t got = 0;
        do {
            got = most == 0 ? 0 : pread(fd, room.data(), most, static_cast<off_t>(at));
        } while (got < 0 && errno == EINTR);
        if (got < 0 || (got == 0 && most > 0)) {
            throw Error{ExitStatus::bad_file, "cannot read the build context",
                        got < 0 ? errno_text(errno) : "it has become shorter"};
        }
        at += static_cast<uint64_t>(got);
        left -= static_cast<uint64_t>(got);
        return static_cast<size_t>(got);
    };
}

std::optional<std::string> BuildContext::text(const std::string& path, uint64_t most_bytes) const {
    const auto file = look(resolve_path(*this, path));
    if (!file || file->entry.kind != TarEntry::Kind::file || file->entry.size > most_bytes) {
        return std::nullopt;
    }
    std::string text(file->entry.size, '\0');
    const ByteSource source = open(*file);
    for (std::span<std::byte> room = std::as_writable_bytes(std::span{text}); !room.empty();) {
        room = room.subspan(source(room));
    }
    return text;
}

void BuildContext::remove(const std::string& path) {
    if (!path.empty() && find(path) != nullptr) {
        make(folder_of(path)).children.erase(name_of(path));
    }
}

}  // namespace hull::container
