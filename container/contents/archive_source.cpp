#include "container/contents/archive_source.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "container/layer/tar_entry.h"
#include "container/layer/tar_header.h"

namespace hull::container {

namespace {

constexpr const char* kOpaque = "trusted.overlay.opaque";

std::string folder_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "" : path.substr(0, slash + 1);
}

/// An empty file: what marks a place.
TarEntry mark(const std::string& path) {
    TarEntry file;
    file.path = path;
    return file;
}

}  // namespace

ArchiveSource::ArchiveSource(GuestContents& from, Kind kind, std::string base,
                             std::optional<GuestEntry> first, std::optional<int64_t> latest)
    : from_{from},
      changed_{from, ChangedEntries::Kind::tree},
      kind_{kind},
      base_{std::move(base)},
      first_{std::move(first)},
      latest_{latest} {}

/// In the archive.
std::string ArchiveSource::named(const std::string& path) const {
    if (kind_ != Kind::copy) {
        return path;
    }
    // As Docker: of the root, names begin with a slash.
    return path.empty() ? base_ : (base_ == "/" ? "" : base_) + "/" + path;
}

size_t ArchiveSource::read(std::span<std::byte> room) {
    for (;;) {
        if (told_ < ready_.size()) {
            const size_t size = std::min(room.size(), ready_.size() - told_);
            std::memcpy(room.data(), ready_.data() + told_, size);
            told_ += size;
            return size;
        }
        if (left_ > 0) {
            const size_t size = from_.read(room);
            left_ -= size;
            if (left_ == 0) {
                ready_.assign(padding_, '\0');
                told_ = 0;
            }
            return size;
        }
        if (!advance()) {
            return 0;
        }
    }
}

/// The root itself is no entry of its archive, nor are Hull's own files.
std::optional<GuestEntry> ArchiveSource::next() {
    for (;;) {
        std::optional<GuestEntry> entry = kind_ == Kind::layer ? changed_.next() : from_.next();
        if (!entry || kind_ == Kind::copy || (!entry->file.path.empty() && !is_own_file(entry->file.path))) {
            return entry;
        }
    }
}

/// False behind the end.
bool ArchiveSource::advance() {
    if (has_ended_) {
        return false;
    }
    told_ = 0;
    std::optional<GuestEntry> entry = std::exchange(first_, std::nullopt);
    if (!entry) {
        entry = next();
    }
    if (!entry) {
        has_ended_ = true;
        ready_.assign(2 * kTarBlock, '\0');
        return true;
    }
    begin(*std::move(entry));
    return true;
}

void ArchiveSource::begin(GuestEntry entry) {
    TarEntry& file = entry.file;
    file.be_no_later_than(latest_);
    const std::string folder = folder_of(file.path);
    if (kind_ == Kind::copy && file.kind == TarEntry::Kind::hard_link && folder_of(file.link) != folder) {
        throw Error{ExitStatus::bad_file, "cannot take what the container's guest sends",
                    "the hard link '" + printable(file.path) + "' leads to another folder"};
    }
    left_ = file.kind == TarEntry::Kind::file ? file.size : 0;
    padding_ = static_cast<size_t>(-left_ % kTarBlock);
    ready_.clear();
    if (kind_ == Kind::layer) {
        begin_changed(file);
        return;
    }
    file.attributes.erase(kOpaque);
    file.path = named(file.path);
    if (file.kind == TarEntry::Kind::hard_link) {
        file.link = named(file.link);
    }
    ready_ = tar_entry(file);
}

/// What overlays mark (Linux, Documentation/filesystems/overlayfs.rst) in the form of layers.
void ArchiveSource::begin_changed(TarEntry& file) {
    const std::string folder = folder_of(file.path);
    if (file.kind == TarEntry::Kind::character_device && file.major == 0 && file.minor == 0) {
        ready_ = tar_entry(mark(folder + ".wh." + file.path.substr(folder.size())));
        return;
    }
    const auto opaque = file.attributes.extract(kOpaque);
    const std::string path = file.path;
    ready_ = tar_entry(file);
    if (!opaque.empty() && opaque.mapped() == "y" && file.kind == TarEntry::Kind::folder) {
        ready_ += tar_entry(mark(path + "/.wh..wh..opq"));
    }
}

}  // namespace hull::container
