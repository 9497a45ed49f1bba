#include "container/layer/tar_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/support/files.h"
#include "tests/support/tar_builder.h"

namespace hull::container {
namespace {

using test::pax_record;
using test::source_of;
using test::TarPart;
using testing::HasSubstr;

const std::string kEnd(1024, '\0');

std::string content_of(TarReader& reader) {
    std::string text;
    std::array<char, 700> part{};
    while (const size_t got = reader.read(std::as_writable_bytes(std::span{part}))) {
        text.append(part.data(), got);
    }
    return text;
}

/// What GNU tar packs comes out again, in each format that it knows, however the bytes come.
TEST(TarReader, ReadsWhatTarWritesInEachFormat) {
    const test::TemporaryFolder folder;
    const std::string long_name =
        std::string(60, 'a') + "/" + std::string(60, 'b') + "/" + std::string(60, 'c');
    folder.file("tree/" + long_name, "far");
    folder.file("tree/file", std::string(1234, 'x'));
    const std::string tree = folder.path() / "tree";
    ASSERT_EQ(std::system(("cd '" + tree + "' && ln -s '" + std::string(80, 't') +
                           "' symbolic && ln file hard && " +
                           "mkfifo fifo && chmod 4751 file && touch -d @1234567.25 file")
                              .c_str()),
              0);
    for (const std::string format : {"ustar", "gnu", "pax", "v7"}) {
        SCOPED_TRACE(format);
        const std::string name = format == "v7" ? "file hard symbolic" : ".";
        ASSERT_EQ(std::system(("tar -C '" + tree + "' --sort=name --owner=u:70000 --group=g:80000 --format=" +
                               format + " -cf '" + tree + "/../archive' " + name)
                                  .c_str()),
                  0);
        TarReader reader{source_of(test::contents_of(folder.path() / "archive"), 333)};
        std::map<std::string, TarEntry> found;
        std::map<std::string, std::string> contents;
        while (auto entry = reader.next()) {
            const std::string path = entry->path;
            found[path] = *entry;
            if (path.ends_with("file") || path.ends_with("ccc")) {
                contents[path] = content_of(reader);
            }
        }
        const std::string start = format == "v7" ? "" : "./";
        ASSERT_TRUE(found.contains(start + "file"));
        const TarEntry& one = found[start + "file"];
        EXPECT_EQ(one.kind, TarEntry::Kind::file);
        EXPECT_EQ(one.mode, 04751U);
        EXPECT_EQ(one.uid, 70000U);
        EXPECT_EQ(one.gid, 80000U);
        EXPECT_EQ(one.mtime, 1234567);
        EXPECT_EQ(one.mtime_ns, format == "pax" ? 250'000'000U : 0U);
        EXPECT_EQ(one.size, 1234U);
        EXPECT_EQ(contents[start + "file"], std::string(1234, 'x'));
        EXPECT_EQ(found[start + "hard"].kind, TarEntry::Kind::hard_link);
        EXPECT_EQ(found[start + "hard"].link, start + "file");
        EXPECT_EQ(found[start + "symbolic"].kind, TarEntry::Kind::symbolic_link);
        EXPECT_EQ(found[start + "symbolic"].link, std::string(80, 't'));
        if (format != "v7") {
            EXPECT_EQ(contents["./" + long_name], "far");
            EXPECT_EQ(found["./"].kind, TarEntry::Kind::folder);
            EXPECT_EQ(found["./fifo"].kind, TarEntry::Kind::fifo);
        }
    }
}

TEST(TarReader, TakesWhatPaxRecordsSayOverTheHeader) {
    const std::string path = std::string(300, 'p') + "/\xc3\xa4";
    const std::string records =
        pax_record("path", path) + pax_record("uid", "4294967294") + pax_record("gid", "7") +
        pax_record("size", "3") + pax_record("mtime", "-1.25") +
        pax_record("SCHILY.xattr.user.a", std::string{"b\0=\nc", 5}) + pax_record("comment", "nothing");
    TarReader reader{source_of(TarPart{.type = 'x', .name = "records", .content = records}.bytes() +
                               TarPart{.name = "short", .content = "abc"}.bytes() +
                               TarPart{.name = "next", .content = "d"}.bytes() + kEnd)};
    auto entry = reader.next();
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->path, path);
    EXPECT_EQ(entry->uid, 4294967294U);
    EXPECT_EQ(entry->gid, 7U);
    EXPECT_EQ(entry->mtime, -2);
    EXPECT_EQ(entry->mtime_ns, 750'000'000U);
    EXPECT_EQ(entry->attributes, (std::map<std::string, std::string>{{"user.a", std::string{"b\0=\nc", 5}}}));
    EXPECT_EQ(content_of(reader), "abc");
    entry = reader.next();
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->path, "next") << "they are of one entry only";
    EXPECT_EQ(entry->attributes.size(), 0U);
    EXPECT_FALSE(reader.next());
}

TEST(TarReader, SkipsWhatIsNotRead) {
    TarReader reader{source_of(TarPart{.name = "a", .content = std::string(5000, 'a')}.bytes() +
                                   TarPart{.name = "b", .content = "b"}.bytes() + kEnd,
                               100)};
    EXPECT_EQ(reader.next()->path, "a");
    EXPECT_EQ(reader.next()->path, "b");
    EXPECT_EQ(content_of(reader), "b");
    EXPECT_FALSE(reader.next());
}

TEST(TarReader, ReadsDevices) {
    TarReader reader{source_of(TarPart{.type = '3', .name = "null", .major = 1, .minor = 3}.bytes() +
                               TarPart{.type = '4', .name = "disk", .major = 259, .minor = 70000}.bytes())};
    const auto null = reader.next();
    EXPECT_EQ(null->kind, TarEntry::Kind::character_device);
    EXPECT_EQ(null->major, 1U);
    EXPECT_EQ(null->minor, 3U);
    const auto disk = reader.next();
    EXPECT_EQ(disk->kind, TarEntry::Kind::block_device);
    EXPECT_EQ(disk->major, 259U);
    EXPECT_EQ(disk->minor, 70000U);
    EXPECT_FALSE(reader.next()) << "an archive may end without zeros";
}

/// What an archive says that is not true, and what is said of it.
TEST(TarReader, RefusesWhatIsWrong) {
    const std::string file = TarPart{.name = "file", .content = "content"}.bytes();
    std::string broken_sum = file;
    broken_sum[0] ^= 1;
    const auto records = [](const std::string& text) {
        return TarPart{.type = 'x', .name = "r", .content = text}.bytes() + TarPart{.name = "f"}.bytes();
    };
    const auto changed = [](void (*change)(std::span<char, 512>)) {
        return TarPart{.name = "file", .change = change}.bytes();
    };
    struct Row {
        const char* what;
        std::string archive;
        const char* told;
    };
    const Row rows[] = {
        {"noise", std::string(600, 'n'), "checksum"},
        {"a bit has flipped", broken_sum, "checksum is wrong"},
        {"half a header", file.substr(0, 300), "in the middle of a header"},
        {"half a file", file.substr(0, 515), "in the middle of a file"},
        {"the padding is missing", file.substr(0, 519), "in the middle of a file"},
        {"a size with letters", changed([](auto header) { header[126] = 'x'; }), "size is no number"},
        {"a size beyond all", changed([](auto header) {
             std::memset(&header[124], 0x7f, 12);
             header[124] = '\x80' | 0x3f;
         }),
         "size is beyond all"},
        {"a negative size", changed([](auto header) { std::memset(&header[124], 0xff, 12); }),
         "size is negative"},
        {"a negative owner", changed([](auto header) { std::memset(&header[108], 0xff, 8); }),
         "owner -1 cannot be"},
        {"no name", TarPart{.name = ""}.bytes(), "name is empty"},
        {"a link to nothing", TarPart{.type = '2', .name = "l"}.bytes(), "link is empty"},
        {"an unknown type", TarPart{.type = 'V', .name = "v"}.bytes(), "unknown type 'V'"},
        {"a sparse file", TarPart{.type = 'S', .name = "s"}.bytes(), "sparse"},
        {"a sparse file of pax's", records(pax_record("GNU.sparse.major", "1")), "sparse"},
        {"a device beyond all", TarPart{.type = '3', .name = "d", .major = 4096}.bytes(), "device's number"},
        {"a record without a length", records("path=x\n"), "pax record is malformed"},
        {"a record beyond its end", records("900 path=x\n"), "pax record is malformed"},
        {"a record of length 0", records("0 a=b\n"), "pax record is malformed"},
        {"a record without a value", records("6 abc\n"), "pax record is malformed"},
        {"a record without a key", records("5 =b\n"), "pax record is malformed"},
        {"a record without its line's end", records("8 ab=cde"), "pax record is malformed"},
        {"a record whose number is none", records(pax_record("uid", "1x")), "'uid' is no number"},
        {"a record whose time is none", records(pax_record("mtime", "1.2.3")), "'mtime' is no number"},
        {"a record with a NUL in a name", records(pax_record("path", std::string{"a\0b", 3})),
         "broken by a NUL"},
        {"a name of 5000 bytes", records(pax_record("path", std::string(5000, 'x'))), "name is too long"},
        {"a long name of 2 MiB",
         TarPart{.type = 'L', .name = "l", .content = std::string(size_t{2} << 20, 'x')}.bytes(),
         "more than 1 MiB"},
        {"records of nothing", TarPart{.type = 'x', .name = "r", .content = pax_record("uid", "1")}.bytes(),
         "ends where an entry is announced"},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.what);
        TarReader reader{source_of(row.archive)};
        try {
            while (reader.next()) {
            }
            ADD_FAILURE() << "it was taken";
        } catch (const Error& error) {
            EXPECT_EQ(error.status(), ExitStatus::bad_file);
            EXPECT_THAT(error.what(), HasSubstr(row.told));
        }
    }
}

}  // namespace
}  // namespace hull::container
