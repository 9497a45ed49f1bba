#include "container/contents/put_archive.h"

#include <filesystem>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/printable.h"

namespace hull::container {

namespace {

/// Relative to where it is extracted; empty where it is that itself.
std::string place_of(const std::string& path, const std::string& entry) {
    std::string place = std::filesystem::path{"/" + path}.lexically_normal().string().substr(1);
    if (place.ends_with('/')) {
        place.pop_back();
    }
    // From a root, ".." would lead back to it and not be seen.
    const std::string relative = std::filesystem::path{"./" + path}.lexically_normal();
    if (relative == ".." || relative.starts_with("../")) {
        throw Error{ExitStatus::bad_file, "cannot extract '" + printable(entry) + "'",
                    "it leads out of the folder"};
    }
    return place;
}

/// As much as there is room for: what clients send in small pieces goes to the guest in large ones.
size_t fill(TarReader& reader, std::span<std::byte> room) {
    size_t filled = 0;
    while (filled < room.size()) {
        const size_t got = reader.read(room.subspan(filled));
        if (got == 0) {
            break;
        }
        filled += got;
    }
    return filled;
}

}  // namespace

void put_archive(const ByteSource& archive, GuestContents& to) {
    TarReader reader{[&archive](std::span<std::byte> room) { return archive(room); }};
    std::vector<std::byte> buffer(size_t{256} << 10);
    while (auto entry = reader.next()) {
        const std::string name = entry->path;
        entry->path = place_of(name, name);
        if (entry->path.empty()) {
            continue;
        }
        if (entry->kind == TarEntry::Kind::hard_link) {
            entry->link = place_of(entry->link, name);
        }
        to.put(*entry);
        while (const size_t got = fill(reader, buffer)) {
            to.write(std::span{buffer}.first(got));
        }
    }
    while (archive(buffer) != 0) {  // what is behind the archive's end
    }
    to.finish();
}

}  // namespace hull::container
