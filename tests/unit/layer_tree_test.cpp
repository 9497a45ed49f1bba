#include "container/layer/layer_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "base/error.h"

namespace hull::container {
namespace {

using Kind = TarEntry::Kind;
using testing::HasSubstr;

constexpr const char* kOpaque = "trusted.overlay.opaque";

TarEntry entry(Kind kind, std::string path, std::string link = "") {
    TarEntry made;
    made.kind = kind;
    made.path = std::move(path);
    made.link = std::move(link);
    made.mode = 0640;
    return made;
}
TarEntry file(std::string path) {
    return entry(Kind::file, std::move(path));
}
TarEntry folder(std::string path) {
    return entry(Kind::folder, std::move(path));
}

LayerTree tree_of(std::vector<TarEntry> entries) {
    LayerTree tree;
    for (TarEntry& one : entries) {
        tree.add(std::move(one));
    }
    return tree;
}

/// All of a tree in one line: folders in braces, "!" a whiteout, "@TARGET" a link, "*" what is opaque.
std::string drawn(const LayerNode& node) {
    std::string text;
    for (const auto& [name, child] : node.children) {
        text += (text.empty() ? "" : " ") + name;
        if (S_ISDIR(child->mode)) {
            text += std::string{child->attributes.contains(kOpaque) ? "*" : ""} + "{" + drawn(*child) + "}";
        } else if (S_ISCHR(child->mode)) {
            text += child->major == 0 && child->minor == 0 ? "!" : "%";
        } else if (S_ISLNK(child->mode)) {
            text += "@" + child->target;
        }
    }
    return text;
}

TEST(LayerTree, AppliesEntriesOneAfterTheOther) {
    struct Row {
        const char* what;
        std::vector<TarEntry> entries;
        const char* tree;
    };
    const Row rows[] = {
        {"names are cleaned", {folder("./a/"), file("/a//b"), file("./a/./c")}, "a{b c}"},
        {"missing folders are made", {file("a/b/c")}, "a{b{c}}"},
        {"a later file takes the place", {file("a"), entry(Kind::symbolic_link, "a", "b")}, "a@b"},
        {"a later folder keeps what is in it", {file("a/b"), folder("a")}, "a{b}"},
        {"a file takes a folder's place", {file("a/b"), file("a")}, "a"},
        {"a folder in a file's place has nothing below it", {file("a"), folder("a")}, "a*{}"},
        {"a whiteout", {file(".wh.gone"), file("a/.wh.b")}, "a{b!} gone!"},
        {"a whiteout of what the layer has itself", {file("a"), file(".wh.a")}, "a"},
        {"and before that", {file(".wh.a"), file("a")}, "a"},
        {"of a folder that the layer has", {file("a/b"), file(".wh.a")}, "a*{b}"},
        {"and before that", {file(".wh.a"), folder("a"), file("a/b")}, "a*{b}"},
        {"and without its entry", {file(".wh.a"), file("a/b")}, "a*{b}"},
        {"an opaque folder", {folder("a"), file("a/.wh..wh..opq"), file("a/b")}, "a*{b}"},
        {"that stays so", {file("a/.wh..wh..opq"), folder("a")}, "a*{}"},
        {"what else aufs left", {file(".wh..wh.plnk"), file(".wh..wh.aufs")}, ""},
        {"a link of the layer's is followed",
         {folder("usr/lib"), entry(Kind::symbolic_link, "lib", "usr/lib"), file("lib/x")},
         "lib@usr/lib usr{lib{x}}"},
        {"an absolute one, too", {entry(Kind::symbolic_link, "a/b", "/c"), file("a/b/x")}, "a{b@/c} c{x}"},
        {"and stays below the root",
         {entry(Kind::symbolic_link, "a", "../../../b"), file("a/x")},
         "a@../../../b b{x}"},
        {"a link itself is replaced", {entry(Kind::symbolic_link, "a", "b"), file("a")}, "a"},
        {"a hard link", {file("a"), entry(Kind::hard_link, "b/c", "./a")}, "a b{c}"},
    };
    for (const Row& row : rows) {
        EXPECT_EQ(drawn(tree_of(row.entries).root()), row.tree) << row.what;
    }
}

TEST(LayerTree, HardLinksAreOneNode) {
    LayerTree tree;
    LayerNode* const node = tree.add(file("a"));
    ASSERT_NE(node, nullptr);
    EXPECT_EQ(tree.add(entry(Kind::hard_link, "b", "a")), nullptr);
    EXPECT_EQ(tree.root().children.at("b").get(), node);
    tree.add(file("a"));
    EXPECT_EQ(tree.root().children.at("b").get(), node) << "the other name keeps it";
    EXPECT_NE(tree.root().children.at("a").get(), node);
}

TEST(LayerTree, KeepsWhatAnEntrySaysOfItself) {
    TarEntry one = file("a");
    one.mode = 06711;
    one.uid = 5;
    one.gid = 6;
    one.mtime = -7;
    one.mtime_ns = 8;
    one.size = 9;
    one.attributes = {{"security.capability", "x"}, {"trusted.overlay.redirect", "/etc"}};
    const LayerTree tree = tree_of({one});
    const LayerNode& node = *tree.root().children.at("a");
    EXPECT_EQ(node.mode, S_IFREG | 06711U);
    EXPECT_EQ(node.uid, 5U);
    EXPECT_EQ(node.gid, 6U);
    EXPECT_EQ(node.mtime, -7);
    EXPECT_EQ(node.mtime_ns, 8U);
    EXPECT_EQ(node.size, 9U);
    EXPECT_EQ(node.attributes, (std::map<std::string, std::string>{{"security.capability", "x"}}))
        << "a layer does not say how layers are joined";
    TarEntry root = folder("./");
    root.uid = 11;
    const LayerTree with_root = tree_of({file("a"), root});
    EXPECT_EQ(with_root.root().uid, 11U);
    EXPECT_TRUE(with_root.root().children.contains("a"));
}

TEST(LayerTree, RefusesWhatLeadsOutOrCannotBe) {
    TarEntry attributes = file("a");
    attributes.attributes = {{"user.a", std::string(5000, 'x')}};
    std::string deep;
    for (int level = 0; level < 2000; ++level) {
        deep += "d/";
    }
    struct Row {
        const char* what;
        std::vector<TarEntry> entries;
        const char* told;
    };
    const Row rows[] = {
        {"..", {file("../a")}, "leads out"},
        {".. later", {file("a/../../b")}, "leads out"},
        {"only ..", {folder("..")}, "leads out"},
        {"a hard link that leads out", {file("a"), entry(Kind::hard_link, "b", "../a")}, "hard link"},
        {"a hard link to nothing", {entry(Kind::hard_link, "b", "a")}, "hard link"},
        {"a hard link to a folder", {folder("a"), entry(Kind::hard_link, "b", "a")}, "hard link"},
        {"a hard link to a whiteout", {file(".wh.a"), entry(Kind::hard_link, "b", "a")}, "hard link"},
        {"a hard link to itself", {entry(Kind::hard_link, "b", "b")}, "hard link"},
        {"a folder that is a file", {file("a"), file("a/b")}, "no folder"},
        {"links in a circle",
         {entry(Kind::symbolic_link, "a", "b"), entry(Kind::symbolic_link, "b", "a"), file("a/x")},
         "in a circle"},
        {"a root that is a file", {file("./")}, "root is a folder"},
        {"a long name", {file(std::string(256, 'x'))}, "longer than 255"},
        {"a long name in a link",
         {entry(Kind::symbolic_link, "a", std::string(256, 'x')), file("a/b")},
         "no folder"},
        {"a whiteout of nothing", {file(".wh.")}, "no name"},
        {"a whiteout of the folder above", {file("a/.wh...")}, "no name"},
        {"large attributes", {attributes}, "more than 4 KiB"},
        {"folders in each other without end",
         {entry(Kind::symbolic_link, deep + "l", deep), file(deep + "l/x")},
         "no folder"},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.what);
        try {
            tree_of(row.entries);
            ADD_FAILURE() << "it was taken";
        } catch (const Error& error) {
            EXPECT_EQ(error.status(), ExitStatus::bad_file);
            EXPECT_THAT(error.what(), HasSubstr(row.told));
        }
    }
}

}  // namespace
}  // namespace hull::container
