// Images that go into archives and come out of them, among them archives that nobody should make.
#include "container/image/load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "container/image/archive_index.h"
#include "container/image/save.h"
#include "container/layer/tar_header.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/image_builder.h"
#include "tests/support/image_store.h"
#include "tests/support/noise.h"

namespace hull::container {
namespace {

namespace fs = std::filesystem;
using test::BuiltImage;
using test::TarPart;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kLayout = R"({"imageLayoutVersion":"1.0.0"})";

/// Files of an archive, in this order.
using Files = std::vector<std::pair<std::string, std::string>>;

std::string archive_of(const Files& files) {
    std::string archive;
    for (const auto& [name, content] : files) {
        archive += TarPart{.name = name, .content = content}.bytes();
    }
    return archive + std::string(1024, '\0');
}

/// An image as docker save had it before Docker 25: its layers not packed, and one that comes twice a link.
Files docker_files(const BuiltImage& image, const std::vector<std::string>& archives,
                   const std::string& tags = R"(["app:1"])") {
    Files files{{image.id().substr(7) + ".json", image.config}};
    std::string layers;
    for (size_t number = 0; number < archives.size(); ++number) {
        const std::string folder = std::to_string(number);
        files.emplace_back(folder + "/VERSION", "1.0");
        files.emplace_back(folder + "/layer.tar", archives[number]);
        layers += (layers.empty() ? "\"" : ",\"") + folder + "/layer.tar\"";
    }
    files.emplace_back("manifest.json", R"([{"Config":")" + files.front().first + R"(","RepoTags":)" + tags +
                                            R"(,"Layers":[)" + layers + "]}]");
    return files;
}

/// The same as an OCI layout, its layers packed.
Files layout_files(const BuiltImage& image, const std::string& notes = "") {
    std::string entry = BuiltImage::descriptor(BuiltImage::kManifestType, image.manifest);
    entry.pop_back();
    Files files{{"oci-layout", kLayout},
                {"index.json", R"({"schemaVersion":2,"manifests":[)" + entry + notes + "}]}"},
                {"blobs/sha256/" + test::digest_of(image.manifest).digits(), image.manifest}};
    for (const auto& [digest, blob] : image.blobs) {
        files.emplace_back("blobs/sha256/" + digest.substr(7), blob);
    }
    return files;
}

class LoadTest : public testing::Test {
  protected:
    LoadTest()
        : archives_{test::layer_of("a", test::noise(300'000, 1)), test::layer_of("b", "small")},
          image_{archives_} {}

    std::vector<Loaded> load_from(const std::string& archive, const LoadLimits& limits = {}) {
        return load(store_, test::source_of(archive), limits,
                    [this](const LoadProgress& progress) { told_ += progress.done; });
    }
    [[nodiscard]] std::string root() const { return folder_.path() / "store"; }
    [[nodiscard]] bool is_empty() const {
        for (const char* const part : {"tmp", "blobs/sha256", "layers/sha256", "unpacked/sha256"}) {
            if (!fs::is_empty(fs::path{root()} / part)) {
                return false;
            }
        }
        return store_.list().empty();
    }
    [[nodiscard]] std::string save(const std::vector<SavedImage>& images) {
        std::string archive;
        SavedArchive{store_, images}.write([&](std::string_view piece) {
            EXPECT_LE(piece.size(), size_t{256} << 10U);
            archive += piece;
        });
        return archive;
    }

    const test::TemporaryFolder folder_;
    Store store_{folder_.path() / "store", Store::Use::shared};
    const std::vector<std::string> archives_;
    const BuiltImage image_;
    uint64_t told_ = 0;
};

TEST_F(LoadTest, WhatIsSavedAndLoadedIsTheSameToTheByte) {
    test::store_image(store_, "app:1", archives_, R"("config":{"Cmd":["sh"]})");
    const StoredImage image = *store_.find("app:1");
    const std::string archive =
        save({{.image = image, .names = {Reference::parse("app:1"), Reference::parse("host:5000/b:2")}}});
    EXPECT_EQ(archive.size() % kTarBlock, 0U);
    store_.remove(image.id.text(), true);
    store_.collect();
    ASSERT_TRUE(is_empty());
    const auto loaded = load_from(archive);
    ASSERT_EQ(loaded.size(), 1U);
    EXPECT_EQ(loaded[0].image, image.id);
    EXPECT_EQ(loaded[0].names.size(), 2U);
    const auto found = store_.find("host:5000/b:2");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->manifest, image.manifest) << "it can be pushed as it came";
    EXPECT_THAT(found->names, ElementsAre("docker.io/library/app:1", "host:5000/b:2"));
    for (const auto& [digest, blob] : image_.blobs) {
        EXPECT_EQ(test::contents_of(store_.blob(*Digest::parse(digest))), blob);
    }
    EXPECT_EQ(
        save({{.image = *found, .names = {Reference::parse("app:1"), Reference::parse("host:5000/b:2")}}}),
        archive);
    told_ = 0;
    load_from(test::gzip(archive));
    EXPECT_EQ(told_, 0U) << "layers that are there are not converted again";
}

TEST_F(LoadTest, AnArchiveHasWhatImagesShareOnce) {
    test::store_image(store_, "one:1", {archives_[0], archives_[1]}, R"("config":{"Cmd":["1"]})");
    test::store_image(store_, "two:1", {archives_[0]}, R"("config":{"Cmd":["2"]})");
    const std::string archive =
        save({{.image = *store_.find("one:1"), .names = {}},
              {.image = *store_.find("two:1"), .names = {Reference::parse("two:1")}}});
    size_t count = 0;
    for (size_t at = 0;
         (at = archive.find(image_.packed[0].substr(7) + std::string(10, '\0'), at)) != std::string::npos;
         ++at) {
        ++count;
    }
    EXPECT_EQ(count, 1U);
    const auto loaded = load_from(archive);
    ASSERT_EQ(loaded.size(), 2U);
    EXPECT_THAT(loaded[0].names, IsEmpty());
    EXPECT_EQ(loaded[1].names.size(), 1U);
}

TEST_F(LoadTest, DockersOldFormBecomesAnImage) {
    Files files = docker_files(image_, archives_);
    const auto loaded = load_from(archive_of(files));
    ASSERT_EQ(loaded.size(), 1U);
    EXPECT_EQ(loaded[0].image.text(), image_.id());
    const StoredImage image = *store_.find("app:1");
    EXPECT_EQ(image.layers.size(), 2U);
    EXPECT_GT(told_, 0U);
    const auto manifest = std::get<Manifest>(
        parse_manifest(store_.read_blob(image.manifest, Manifest::kMostBytes), "", Platform::of_this_host()));
    EXPECT_EQ(manifest.layers[0].digest.text(), image_.unpacked[0]) << "the layer as it came";
    EXPECT_EQ(manifest.layers[0].media_type, "application/vnd.oci.image.layer.v1.tar");
    // Nothing is left of what no image needs.
    EXPECT_FALSE(fs::exists(store_.blob(test::digest_of("1.0"))));
    EXPECT_FALSE(fs::exists(store_.blob(test::digest_of(files.back().second))));
}

TEST_F(LoadTest, AnImageThatIsThereKeepsTheManifestThatItCameWith) {
    test::store_image(store_, "app:1", archives_, R"("config":{"Cmd":["sh"]})");
    load_from(archive_of(docker_files(image_, archives_, R"(["other:2","app:3"])")));
    EXPECT_EQ(store_.find("other:2")->manifest, test::digest_of(image_.manifest));
    EXPECT_EQ(store_.find("other:2")->names.size(), 3U);
}

TEST_F(LoadTest, LinksOfOldArchivesAreFollowedWithinThem) {
    const std::string archive = test::layer_of("a", "same");
    const BuiltImage image{{archive, archive, archive}};
    Files files = docker_files(image, {archive, archive, archive}, "null");
    std::string text;
    for (const auto& [name, content] : files) {
        const bool is_symbolic = name == "1/layer.tar";
        const bool is_hard = name == "2/layer.tar";
        text += is_symbolic ? TarPart{.type = '2', .name = name, .link = "../0/layer.tar"}.bytes()
                : is_hard   ? TarPart{.type = '1', .name = "./" + name, .link = "1/layer.tar"}.bytes()
                            : TarPart{.name = "./" + name, .content = content}.bytes();
    }
    const auto loaded = load_from(text);
    EXPECT_EQ(loaded[0].image.text(), image.id());
    EXPECT_EQ(store_.find(image.id())->layers.size(), 3U);
}

TEST_F(LoadTest, AnOciLayoutKeepsItsManifestAndLayers) {
    const auto loaded = load_from(archive_of(
        layout_files(image_, R"(,"annotations":{"io.containerd.image.name":"docker.io/library/app:1"})")));
    EXPECT_EQ(loaded[0].names.front().text(), "docker.io/library/app:1");
    EXPECT_EQ(store_.find("app:1")->manifest, test::digest_of(image_.manifest));
    EXPECT_TRUE(fs::exists(store_.blob(*Digest::parse(image_.packed[0]))));
}

TEST_F(LoadTest, NamesOfAnOciLayoutAreThoseThatAreWhole) {
    const std::pair<const char*, std::string> rows[] = {
        {R"("org.opencontainers.image.ref.name":"latest")", ""},
        {R"("org.opencontainers.image.ref.name":"app:2")", "docker.io/library/app:2"},
        {R"("org.opencontainers.image.ref.name":"3","io.containerd.image.name":"h:1/x:3")", "h:1/x:3"},
    };
    for (const auto& [notes, name] : rows) {
        const auto loaded =
            load_from(archive_of(layout_files(image_, std::string{R"(,"annotations":{)"} + notes + "}")));
        EXPECT_EQ(loaded[0].names.empty() ? "" : loaded[0].names.front().text(), name) << notes;
    }
}

TEST_F(LoadTest, AnIndexLeadsToTheImageOfThisPlatform) {
    // One index in another, beside an image of another platform, of which nothing is in the archive.
    const std::string other = "sha256:" + std::string(64, 'a');
    const std::string index = image_.index(
        "amd64", R"({"mediaType":")" + std::string{BuiltImage::kManifestType} + R"(","digest":")" + other +
                     R"(","size":5,"platform":{"os":"linux","architecture":"s390x"}},)");
    Files files = layout_files(image_);
    files[1].second = R"({"schemaVersion":2,"manifests":[{"mediaType":"x","digest":")" + other +
                      R"(","size":1,"platform":{"os":"linux","architecture":"arm64"}},)" +
                      BuiltImage::descriptor(BuiltImage::kIndexType, index) + "]}";
    files.emplace_back("blobs/sha256/" + test::digest_of(index).digits(), index);
    EXPECT_EQ(load_from(archive_of(files)).front().image.text(), image_.id());
    EXPECT_EQ(store_.find(image_.id())->manifest, test::digest_of(image_.manifest));
}

TEST_F(LoadTest, AHostileArchiveIsToldAndLeavesNothing) {
    struct Row {
        const char* what;
        std::string archive;
        std::string word;
        LoadLimits limits{};
    };
    const auto docker = [&](const std::function<void(Files&)>& change) {
        Files files = docker_files(image_, archives_);
        change(files);
        return archive_of(files);
    };
    const auto layout = [&](const std::function<void(Files&)>& change) {
        Files files = layout_files(image_);
        change(files);
        return archive_of(files);
    };
    const auto drop = [](const std::string& name) {
        return [name](Files& files) {
            std::erase_if(files, [&](const auto& file) { return file.first == name; });
        };
    };
    const auto manifest = [&](const std::string& text) {
        return docker([&](Files& files) { files.back().second = text; });
    };
    const auto index = [&](const std::string& text) {
        return layout([&](Files& files) { files[1].second = text; });
    };
    const std::string good = docker([](Files&) {});
    const auto part = [&](const TarPart& more) { return more.bytes() + good; };
    const std::string config = image_.id().substr(7) + ".json";
    const std::string blob = "blobs/sha256/" + image_.packed[0].substr(7);
    std::string lots;
    for (int count = 0; count < 300; ++count) {
        lots += TarPart{.type = '5', .name = "d"}.bytes();
    }
    for (const Row& row : {
             Row{"nothing", "", "neither"},
             Row{"no archive", std::string(5000, 'x'), "checksum"},
             Row{"zeros", std::string(5000, '\0'), "neither"},
             Row{"the beginning of one", good.substr(0, 200'000), "ends in the middle"},
             Row{"broken gzip", test::gzip(good).substr(0, 100'000), "too early"},
             Row{"no manifest", docker(drop("manifest.json")), "neither"},
             Row{"no configuration", docker(drop(config)), "'" + config + "' is not in it"},
             Row{"no layer", docker(drop("1/layer.tar")), "'1/layer.tar' is not in it"},
             Row{"a manifest that is none", manifest("so"), "no JSON"},
             Row{"a manifest that is an object", manifest("{}"), "no JSON list"},
             Row{"a manifest of nothing", manifest("[]"), "no images"},
             Row{"a manifest of numbers", manifest("[1]"), "no list of objects"},
             Row{"an empty image", manifest("[{}]"), "'' is not in it"},
             Row{"a manifest that is deep", manifest(std::string(100, '[')), "no JSON"},
             Row{"a manifest that is large", manifest("[" + std::string(5'000'000, ' ') + "]"), "bytes"},
             Row{"too many images", manifest([] {
                     std::string all = "[{}";
                     for (int count = 0; count < 1000; ++count) {
                         all += ",{}";
                     }
                     return all + "]";
                 }()),
                 "more than 1000"},
             Row{"a name that is none",
                 docker([&](Files& files) { files = docker_files(image_, archives_, R"(["UPPER"])"); }),
                 "no name"},
             Row{"a name with a digest", docker([&](Files& files) {
                     files =
                         docker_files(image_, archives_, R"(["a@sha256:)" + std::string(64, 'a') + R"("])");
                 }),
                 "no name with a tag"},
             Row{"a configuration outside", manifest(R"([{"Config":"../../etc/passwd","Layers":[]}])"),
                 "is not in it"},
             Row{"a configuration of the host's", manifest(R"([{"Config":"/etc/passwd","Layers":[]}])"),
                 "is not in it"},
             Row{"fewer layers", manifest(R"([{"Config":")" + config + R"(","Layers":["0/layer.tar"]}])"),
                 "another number of layers"},
             Row{"layers in another order",
                 manifest(R"([{"Config":")" + config + R"(","Layers":["1/layer.tar","0/layer.tar"]}])"),
                 "configuration says"},
             Row{"a layer that is changed", docker([](Files& files) { files[2].second[1000] ^= 1; }),
                 "configuration says"},
             Row{"a layer that is none", docker([](Files& files) { files[2].second = "no archive"; }),
                 "layer"},
             Row{"a configuration that is none", docker([](Files& files) { files[0].second = "[]"; }),
                 "configuration"},
             Row{"another architecture", archive_of(docker_files(BuiltImage{archives_, "arm64"}, archives_)),
                 "another architecture"},
             Row{"a name that leads out", part({.name = "../../tmp/hull-load", .content = "x"}), "leads out"},
             Row{"a whole path", part({.name = "/tmp/hull-load", .content = "x"}), "leads out"},
             Row{"a link that leads out", part({.type = '2', .name = "a/l", .link = "../../x"}), "leads out"},
             Row{"a link to the host", part({.type = '2', .name = "l", .link = "/etc/passwd"}), "leads out"},
             Row{"a hard link out", part({.type = '1', .name = "l", .link = "../x"}), "leads out"},
             Row{"a device", part({.type = '3', .name = "null", .major = 1, .minor = 3}), "is no file"},
             Row{"a pipe", part({.type = '6', .name = "pipe"}), "is no file"},
             Row{"a link to itself",
                 TarPart{.type = '2', .name = "manifest.json", .link = "manifest.json"}.bytes(),
                 "is not in it"},
             Row{"a circle of links",
                 TarPart{.type = '2', .name = "manifest.json", .link = "b"}.bytes() +
                     TarPart{.type = '2', .name = "b", .link = "manifest.json"}.bytes(),
                 "is not in it"},
             Row{"many entries", lots + good, "more than 100 entries", {.entries = 100}},
             Row{"a long name",
                 part({.name = std::string(90, 'n'), .content = "x"}),
                 "too long",
                 {.path_bytes = 80}},
             Row{"a bomb",
                 test::gzip(part({.name = "zeros", .content = std::string(50'000'000, '\0')})),
                 "holds more than",
                 {.bytes = uint64_t{10} << 20U}},
             Row{"a size beyond all",
                 part({.name = "big",
                 .change = [](std::span<char, 512> header) { std::fill_n(&header[124], 11, '7'); }}),
                 "ends in the middle"},
             Row{"a layout without an index", layout(drop("index.json")), "neither"},
             Row{"an index that is none", index("[]"), "no JSON object"},
             Row{"an index of nothing", index(R"({"manifests":[]})"), "no images"},
             Row{"an index of others",
                 index(R"({"manifests":[{"digest":")" + image_.packed[0] +
                       R"(","size":1,"platform":{"os":"linux","architecture":"arm64"}}]})"),
                 "no matching manifest"},
             Row{"an index without a digest", index(R"({"manifests":[{"size":1}]})"), "no digest"},
             Row{"an index with a path for a digest",
                 index(R"({"manifests":[{"digest":"sha256:../../../etc/passwd","size":1}]})"), "no digest"},
             Row{"an index of what is not there",
                 index(R"({"manifests":[{"digest":"sha256:)" + std::string(64, 'a') + R"(","size":1}]})"),
                 "is not in it"},
             Row{"an index with a wrong size",
                 index(R"({"manifests":[{"digest":")" + test::digest_of(image_.manifest).text() +
                       R"(","size":1}]})"),
                 "of another size"},
             Row{"a blob that is missing", layout(drop(blob)), "is not in it"},
             Row{"a blob that is changed", layout([&](Files& files) {
                     for (auto& [name, content] : files) {
                         if (name == blob) {
                             content[1000] ^= 1;
                         }
                     }
                 }),
                 "not what its name says"},
         }) {
        SCOPED_TRACE(row.what);
        const auto error = test::error_of([&] { load_from(row.archive, row.limits); });
        if (!error) {
            ADD_FAILURE() << "no error";
            continue;
        }
        EXPECT_EQ(error->status(), ExitStatus::bad_file) << error->what();
        EXPECT_THAT(error->what(), testing::AllOf(HasSubstr(row.word), testing::Not(HasSubstr("\n"))));
        EXPECT_TRUE(is_empty());
        EXPECT_FALSE(fs::exists("/tmp/hull-load"));
    }
    EXPECT_EQ(load_from(good).size(), 1U) << "and a good one is loaded afterwards";
}

TEST(SavedArchive, AFileOfMoreThanEightGibibytesHasAHeader) {
    std::string header = tar_header("large", uint64_t{9} << 30U) + tar_header("folder/", 0);
    bool has_ended = false;
    TarReader reader{[&](std::span<std::byte> room) {
        const size_t count = std::min(room.size(), header.size());
        std::copy_n(header.begin(), count, reinterpret_cast<char*>(room.data()));
        header.erase(0, count);
        has_ended = count == 0;
        return count;
    }};
    EXPECT_EQ(reader.next()->size, uint64_t{9} << 30U);
    const std::string small = tar_header("name", 01234567) + tar_header("folder/", 0);
    EXPECT_EQ(small.substr(124, 12), std::string("00001234567\0", 12));
    EXPECT_FALSE(has_ended);
}

TEST(ArchivePath, StaysInTheArchive) {
    const std::pair<const char*, std::optional<std::string>> rows[] = {
        {"a/b", "a/b"},
        {"./a//b/", "a/b"},
        {".", ""},
        {"", ""},
        {"a/../b", "b"},
        {"..", std::nullopt},
        {"a/../..", std::nullopt},
        {"/a", std::nullopt},
        {"a/..b", "a/..b"},
    };
    for (const auto& [path, meant] : rows) {
        EXPECT_EQ(path_in_archive(path), meant) << path;
    }
}

}  // namespace
}  // namespace hull::container
