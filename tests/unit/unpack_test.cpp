#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "container/layer/decompress.h"
#include "tests/support/files.h"
#include "tests/support/tar_builder.h"

namespace hull::container {
namespace {

using test::source_of;
using testing::HasSubstr;

constexpr uint64_t kMuch = uint64_t{1} << 30;

/// Numbers and their squares: neither short nor without order.
std::string long_text() {
    std::string text;
    for (unsigned number = 0; number < 40'000; ++number) {
        text += std::to_string(number * number) + "\n";
    }
    return text;
}

/// As a program packs it.
std::string packed_by(const std::string& program, const std::string& text) {
    const test::TemporaryFolder folder;
    const std::string file = folder.file("file", text);
    EXPECT_EQ(std::system((program + " <'" + file + "' >'" + file + ".packed'").c_str()), 0);
    return test::contents_of(file + ".packed");
}

std::string unpacked(const std::string& packed, size_t piece, uint64_t most = kMuch,
                     bool* is_packed = nullptr) {
    const ByteSource source = unpack(source_of(packed, piece), most, is_packed);
    std::string text;
    std::array<char, 5000> part{};
    while (const size_t got = source(std::as_writable_bytes(std::span{part}))) {
        text.append(part.data(), got);
    }
    return text;
}

TEST(Unpack, GivesWhatWasPackedHoweverItComes) {
    const std::string text = long_text();
    for (const std::string program : {"gzip", "zstd -q", "cat"}) {
        SCOPED_TRACE(program);
        const std::string packed = packed_by(program, text);
        for (const size_t piece : {size_t{1}, size_t{1000}, SIZE_MAX}) {
            bool is_packed = program == "cat";
            EXPECT_TRUE(unpacked(packed, piece, kMuch, &is_packed) == text) << "in pieces of " << piece;
            EXPECT_EQ(is_packed, program != "cat");
        }
        EXPECT_TRUE(unpacked(packed + packed, 777) == text + text) << "two, one behind the other";
        EXPECT_EQ(unpacked(packed_by(program, ""), 10), "");
    }
    EXPECT_EQ(unpacked("", 10), "");
    EXPECT_EQ(unpacked("\x1f", 10), "\x1f") << "too short for a mark";
}

TEST(Unpack, NamesWhatItDoesNotKnow) {
    for (const std::string program : {"xz", "bzip2"}) {
        try {
            unpacked(packed_by(program, long_text()), 3);
            ADD_FAILURE() << program;
        } catch (const Error& error) {
            EXPECT_THAT(error.what(), HasSubstr("packed by xz or bzip2"));
        }
    }
}

TEST(Unpack, TellsWhatIsWrong) {
    const std::string text = long_text();
    for (const std::string program : {"gzip", "zstd -q"}) {
        SCOPED_TRACE(program);
        const std::string packed = packed_by(program, text);
        std::string broken = packed;
        broken[packed.size() / 2] ^= 0x10;
        struct Row {
            std::string packed;
            uint64_t most;
            const char* told;
        };
        for (const Row& row : {Row{packed.substr(0, packed.size() - 1), kMuch, "ends too early"},
                               {packed.substr(0, 4), kMuch, "ends too early"},
                               {broken, kMuch, "it is broken"},
                               {packed + "behind it", kMuch, "it is broken"},
                               {packed, text.size() - 1, "it holds more than 0 MiB"}}) {
            try {
                unpacked(row.packed, 5000, row.most);
                ADD_FAILURE() << "it was taken";
            } catch (const Error& error) {
                EXPECT_EQ(error.status(), ExitStatus::bad_file);
                EXPECT_THAT(error.what(), HasSubstr(row.told));
            }
        }
        EXPECT_TRUE(unpacked(packed, 5000, text.size()) == text);
    }
}

}  // namespace
}  // namespace hull::container
