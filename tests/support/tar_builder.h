// Archives that tests put together by hand, so that each byte of them can be wrong.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "container/layer/tar_reader.h"

namespace hull::test {

/// A header of ustar's with octal numbers and a right checksum, and behind it the content, padded. Fields
/// that a test wants otherwise are overwritten by `change` before the sum is made.
struct TarPart {
    char type = '0';
    std::string name;
    std::string content{};
    std::string link{};
    unsigned mode = 0644;
    unsigned uid = 0;
    unsigned gid = 0;
    unsigned major = 0;
    unsigned minor = 0;
    void (*change)(std::span<char, 512> header) = nullptr;

    [[nodiscard]] std::string bytes() const {
        std::array<char, 512> header{};
        const auto text = [&](size_t at, std::string_view value) { value.copy(&header.at(at), 100); };
        const auto octal = [&](size_t at, size_t digits, size_t value) {
            for (size_t place = at + digits; place-- > at; value >>= 3) {
                header.at(place) = static_cast<char>('0' + (value & 7));
            }
        };
        text(0, name);
        octal(100, 7, mode);
        octal(108, 7, uid);
        octal(116, 7, gid);
        octal(124, 11, content.size());
        octal(136, 11, 1'000'000'000);
        header[156] = type;
        text(157, link);
        text(257, std::string_view{"ustar\00000", 8});
        octal(329, 7, major);
        octal(337, 7, minor);
        if (change != nullptr) {
            change(header);
        }
        std::memset(&header.at(148), ' ', 8);
        unsigned sum = 0;
        for (const char byte : header) {
            sum += static_cast<unsigned char>(byte);
        }
        octal(148, 6, sum);
        std::string all{header.data(), header.size()};
        all += content;
        all.resize((all.size() + 511) / 512 * 512);
        return all;
    }
};

/// A record of pax's: its length counts itself.
inline std::string pax_record(const std::string& key, const std::string& value) {
    const std::string rest = " " + key + "=" + value + "\n";
    size_t length = rest.size();
    while (length != rest.size() + std::to_string(length).size()) {
        length = rest.size() + std::to_string(length).size();
    }
    return std::to_string(length) + rest;
}

/// Gives a text away, at most `most` bytes at a time.
inline container::ByteSource source_of(std::string text, size_t most = SIZE_MAX) {
    return [text = std::move(text), at = size_t{0}, most](std::span<std::byte> room) mutable {
        const size_t count = std::min({room.size(), text.size() - at, most});
        std::memcpy(room.data(), text.data() + at, count);
        at += count;
        return count;
    };
}

}  // namespace hull::test
