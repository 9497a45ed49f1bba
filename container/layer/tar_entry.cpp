#include "container/layer/tar_entry.h"

#include <algorithm>
#include <numeric>
#include <string_view>

#include "container/layer/tar_header.h"

namespace hull::container {

namespace {

/// Where a field of a header begins, and its bytes (POSIX.1-2017, pax, "ustar Interchange Format").
struct Place {
    size_t at;
    size_t size;
};
constexpr Place kName{0, 100};
constexpr Place kMode{100, 8};
constexpr Place kOwner{108, 8};
constexpr Place kGroup{116, 8};
constexpr Place kSize{124, 12};
constexpr Place kTime{136, 12};
constexpr Place kSum{148, 8};
constexpr size_t kType = 156;
constexpr Place kLink{157, 100};
constexpr size_t kMagic = 257;
constexpr Place kMajor{329, 8};
constexpr Place kMinor{337, 8};
constexpr uint64_t kTooLargeForOctal = uint64_t{1} << 33U;

/// Octal digits and a NUL; false where they find no room.
bool put(std::string& header, Place place, uint64_t value) {
    for (size_t digit = place.size - 1; digit-- > 0; value >>= 3U) {
        header[place.at + digit] = static_cast<char>('0' + (value & 7U));
    }
    return value == 0;
}

/// "LENGTH KEY=VALUE\n", its own length included.
void add_record(std::string& records, const std::string& key, std::string_view value) {
    const size_t rest = key.size() + value.size() + 3;
    size_t length = rest + std::to_string(rest).size();
    length = rest + std::to_string(length).size();
    records += std::to_string(length) + " " + key + "=";
    records += value;
    records += '\n';
}

void put_text(std::string& header, Place place, std::string_view text) {
    header.replace(place.at, std::min(text.size(), place.size), text.substr(0, place.size));
}

char type_of(TarEntry::Kind kind) {
    switch (kind) {
        case TarEntry::Kind::hard_link:
            return '1';
        case TarEntry::Kind::symbolic_link:
            return '2';
        case TarEntry::Kind::character_device:
            return '3';
        case TarEntry::Kind::block_device:
            return '4';
        case TarEntry::Kind::folder:
            return '5';
        case TarEntry::Kind::fifo:
            return '6';
        default:
            return '0';
    }
}

void seal(std::string& header) {
    constexpr std::string_view kUstar{"ustar\00000", 8};
    header.replace(kMagic, kUstar.size(), kUstar);
    // Of all bytes, those of the sum itself as spaces.
    header.replace(kSum.at, kSum.size, kSum.size, ' ');
    put(header, {kSum.at, kSum.size - 1},
        std::accumulate(header.begin(), header.end(), uint64_t{0},
                        [](uint64_t sum, char byte) { return sum + static_cast<unsigned char>(byte); }));
    header[kSum.at + kSum.size - 2] = '\0';
}

}  // namespace

std::string tar_header(std::string_view name, uint64_t size) {
    const bool is_folder = name.ends_with('/');
    std::string header(kTarBlock, '\0');
    put_text(header, kName, name);
    put(header, kMode, is_folder ? 0755 : 0644);
    put(header, kOwner, 0);
    put(header, kGroup, 0);
    put(header, kTime, 0);
    if (size < kTooLargeForOctal) {
        put(header, kSize, size);
    } else {
        header[kSize.at] = '\x80';
        for (size_t place = kSize.size; place-- > 1; size >>= 8U) {
            header[kSize.at + place] = static_cast<char>(size & 0xffU);
        }
    }
    header[kType] = is_folder ? '5' : '0';
    seal(header);
    return header;
}

std::string tar_entry(const TarEntry& entry) {
    std::string records;
    std::string header(kTarBlock, '\0');
    const bool is_folder = entry.kind == TarEntry::Kind::folder;
    const std::string path = entry.path + (is_folder && !entry.path.ends_with('/') ? "/" : "");
    const auto put_or_record = [&](Place place, const char* key, uint64_t value) {
        if (!put(header, place, value)) {
            put(header, place, 0);
            add_record(records, key, std::to_string(value));
        }
    };
    const auto text_or_record = [&](Place place, const char* key, const std::string& text) {
        put_text(header, place, text);
        if (text.size() > place.size) {
            add_record(records, key, text);
        }
    };
    text_or_record(kName, "path", path);
    put(header, kMode, entry.mode);
    put_or_record(kOwner, "uid", entry.uid);
    put_or_record(kGroup, "gid", entry.gid);
    put_or_record(kSize, "size", entry.kind == TarEntry::Kind::file ? entry.size : 0);
    if (entry.mtime < 0) {
        add_record(records, "mtime", std::to_string(entry.mtime));
    }
    put_or_record(kTime, "mtime", static_cast<uint64_t>(std::max<int64_t>(entry.mtime, 0)));
    header[kType] = type_of(entry.kind);
    text_or_record(kLink, "linkpath", entry.link);
    put(header, kMajor, entry.major);
    put(header, kMinor, entry.minor);
    for (const auto& [name, value] : entry.attributes) {
        add_record(records, "SCHILY.xattr." + name, value);
    }
    seal(header);
    if (records.empty()) {
        return header;
    }
    std::string announcement(kTarBlock, '\0');
    put_text(announcement, kName, "PaxHeaders.0/" + path.substr(0, kName.size - 14));
    put(announcement, kMode, 0644);
    put(announcement, kOwner, 0);
    put(announcement, kGroup, 0);
    put(announcement, kSize, records.size());
    put(announcement, kTime, 0);
    announcement[kType] = 'x';
    seal(announcement);
    records.resize((records.size() + kTarBlock - 1) / kTarBlock * kTarBlock, '\0');
    return announcement + records + header;
}

}  // namespace hull::container
