#include "container/layer/tar_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace hull::container {

namespace {

constexpr size_t kBlock = 512;

[[noreturn]] void fail(const std::string& why) {
    throw Error{ExitStatus::bad_file, "cannot read the layer (tar)", why, "get or make it again"};
}

/// A field of text: to its NUL, or to its end.
template <size_t Size>
std::string_view text_of(const std::array<char, Size>& field) {
    const std::string_view all{field.data(), field.size()};
    return all.substr(0, all.find('\0'));
}

/// A field with a number: octal digits between spaces and NULs, or, as GNU tar writes what is too large for
/// these, two's complement behind a first byte with its highest bit set.
template <size_t Size>
int64_t number_of(const std::array<char, Size>& field, const char* what) {
    const auto first = static_cast<unsigned char>(field.front());
    if ((first & 0x80) != 0) {
        const bool is_negative = (first & 0x40) != 0;
        uint64_t value = is_negative ? ~uint64_t{0x7f} | (first & 0x7f) : first & 0x7f;
        for (size_t index = 1; index < Size; ++index) {
            const auto lost = static_cast<int64_t>(value) >> 55;
            if (lost != 0 && lost != -1) {
                fail(std::string{"an entry's "} + what + " is beyond all that can be");
            }
            value = value << 8 | static_cast<unsigned char>(field[index]);
        }
        return static_cast<int64_t>(value);
    }
    std::string_view digits{field.data(), field.size()};
    digits.remove_prefix(std::min(digits.find_first_not_of(std::string_view{" \0", 2}), digits.size()));
    digits = digits.substr(0, digits.find_first_of(std::string_view{" \0", 2}));
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 8);
    if (!digits.empty() && (error != std::errc{} || end != digits.data() + digits.size() ||
                            value > static_cast<uint64_t>(INT64_MAX))) {
        fail(std::string{"an entry's "} + what + " is no number");
    }
    return static_cast<int64_t>(value);
}

/// A pax record's number: decimal.
int64_t decimal(const std::string& text, const std::string& key) {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
        fail("the pax record '" + key + "' is no number");
    }
    return value;
}

/// Seconds, with a fraction or without.
void parse_time(const std::string& text, TarEntry& entry) {
    const size_t point = text.find('.');
    entry.mtime = decimal(text.substr(0, point), "mtime");
    std::string fraction = point == std::string::npos ? "" : text.substr(point + 1);
    if (fraction.find_first_not_of("0123456789") != std::string::npos) {
        fail("the pax record 'mtime' is no number");
    }
    fraction.resize(9, '0');
    entry.mtime_ns = static_cast<uint32_t>(decimal(fraction, "mtime"));
    // Nanoseconds count upward from the second below.
    if (text.front() == '-' && entry.mtime_ns != 0) {
        --entry.mtime;
        entry.mtime_ns = 1'000'000'000 - entry.mtime_ns;
    }
}

/// Who owns an entry.
uint32_t owner(int64_t number) {
    if (number < 0 || number >= INT64_C(0xffff'ffff)) {
        fail("an entry's owner " + std::to_string(number) + " cannot be");
    }
    return static_cast<uint32_t>(number);
}

std::string checked_path(std::string path, const char* what) {
    if (path.empty() || path.size() > TarReader::kMostPath || path.find('\0') != std::string::npos) {
        fail(std::string{"an entry's "} + what + " is " +
             (path.empty()                         ? "empty"
              : path.size() > TarReader::kMostPath ? "too long"
                                                   : "broken by a NUL"));
    }
    return path;
}

TarEntry::Kind kind_of(char type, std::string_view path) {
    switch (type) {
        case '\0':
            // Before ustar there was no other mark of a folder.
            return path.ends_with('/') ? TarEntry::Kind::folder : TarEntry::Kind::file;
        case '0':
        case '7':  // "contiguous"
            return TarEntry::Kind::file;
        case '1':
            return TarEntry::Kind::hard_link;
        case '2':
            return TarEntry::Kind::symbolic_link;
        case '3':
            return TarEntry::Kind::character_device;
        case '4':
            return TarEntry::Kind::block_device;
        case '5':
            return TarEntry::Kind::folder;
        case '6':
            return TarEntry::Kind::fifo;
        case 'S':
            fail("it has a sparse file in GNU tar's form, which is not supported");
        default:
            fail(std::string{"an entry is of the unknown type '"} + type + "'");
    }
}

}  // namespace

/// On the wire (POSIX.1-2017, pax, "ustar Header Block"); of chars throughout, so without gaps.
struct TarReader::Header {
    std::array<char, 100> name;
    std::array<char, 8> mode;
    std::array<char, 8> uid;
    std::array<char, 8> gid;
    std::array<char, 12> size;
    std::array<char, 12> mtime;
    std::array<char, 8> checksum;
    char type;
    std::array<char, 100> link;
    std::array<char, 8> magic;  // with the version behind it
    std::array<char, 32> user;
    std::array<char, 32> group;
    std::array<char, 8> major;
    std::array<char, 8> minor;
    std::array<char, 155> prefix;
    std::array<char, 12> unused;
};

std::optional<TarEntry> TarReader::next() {
    static_assert(sizeof(Header) == kBlock);
    Extras extras;
    for (Header header{};;) {
        skip(left_ + padding_);
        left_ = padding_ = 0;
        if (!read_header(header)) {
            if (!extras.records.empty() || !extras.path.empty() || !extras.link.empty()) {
                fail("it ends where an entry is announced");
            }
            return std::nullopt;
        }
        const int64_t size = number_of(header.size, "size");
        if (size < 0) {
            fail("an entry's size is negative");
        }
        left_ = static_cast<uint64_t>(size);
        padding_ = static_cast<uint32_t>(-left_ % kBlock);
        switch (header.type) {
            case 'x':
                read_records(left_, extras.records);
                break;
            case 'g':  // of all that follow: builders write their revision there, and nothing of files
                break;
            case 'L':
                extras.path = read_name(left_);
                break;
            case 'K':
                extras.link = read_name(left_);
                break;
            default: {
                TarEntry entry = make_entry(header, extras);
                left_ = entry.size;
                padding_ = static_cast<uint32_t>(-left_ % kBlock);
                return entry;
            }
        }
    }
}

size_t TarReader::read(std::span<std::byte> room) {
    room = room.first(std::min<uint64_t>(room.size(), left_));
    if (room.empty()) {
        return 0;
    }
    const size_t got = source_(room);
    if (got == 0) {
        fail("it ends in the middle of a file");
    }
    left_ -= got;
    return got;
}

/// False at the end: a block of zeros, or nothing more.
bool TarReader::read_header(Header& header) {
    const std::span<std::byte> bytes = std::as_writable_bytes(std::span{&header, 1});
    for (size_t have = 0; have < bytes.size();) {
        const size_t got = source_(bytes.subspan(have));
        if (got == 0 && have == 0) {
            return false;
        }
        if (got == 0) {
            fail("it ends in the middle of a header");
        }
        have += got;
    }
    if (std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{}; })) {
        return false;
    }
    // Of all bytes, those of the sum itself as spaces.
    int64_t sum = 0;
    for (const std::byte byte : bytes) {
        sum += static_cast<unsigned char>(byte);
    }
    for (const char digit : header.checksum) {
        sum += ' ' - static_cast<unsigned char>(digit);
    }
    if (number_of(header.checksum, "checksum") != sum) {
        fail("a header's checksum is wrong");
    }
    return true;
}

void TarReader::read_all(std::span<std::byte> room) {
    while (!room.empty()) {
        room = room.subspan(read(room));
    }
}

void TarReader::skip(uint64_t bytes) {
    std::array<std::byte, 16'384> dropped;
    while (bytes > 0) {
        const size_t got = source_(std::span{dropped}.first(std::min<uint64_t>(bytes, dropped.size())));
        if (got == 0) {
            fail("it ends in the middle of a file");
        }
        bytes -= got;
    }
}

/// The content of an entry that is about the next one.
std::string TarReader::read_text(uint64_t size) {
    if (size > kMostRecords) {
        fail("what is said of an entry takes more than 1 MiB");
    }
    std::string text(size, '\0');
    read_all(std::as_writable_bytes(std::span{text}));
    return text;
}

std::string TarReader::read_name(uint64_t size) {
    std::string name = read_text(size);
    name.resize(std::min(name.find('\0'), name.size()));
    return name;
}

/// Each is "LENGTH KEY=VALUE\n", its own length included.
void TarReader::read_records(uint64_t size, std::map<std::string, std::string>& records) {
    const std::string text = read_text(size);
    for (std::string_view rest{text}; !rest.empty();) {
        size_t length = 0;
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
        const size_t digits = static_cast<size_t>(end - rest.data());
        if (error != std::errc{} || length > rest.size() || length < digits + 2 || rest[digits] != ' ' ||
            rest[length - 1] != '\n') {
            fail("a pax record is malformed");
        }
        const std::string_view record = rest.substr(digits + 1, length - digits - 2);
        const size_t equals = record.find('=');
        if (equals == std::string_view::npos || equals == 0) {
            fail("a pax record is malformed");
        }
        records.insert_or_assign(std::string{record.substr(0, equals)},
                                 std::string{record.substr(equals + 1)});
        rest.remove_prefix(length);
    }
}

TarEntry TarReader::make_entry(const Header& header, Extras& extras) {
    constexpr std::string_view kAttribute = "SCHILY.xattr.";
    TarEntry entry;
    std::string path{text_of(header.name)};
    // GNU tar has other things where ustar has the beginning of a long name.
    if (std::string_view{header.magic.data(), 6} == std::string_view{"ustar\0", 6} &&
        header.prefix.front() != '\0') {
        path = std::string{text_of(header.prefix)} + "/" + path;
    }
    std::string link{text_of(header.link)};
    int64_t size = number_of(header.size, "size");
    int64_t uid = number_of(header.uid, "owner");
    int64_t gid = number_of(header.gid, "group");
    entry.mtime = number_of(header.mtime, "time");
    path = extras.path.empty() ? path : extras.path;
    link = extras.link.empty() ? link : extras.link;
    for (auto& [key, value] : extras.records) {
        if (key.starts_with("GNU.sparse.")) {
            fail("it has a sparse file, which is not supported");
        }
        if (key.starts_with(kAttribute) && key.size() > kAttribute.size()) {
            entry.attributes.emplace(key.substr(kAttribute.size()), std::move(value));
        } else if (value.empty()) {
            continue;  // the header's holds
        } else if (key == "path") {
            path = std::move(value);
        } else if (key == "linkpath") {
            link = std::move(value);
        } else if (key == "size") {
            size = decimal(value, key);
        } else if (key == "uid") {
            uid = decimal(value, key);
        } else if (key == "gid") {
            gid = decimal(value, key);
        } else if (key == "mtime") {
            parse_time(value, entry);
        }
    }
    entry.kind = kind_of(header.type, path);
    entry.path = checked_path(std::move(path), "name");
    if (entry.kind == TarEntry::Kind::hard_link || entry.kind == TarEntry::Kind::symbolic_link) {
        entry.link = checked_path(std::move(link), "link");
    }
    entry.mode = static_cast<uint32_t>(number_of(header.mode, "mode")) & 07777;
    entry.uid = owner(uid);
    entry.gid = owner(gid);
    if (entry.kind == TarEntry::Kind::file) {
        if (size < 0) {
            fail("an entry's size is negative");
        }
        entry.size = static_cast<uint64_t>(size);
    }
    if (entry.kind == TarEntry::Kind::character_device || entry.kind == TarEntry::Kind::block_device) {
        const int64_t major = number_of(header.major, "device");
        const int64_t minor = number_of(header.minor, "device");
        if (major < 0 || major >= 1 << 12 || minor < 0 || minor >= 1 << 20) {
            fail("a device's number cannot be");
        }
        entry.major = static_cast<uint32_t>(major);
        entry.minor = static_cast<uint32_t>(minor);
    }
    return entry;
}

}  // namespace hull::container
