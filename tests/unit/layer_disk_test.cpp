// Layers as disks: what the tools of EROFS find in them. Guests mount them in
// tests/system/layer_disk_test.cpp.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "container/layer/convert.h"
#include "container/layer/erofs_writer.h"
#include "tests/support/files.h"
#include "tests/support/tar_builder.h"

namespace hull::container {
namespace {

namespace fs = std::filesystem;
using test::source_of;
using test::TarPart;
using testing::HasSubstr;

constexpr uint64_t kMuch = uint64_t{1} << 30;

/// Turns an archive into a disk at `path`; its size.
uint64_t convert(std::string archive, const fs::path& path, uint64_t most = kMuch) {
    const UniqueFd file{open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)};
    return convert_layer(source_of(std::move(archive), 10'000), file.get(), most);
}

/// Takes a disk apart by fsck.erofs, which checks it, too.
bool extract(const fs::path& disk, const fs::path& folder) {
    return std::system(("fsck.erofs --extract='" + folder.string() + "' '" + disk.string() + "' >'" +
                        folder.string() + ".log' 2>&1")
                           .c_str()) == 0;
}

/// One line for each file below a folder; not what a file system says of folders' sizes.
std::string listing_of(const fs::path& folder) {
    const fs::path list = folder.string() + ".list";
    EXPECT_EQ(std::system(("cd '" + folder.string() +
                           "' && find . -mindepth 1 \\( -type d -printf '%P %y %m %n %T@\\n' -o -printf "
                           "'%P %y %m %s %T@ %l\\n' \\) | LC_ALL=C sort >'" +
                           list.string() + "'")
                              .c_str()),
              0);
    return test::contents_of(list);
}

/// Where two lists differ, the lines of both; empty where they do not.
std::string first_difference(const std::string& one, const std::string& other) {
    const auto [at, other_at] = std::mismatch(one.begin(), one.end(), other.begin(), other.end());
    if (at == one.end() && other_at == other.end()) {
        return "";
    }
    const auto line_at = [](const std::string& text, ptrdiff_t place) {
        const size_t begin = text.substr(0, static_cast<size_t>(place)).rfind('\n') + 1;
        return "'" + text.substr(begin, text.find('\n', begin) - begin) + "'";
    };
    return line_at(one, at - one.begin()) + " against " + line_at(other, other_at - other.begin());
}

TEST(LayerDisk, HasTheTreeThatTarMakesOfTheArchive) {
    const test::TemporaryFolder folder;
    const fs::path tree = folder.path() / "tree";
    for (int number = 0; number < 3000; ++number) {
        folder.file("tree/many/file-with-some-name-" + std::to_string(number), std::to_string(number));
    }
    // Names before "." and between it and "..".
    for (const std::string name : {"!a", "-", ".-", "..a", "..", " "}) {
        folder.file("tree/names/" + (name == ".." ? std::string{"...b"} : name), name);
    }
    folder.file("tree/empty", "");
    folder.file("tree/block", std::string(4096, 'b'));
    folder.file("tree/more", std::string(4097, 'm'));
    folder.file("tree/large", std::string(3'000'001, 'l'));
    fs::create_directories(tree / "no one/in here");
    fs::create_symlink("more", tree / "link");
    fs::create_symlink(std::string(3000, 'x'), tree / "long link");
    fs::create_hard_link(tree / "more", tree / "many/hard");
    const std::string archive = folder.path() / "archive";
    ASSERT_EQ(std::system(("mkfifo '" + tree.string() + "/fifo' && chmod 1777 '" + tree.string() +
                           "/many' && tar -C '" + tree.string() + "' --format=pax -cf '" + archive + "' .")
                              .c_str()),
              0);
    const fs::path disk = folder.path() / "disk";
    const uint64_t size = convert(test::contents_of(archive), disk);
    EXPECT_EQ(size, fs::file_size(disk));
    EXPECT_EQ(size % ErofsWriter::kBlock, 0U);
    const fs::path found = folder.path() / "found";
    ASSERT_TRUE(extract(disk, found)) << test::contents_of(found.string() + ".log");
    const std::string expected = listing_of(tree);
    EXPECT_THAT(expected, HasSubstr("many/hard f"));
    EXPECT_EQ(first_difference(listing_of(found), expected), "");
    EXPECT_EQ(std::system(
                  ("diff -r --no-dereference --exclude=fifo '" + tree.string() + "' '" + found.string() + "'")
                      .c_str()),
              0);
    // The same comes of the same.
    convert(test::contents_of(archive), folder.path() / "again");
    EXPECT_TRUE(test::contents_of(disk) == test::contents_of(folder.path() / "again"));
}

TEST(LayerDisk, OfNothingIsAnEmptyFolder) {
    const test::TemporaryFolder folder;
    convert("", folder.path() / "disk");
    ASSERT_TRUE(extract(folder.path() / "disk", folder.path() / "found"));
    EXPECT_TRUE(fs::is_empty(folder.path() / "found"));
}

TEST(LayerDisk, ReadsAnArchiveToItsEnd) {
    const test::TemporaryFolder folder;
    std::string left = TarPart{.name = "a"}.bytes() + std::string(20'480, '\0') + "what a digest is of";
    size_t taken = 0;
    const UniqueFd file{memfd_create("disk", MFD_CLOEXEC)};
    convert_layer(
        [source = source_of(left), &taken](std::span<std::byte> room) mutable {
            const size_t got = source(room);
            taken += got;
            return got;
        },
        file.get(), kMuch);
    EXPECT_EQ(taken, left.size());
}

TEST(LayerDisk, TellsWhereThereIsNoRoom) {
    const std::string archive = TarPart{.name = "a", .content = std::string(3 << 20, 'x')}.bytes();
    const UniqueFd full{open("/dev/full", O_WRONLY | O_CLOEXEC)};
    try {
        convert_layer(source_of(archive), full.get(), kMuch);
        ADD_FAILURE() << "it was written";
    } catch (const Error& error) {
        EXPECT_EQ(error.status(), ExitStatus::no_resources);
        EXPECT_THAT(error.what(), HasSubstr("No space left on device"));
    }
    const test::TemporaryFolder folder;
    try {
        convert(archive, folder.path() / "disk", 2 << 20);
        ADD_FAILURE() << "it became too large";
    } catch (const Error& error) {
        EXPECT_EQ(error.status(), ExitStatus::bad_file);
        EXPECT_THAT(error.what(), HasSubstr("larger than 2 MiB"));
    }
    EXPECT_LE(fs::file_size(folder.path() / "disk"), uint64_t{2} << 20);
}

}  // namespace
}  // namespace hull::container
