// The store of images: names, locks, what is collected, and what a process leaves behind that was killed.
#include "container/image/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/image_builder.h"

namespace hull::container {
namespace {

namespace fs = std::filesystem;
using test::BuiltImage;
using test::expect_error;
using testing::ElementsAre;
using testing::IsEmpty;

Digest digest(const std::string& text) {
    return Digest::parse(text).value();
}

/// An image of one layer, told apart by its file's name.
BuiltImage image_of(const std::string& name) {
    return BuiltImage{{test::layer_of(name, "content")}};
}

/// Puts all of it in, as pull() does; the layers' disks are not real ones.
bool put(Store& store, const BuiltImage& image, const std::vector<std::string>& names) {
    const Store::Hold hold = store.hold();
    for (const auto& [digest_text, blob] : image.blobs) {
        store.keep_blob(blob, digest(digest_text));
    }
    for (const std::string& layer : image.unpacked) {
        Store::NewFile disk = store.make_file();
        disk.append(std::as_bytes(std::span{layer}));
        store.keep_layer(std::move(disk), digest(layer));
    }
    store.keep_blob(image.manifest, test::digest_of(image.manifest));
    std::vector<Reference> references;
    references.reserve(names.size());
    for (const std::string& name : names) {
        references.push_back(Reference::parse(name));
    }
    return store.add(digest(image.id()), test::digest_of(image.manifest), references);
}

std::vector<std::string> files_in(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator{folder}) {
        names.push_back(entry.path().filename());
    }
    return names;
}

class StoreTest : public testing::Test {
  protected:
    [[nodiscard]] fs::path root() const { return folder_.path() / "store"; }
    [[nodiscard]] Store open() const { return Store{root(), Store::Use::shared}; }
    [[nodiscard]] size_t blobs() const { return files_in(root() / "blobs/sha256").size(); }
    [[nodiscard]] size_t layers() const { return files_in(root() / "layers/sha256").size(); }

    const test::TemporaryFolder folder_;
};

TEST_F(StoreTest, AnImageIsFoundByItsNamesAndId) {
    Store store = open();
    const BuiltImage image = image_of("a");
    EXPECT_TRUE(put(store, image, {"app:1", "host:5000/app"}));
    EXPECT_FALSE(put(store, image, {"app:1", "host:5000/app"})) << "nothing has changed";
    const std::string id = image.id();
    for (const std::string& text :
         {std::string{"app:1"}, std::string{"docker.io/library/app:1"}, std::string{"host:5000/app:latest"},
          id, id.substr(7), id.substr(7, 12), id.substr(0, 19), id.substr(7, 3)}) {
        const auto found = open().find(text);  // by another process
        ASSERT_TRUE(found) << text;
        EXPECT_EQ(found->id.text(), id);
        EXPECT_EQ(found->manifest, test::digest_of(image.manifest));
        EXPECT_EQ(found->config.command, std::vector<std::string>{"sh"});
        ASSERT_EQ(found->layers.size(), 1U);
        EXPECT_EQ(test::contents_of(found->layers[0]), image.unpacked[0]);
        EXPECT_EQ(found->size, image.unpacked[0].size());
        EXPECT_THAT(found->names, ElementsAre("docker.io/library/app:1", "host:5000/app:latest"));
    }
    for (const char* const text : {"app", "app:2", "other", "0", "sha256:0"}) {
        if (!id.substr(7).starts_with(text)) {
            EXPECT_FALSE(store.find(text)) << text;
        }
    }
    expect_error([&] { (void)store.find("App"); }, ExitStatus::usage, {"lowercase"});
}

TEST_F(StoreTest, ABeginningOfSeveralIdsIsRefused) {
    Store store = open();
    std::map<char, std::string> first;
    for (int number = 0;; ++number) {
        const BuiltImage image = image_of(std::to_string(number));
        put(store, image, {});
        const auto [place, is_new] = first.emplace(image.id()[7], image.id());
        if (!is_new) {
            const std::string beginning{image.id()[7]};
            expect_error([&] { (void)store.find(beginning); }, ExitStatus::usage, {"several ids"});
            break;
        }
    }
}

TEST_F(StoreTest, AMovedTagLeavesTheOtherImageWithoutAName) {
    Store store = open();
    const BuiltImage old = image_of("old");
    const BuiltImage fresh = image_of("fresh");
    put(store, old, {"app"});
    EXPECT_TRUE(put(store, fresh, {"app"}));
    EXPECT_EQ(store.find("app")->id.text(), fresh.id());
    EXPECT_THAT(store.find(old.id())->names, IsEmpty());
    EXPECT_EQ(store.list().size(), 2U);
    store.tag(old.id(), Reference::parse("app:old"));
    EXPECT_EQ(store.find("app:old")->id.text(), old.id());
    expect_error([&] { store.tag("nothing", Reference::parse("x")); }, ExitStatus::bad_file,
                 {"'nothing'", "no such image"});
}

TEST_F(StoreTest, WithTheLastNameGoesTheImageAndWhatNoOtherNeeds) {
    Store store = open();
    const std::string shared = test::layer_of("shared", "s");
    const BuiltImage one{{shared, test::layer_of("one", "1")}};
    const BuiltImage two{{shared, test::layer_of("two", "2")}};
    put(store, one, {"one:a", "one:b", "one@sha256:" + std::string(64, 'd')});
    put(store, two, {"two"});
    EXPECT_EQ(layers(), 3U);

    const auto first = store.remove("one:a", false);
    EXPECT_THAT(first.names, ElementsAre("docker.io/library/one:a"));
    EXPECT_FALSE(first.image);
    EXPECT_EQ(store.collect(), 0U);
    const auto last = store.remove("one:b", false);
    EXPECT_EQ(last.names.size(), 2U) << "a digest goes with the last tag";
    EXPECT_EQ(last.image->text(), one.id());
    EXPECT_GT(store.collect(), 0U);
    EXPECT_EQ(layers(), 2U);
    EXPECT_EQ(blobs(), 4U) << "two's two layers, configuration and manifest";
    EXPECT_TRUE(open().find("two"));
    expect_error([&] { store.remove("one:b", false); }, ExitStatus::bad_file, {"no such image"});
}

TEST_F(StoreTest, ByItsIdAnImageOfSeveralRepositoriesIsRemovedWithForceOnly) {
    Store store = open();
    const BuiltImage image = image_of("a");
    put(store, image, {"one:a", "one:b", "two"});
    expect_error([&] { store.remove(image.id(), false); }, ExitStatus::usage, {"multiple repositories"});
    EXPECT_EQ(store.remove(image.id().substr(7, 12), true).names.size(), 3U);
    EXPECT_THAT(store.list(), IsEmpty());
    put(store, image, {"one:a", "one:b"});
    EXPECT_EQ(store.remove(image.id(), false).names.size(), 2U) << "tags of one repository";
    put(store, image, {});
    EXPECT_TRUE(store.remove(image.id(), false).image) << "without a name";
}

TEST_F(StoreTest, NothingIsCollectedWhileSomebodyHoldsIt) {
    Store store = open();
    Store puller = open();
    {
        const Store::Hold hold = puller.hold();
        puller.keep_blob("pulled", test::digest_of("pulled"));
        const Store::NewFile half = puller.make_file();
        EXPECT_EQ(store.collect(), std::nullopt);
        const Store third = open();
        EXPECT_EQ(blobs(), 1U);
        EXPECT_EQ(files_in(root() / "tmp").size(), 1U) << "a store that is opened sweeps nothing of others'";
    }
    EXPECT_EQ(store.collect(), 6U);
    EXPECT_EQ(blobs(), 0U);
}

TEST_F(StoreTest, OneAloneOrSeveral) {
    {
        const Store one = open();
        const Store two = open();
        expect_error([&] { const Store daemon(root(), Store::Use::alone); }, ExitStatus::no_resources,
                     {root().string(), "other programs of Hull's"});
    }
    const Store daemon{root(), Store::Use::alone};
    expect_error([&] { (void)open(); }, ExitStatus::no_resources, {root().string(), "a daemon has them"});
    expect_error([&] { const Store second(root(), Store::Use::alone); }, ExitStatus::no_resources,
                 {root().string()});
}

TEST_F(StoreTest, ChangesOfSeveralAtOnceAreAllThere) {
    const BuiltImage image = image_of("a");
    {
        Store store = open();
        put(store, image, {});
    }
    constexpr int kNames = 10;
    {
        std::vector<std::jthread> others;
        for (const char* const name : {"one", "two", "three"}) {
            others.emplace_back([&, name] {
                Store store = open();
                for (int number = 0; number < kNames; ++number) {
                    store.tag(image.id(), Reference::parse(name + (":" + std::to_string(number))));
                }
            });
        }
    }
    EXPECT_EQ(open().find(image.id())->names.size(), 3U * kNames);
}

// What is on the disk after a kill at each step of a pull's, and of a change of images.json.
TEST_F(StoreTest, WhatAKilledProcessLeftIsSweptAndHurtsNobody) {
    const BuiltImage image = image_of("a");
    {
        Store store = open();
        put(store, image, {"app"});
    }
    const std::string index = test::contents_of(root() / "images.json");
    std::ofstream{root() / "tmp/AbCdEf"} << "half a layer";
    std::ofstream{root() / "images.json.new"} << index.substr(0, index.size() / 2);
    std::ofstream{root() / "blobs/sha256" / test::digest_of("whole").digits()} << "whole";
    std::ofstream{root() / "layers/sha256" / test::digest_of("disk").digits()} << "disk";

    Store store = open();
    EXPECT_THAT(files_in(root() / "tmp"), IsEmpty());
    EXPECT_EQ(store.find("app")->id.text(), image.id());
    EXPECT_TRUE(put(store, image_of("b"), {"other"})) << "half an images.json.new is in nobody's way";
    EXPECT_EQ(test::contents_of(root() / "images.json").find(index.substr(0, 20)), 0U);
    EXPECT_EQ(store.collect(), 9U) << "what no image refers to yet";
    EXPECT_EQ(open().list().size(), 2U);
}

TEST_F(StoreTest, WhatIsBrokenIsNamedAndCanBeRemoved) {
    Store store = open();
    const BuiltImage image = image_of("a");
    put(store, image, {"app"});
    fs::remove(store.layer(digest(image.unpacked[0])));
    expect_error([&] { (void)store.find("app"); }, ExitStatus::bad_file,
                 {image.id(), "missing", "pull it again"});
    std::ofstream{store.blob(digest(image.id()))} << "{}";
    expect_error([&] { (void)store.find("app"); }, ExitStatus::bad_file, {"not what its name says"});
    expect_error([&] { store.collect(); }, ExitStatus::bad_file, {"not what its name says"});
    EXPECT_TRUE(store.remove("app", false).image);
    EXPECT_GT(store.collect(), 0U);
    EXPECT_EQ(blobs() + layers(), 0U);

    for (const std::string& text :
         {std::string{"{"}, std::string{"[]"}, std::string{R"({"version":2})"},
          std::string{R"({"version":1,"images":{"x":{}}})"},
          R"({"version":1,"names":{"docker.io/library/a:b":"sha256:)" + std::string(64, 'a') + "\"}}"}) {
        std::ofstream{root() / "images.json"} << text;
        expect_error([&] { (void)store.list(); }, ExitStatus::bad_file, {"images.json"});
        expect_error([&] { store.collect(); }, ExitStatus::bad_file, {"images.json"});
    }
}

TEST_F(StoreTest, AFolderThatCannotBeMadeIsNamed) {
    const auto file = folder_.file("file", "");
    expect_error([&] { const Store store(file / "store", Store::Use::shared); }, ExitStatus::bad_file,
                 {"cannot make the folder", "file/store"});
}

TEST(DefaultDataRoot, IsTheUsersOwn) {
    if (geteuid() == 0) {
        EXPECT_EQ(default_data_root(), "/var/lib/hull");
        return;
    }
    setenv("XDG_DATA_HOME", "/data", 1);
    EXPECT_EQ(default_data_root(), "/data/hull");
    unsetenv("XDG_DATA_HOME");
    EXPECT_EQ(default_data_root(), std::filesystem::path{getenv("HOME")} / ".local/share/hull");
}

}  // namespace
}  // namespace hull::container
