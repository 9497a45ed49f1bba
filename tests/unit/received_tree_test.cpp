// What a guest sends back: only what may be in a folder of the host's gets there.
#include "vmm/agent/received_tree.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/frames.h"

namespace hull {
namespace {

namespace fs = std::filesystem;
using test::frame;
using testing::HasSubstr;

std::string entry(const std::string& path, uint64_t mode, const char* target = nullptr) {
    return frame(agent::kEntry, 0, [&](auto& writer) {
        writer.add_text(agent::kPath, path.c_str());
        writer.add_number(agent::kMode, mode);
        if (target != nullptr) {
            writer.add_text(agent::kTarget, target);
        }
    });
}
std::string file(const std::string& path, uint64_t mode = S_IFREG | 0644) {
    return entry(path, mode);
}
std::string folder(const std::string& path) {
    return entry(path, S_IFDIR | 0755);
}
std::string link(const std::string& path, const char* target) {
    return entry(path, S_IFLNK | 0777, target);
}
std::string data(const std::string& bytes) {
    return test::raw_frame(agent::kData, 0, bytes);
}

class ReceivedTreeTest : public testing::Test {
  protected:
    ReceivedTreeTest() {
        fs::create_directories(outer_.path() / "out");
        static_cast<void>(outer_.file("beside", "untouched"));
    }
    ReceivedTree make(ReceivedTree::Limits limits = {.bytes = 1 << 20, .entries = 100}) const {
        return ReceivedTree{UniqueFd{open(out().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)}, limits};
    }
    /// Takes these frames; why the last was refused, or nothing.
    static std::string take(ReceivedTree& tree, const std::vector<std::string>& frames) {
        for (const std::string& bytes : frames) {
            const auto* words = reinterpret_cast<const uint8_t*>(bytes.data());
            const auto taken =
                tree.take({agent::load_word(words), agent::load_word(words + 4), words + agent::kHeaderSize,
                           static_cast<uint32_t>(bytes.size() - agent::kHeaderSize)});
            if (!taken) {
                EXPECT_EQ(&bytes, &frames.back()) << "refused too soon: " << taken.error();
                return taken.error();
            }
        }
        return "";
    }
    [[nodiscard]] fs::path out() const { return outer_.path() / "out"; }
    static std::string content(const fs::path& path) {
        std::stringstream text;
        text << std::ifstream{path}.rdbuf();
        return text.str();
    }

    const test::TemporaryFolder outer_;
};

TEST_F(ReceivedTreeTest, WritesFilesFoldersAndLinks) {
    ReceivedTree tree = make();
    EXPECT_EQ(
        take(tree, {folder("a"), file("a/f", S_IFREG | 04755), data("one"), data("two"), link("a/l", "f"),
                    link("b", "a/../a"), link("c", "a/f"), file("empty", S_IFREG | 0600),
                    entry("a/d", S_IFDIR | 03000), file("a/d/g"), frame(agent::kEnd, 0)}),
        "");
    EXPECT_TRUE(tree.is_whole());
    EXPECT_EQ(content(out() / "a/f"), "onetwo");
    EXPECT_EQ(content(out() / "a/l"), "onetwo");
    EXPECT_EQ(content(out() / "c"), "onetwo");
    EXPECT_EQ(fs::file_size(out() / "empty"), 0U);
    EXPECT_TRUE(fs::exists(out() / "a/d/g"));
    struct stat status {};
    ASSERT_EQ(stat((out() / "a/f").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0755U) << "without the set-user bit";
    EXPECT_EQ(status.st_uid, geteuid());
    ASSERT_EQ(stat((out() / "a/d").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777U, 0700U) << "its owner can remove it";
    EXPECT_EQ(tree.links_left_out(), 1U) << "b goes up behind a name";
    EXPECT_FALSE(fs::exists(fs::symlink_status(out() / "b")));
}

TEST_F(ReceivedTreeTest, LeavesOutLinksThatLeadOut) {
    const struct {
        const char* path;
        const char* target;
        bool stays;
    } rows[] = {
        {"l", "x", true},
        {"l", "a/b", true},
        {"l", ".", true},
        {"l", "a/./b//c", true},
        {"a/l", "../x", true},
        {"a/b/l", "../../x", true},
        {"a/b/l", "./../x", true},
        {"l", "..", false},
        {"l", "/etc/passwd", false},
        {"a/l", "../..", false},
        {"l", "a/../b", false},
        {"a/b/l", "../x/../y", false},
        {"l", "./..", false},
        {"a/l", "../.././../x", false},
        {"l", "", false},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(link_stays_inside(row.path, row.target), row.stays) << row.path << " -> " << row.target;
    }
    ReceivedTree tree = make();
    EXPECT_EQ(
        take(tree, {link("l", "/etc"), link("m", "../beside"), entry("n", S_IFLNK), frame(agent::kEnd, 0)}),
        "");
    EXPECT_EQ(tree.links_left_out(), 3U);
    EXPECT_TRUE(fs::is_empty(out()));
}

TEST_F(ReceivedTreeTest, RefusesWhatIsHostile) {
    const struct {
        const char* name;
        std::vector<std::string> frames;
        const char* why;
    } rows[] = {
        {"a name above", {file("../beside")}, "malformed entry"},
        {"a name above behind others", {folder("a"), file("a/../../beside")}, "malformed entry"},
        {"an absolute name", {file("/tmp/x")}, "malformed entry"},
        {"no name", {file("")}, "malformed entry"},
        {"the folder itself", {folder(".")}, "malformed entry"},
        {"a slash behind", {folder("a/")}, "malformed entry"},
        {"two slashes", {folder("a"), file("a//b")}, "malformed entry"},
        {"a long name", {file(std::string(256, 'n'))}, "malformed entry"},
        {"a long path", {file(std::string(5000, 'n'))}, "malformed entry"},
        {"through a link", {folder("a"), link("l", "a"), file("l/f")}, "cannot be made"},
        {"over a link", {link("l", "f"), file("l")}, "File exists"},
        {"a folder over a link", {link("l", "f"), folder("l")}, "File exists"},
        {"twice", {file("f"), data("x"), file("f")}, "File exists"},
        {"in no folder", {file("a/f")}, "No such file"},
        {"in a file", {file("f"), file("f/g")}, "Not a directory"},
        {"a device", {entry("d", S_IFBLK | 0666)}, "a kind that is none"},
        {"a pipe", {entry("d", S_IFIFO | 0666)}, "a kind that is none"},
        {"a mode that is none", {entry("d", 0)}, "a kind that is none"},
        {"data without a file", {data("x")}, "belong to no file"},
        {"data of a folder", {file("f"), folder("a"), data("x")}, "belong to no file"},
        {"more behind the end", {frame(agent::kEnd, 0), file("f")}, "behind the end"},
        {"a report", {test::hello_frame()}, "no part of a tree"},
        {"a field of something else",
         {frame(agent::kEntry, 0, [](auto& writer) { writer.add_number(agent::kStatus, 1); })},
         "malformed entry"},
        {"a field that is cut", {test::raw_frame(agent::kEntry, 0, "12345")}, "malformed entry"},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(row.name);
        fs::remove_all(out());
        fs::create_directories(out());
        ReceivedTree tree = make();
        EXPECT_THAT(take(tree, row.frames), HasSubstr(row.why));
        EXPECT_EQ(content(outer_.path() / "beside"), "untouched");
        EXPECT_EQ(std::distance(fs::directory_iterator{outer_.path()}, fs::directory_iterator{}), 2);
    }
}

TEST_F(ReceivedTreeTest, KeepsToItsLimits) {
    ReceivedTree tree = make({.bytes = 3 * ReceivedTree::kEntryCost, .entries = 2});
    EXPECT_EQ(take(tree, {file("f"), data(std::string(ReceivedTree::kEntryCost + 1, 'x'))}), "");
    EXPECT_THAT(take(tree, {data(std::string(ReceivedTree::kEntryCost, 'x'))}),
                HasSubstr("more than the limit"));
    EXPECT_THAT(take(tree, {file("g")}), HasSubstr("more than the limit"));
    EXPECT_EQ(fs::file_size(out() / "f"), ReceivedTree::kEntryCost + 1);
    ReceivedTree few = make({.bytes = 1 << 20, .entries = 2});
    EXPECT_THAT(take(few, {file("x"), link("y", "x"), folder("z")}), HasSubstr("too many files"));
}

}  // namespace
}  // namespace hull
