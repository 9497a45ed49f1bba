// Manifests, indexes and configurations of images, right and hostile.
#include "container/image/manifest.h"

#include <gtest/gtest.h>

#include <string>
#include <variant>

#include "container/image/image_config.h"
#include "tests/support/errors.h"
#include "tests/support/image_builder.h"

namespace hull::container {
namespace {

using test::BuiltImage;
using test::expect_error;

const Platform kPlatform{.os = "linux", .architecture = "amd64"};

/// `text` with the first `from` as `to`.
std::string changed(std::string text, const std::string& from, const std::string& to) {
    const size_t place = text.find(from);
    EXPECT_NE(place, std::string::npos) << from;
    return text.replace(place, from.size(), to);
}

TEST(Digest, IsTheWellKnownOne) {
    EXPECT_EQ(test::digest_of("").text(),
              "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(test::digest_of("abc").text(),
              "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(Digest::parse(test::digest_of("abc").text()), test::digest_of("abc"));
    for (const std::string& text : {std::string{}, std::string{"sha256:"}, std::string(64, 'a'),
                                    "sha256:" + std::string(65, 'a'), "sha256:" + std::string(64, 'g'),
                                    "sha512:" + std::string(64, 'a'), "sha256:../" + std::string(61, 'a')}) {
        EXPECT_FALSE(Digest::parse(text)) << text;
    }
}

TEST(Manifest, AnImagesPartsAreTold) {
    const BuiltImage image{{test::layer_of("a", "1"), test::layer_of("b", "2")}};
    const auto manifest = std::get<Manifest>(parse_manifest(image.manifest, "", kPlatform));
    EXPECT_EQ(manifest.config.digest.text(), image.id());
    EXPECT_EQ(manifest.config.size, image.config.size());
    ASSERT_EQ(manifest.layers.size(), 2U);
    EXPECT_EQ(manifest.layers[1].digest.text(), image.packed[1]);
    // Docker's own types, and what registries say where the text does not.
    const std::string docker = changed(image.manifest, "application/vnd.oci.image.manifest.v1+json",
                                       "application/vnd.docker.distribution.manifest.v2+json");
    EXPECT_EQ(std::get<Manifest>(parse_manifest(docker, "", kPlatform)).layers.size(), 2U);
    const std::string plain =
        changed(image.manifest, R"("mediaType":"application/vnd.oci.image.manifest.v1+json",)", "");
    EXPECT_EQ(std::get<Manifest>(parse_manifest(plain, "application/json", kPlatform)).layers.size(), 2U);
}

TEST(Manifest, AnIndexLeadsToThePlatformsImage) {
    const BuiltImage image{{test::layer_of("a", "1")}};
    const std::string other =
        R"({"mediaType":"application/vnd.oci.image.manifest.v1+json","size":7,"digest":"sha256:)" +
        std::string(64, 'b') + R"(","platform":{"os":"unknown","architecture":"unknown"}},)";
    const auto chosen = std::get<Descriptor>(parse_manifest(image.index("amd64", other), "", kPlatform));
    EXPECT_EQ(chosen.digest, test::digest_of(image.manifest));
    EXPECT_EQ(chosen.size, image.manifest.size());
    expect_error([&] { parse_manifest(image.index("riscv64"), "", kPlatform); }, ExitStatus::bad_file,
                 {"no matching manifest for linux/amd64"});
}

TEST(Manifest, WhatIsWrongIsRefused) {
    const BuiltImage image{{test::layer_of("a", "1")}};
    const std::string good = image.manifest;
    std::string many = good;
    for (int count = 0; count < 127; ++count) {
        many = changed(
            many, R"("layers":[)",
            R"("layers":[)" + BuiltImage::descriptor("application/vnd.oci.image.layer.v1.tar", "x") + ",");
    }
    struct Row {
        std::string text;
        std::string_view word;
    };
    for (const Row& row : {
             Row{"", "no JSON"},
             Row{"[]", "no JSON object"},
             Row{"{}", "schema version"},
             Row{good + "x", "no JSON"},
             Row{std::string(100'000, '['), "no JSON"},
             Row{R"({"a":)" + std::string(100, '[') + std::string(100, ']') + "}", "no JSON"},
             Row{"{\"schemaVersion\":2,\"\xff\":1}", "no JSON"},
             Row{R"({"schemaVersion":1,"fsLayers":[]})", "schema version"},
             Row{R"({"schemaVersion":"2"})", "schemaVersion"},
             Row{R"({"schemaVersion":2})", "neither"},
             Row{changed(good, R"("layers")", R"("manifests":[],"layers")"), "at once"},
             Row{changed(good, "image.manifest.v1", "image.index.v1"), "what it says"},
             Row{changed(image.index("amd64"), "image.index.v1", "image.manifest.v1"), "what it says"},
             Row{changed(good, "image.config.v1+json", "other"), "something else"},
             Row{changed(good, "layer.v1.tar+gzip", "layer.nondistributable.v1.tar+gzip"), "not of a kind"},
             Row{changed(good, image.packed[0], "sha256:../../../etc/passwd"), "digest"},
             Row{changed(good, image.packed[0], "sha256:" + std::string(64, 'G')), "digest"},
             Row{changed(good, R"("size":)", R"("size":-)"), "size"},
             Row{changed(good, R"("size":)", R"("size":99999999999)"), "larger"},
             Row{changed(good, R"("size":)", R"("size":99999999999999999999999)"), "size"},
             Row{changed(good, R"("size":)", R"("size":1e)"), "size"},
             Row{changed(good, R"("layers":[)", R"("layers":[1,)"), "layers"},
             Row{changed(good, R"("layers":[)", R"("layers":[[],)"), "layers"},
             Row{changed(good, R"("config":{)", R"("config":[{)"), "no JSON"},
             Row{many, "127"},
         }) {
        expect_error([&] { parse_manifest(row.text, "", kPlatform); }, ExitStatus::bad_file, {row.word});
    }
}

TEST(ImageConfig, EverythingReachesItsPlace) {
    const ImageConfig config = ImageConfig::parse(R"({
        "architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05.6Z","author":"me","variant":"v8",
        "config":{"User":"web:www","Env":["A=1","B"],"Entrypoint":["/e"],"Cmd":["-x"],"WorkingDir":"/srv",
            "ExposedPorts":{"80/tcp":{},"53/udp":{}},"Volumes":{"/data":{}},"Labels":{"a.b":"c","d":""},
            "StopSignal":"SIGQUIT","Healthcheck":{"Test":["NONE"]},"ArgsEscaped":true},
        "rootfs":{"type":"layers","diff_ids":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]},
        "history":[{"created":"2024-01-02T03:04:05Z","created_by":"ADD x","comment":"c"},
                   {"created_by":"CMD","empty_layer":true}]})");
    EXPECT_EQ(config.architecture, "amd64");
    EXPECT_EQ(config.created, "2024-01-02T03:04:05.6Z");
    EXPECT_EQ(config.author, "me");
    EXPECT_EQ(config.user, "web:www");
    EXPECT_EQ(config.environment, (std::vector<std::string>{"A=1", "B"}));
    EXPECT_EQ(config.entrypoint, std::vector<std::string>{"/e"});
    EXPECT_EQ(config.command, std::vector<std::string>{"-x"});
    EXPECT_EQ(config.working_folder, "/srv");
    EXPECT_EQ(config.exposed_ports, (std::vector<std::string>{"80/tcp", "53/udp"}));
    EXPECT_EQ(config.volumes, std::vector<std::string>{"/data"});
    EXPECT_EQ(config.labels, (std::map<std::string, std::string>{{"a.b", "c"}, {"d", ""}}));
    EXPECT_EQ(config.stop_signal, "SIGQUIT");
    ASSERT_EQ(config.layers.size(), 1U);
    ASSERT_EQ(config.history.size(), 2U);
    EXPECT_EQ(config.history[0].created_by, "ADD x");
    EXPECT_TRUE(config.history[1].is_empty);
}

TEST(ImageConfig, WhatIsMissingOrNullIsEmpty) {
    for (const char* const config :
         {R"({"os":"linux","rootfs":{"type":"layers"}})",
          R"({"os":"linux","config":null,"history":null,"rootfs":{"type":"layers","diff_ids":null}})",
          R"({"os":"linux","config":{"Env":null,"Cmd":null,"Entrypoint":null,"Volumes":null,"Labels":null},
              "rootfs":{"type":"layers","diff_ids":[]}})"}) {
        const ImageConfig parsed = ImageConfig::parse(config);
        EXPECT_TRUE(parsed.layers.empty() && parsed.environment.empty() && parsed.labels.empty());
    }
}

TEST(ImageConfig, WhatIsWrongIsRefused) {
    const BuiltImage image{{test::layer_of("a", "1")}, "amd64", R"("config":{"Env":["A=1"],"Cmd":["x"]})"};
    const std::string good = image.config;
    std::string many = good;
    for (int count = 0; count < 127; ++count) {
        many = changed(many, R"("diff_ids":[)", R"("diff_ids":[")" + image.unpacked[0] + "\",");
    }
    struct Row {
        std::string text;
        std::string_view word;
    };
    for (const Row& row : {
             Row{"", "no JSON"},
             Row{"null", "no JSON object"},
             Row{changed(good, "linux", "windows"), "not for Linux"},
             Row{changed(good, R"("os":"linux",)", ""), "not for Linux"},
             Row{changed(good, R"("layers")", R"("tree")"), "rootfs"},
             Row{changed(good, R"("rootfs":{)", R"("rootfs":[],"x":{)"), "rootfs"},
             Row{changed(good, image.unpacked[0], "sha256:0"), "diff_ids"},
             Row{changed(good, R"(["A=1"])", R"([1])"), "Env"},
             Row{changed(good, R"(["A=1"])", R"("A=1")"), "Env"},
             Row{changed(good, R"("A=1")", R"("A=\u0000")"), "Env"},
             Row{changed(good, R"("Cmd")", R"("User":{},"Cmd")"), "User"},
             Row{changed(good, R"("Cmd")", R"("Labels":{"a":1},"Cmd")"), "a"},
             Row{changed(good, R"("Cmd")", R"("ExposedPorts":["80"],"Cmd")"), "ExposedPorts"},
             Row{changed(good, R"("rootfs")", R"("history":[{},{}],"rootfs")"), "history"},
             Row{changed(good, R"("rootfs")", R"("history":[{"empty_layer":"no"}],"rootfs")"), "empty_layer"},
             Row{changed(good, R"("Cmd")", R"("Labels":{"a\n\u001bb":1},"Cmd")"), "'a??b' is no text"},
             Row{many, "127"},
         }) {
        expect_error([&] { ImageConfig::parse(row.text); }, ExitStatus::bad_file, {row.word});
    }
    // A history that tells of fewer layers is what some builders write.
    EXPECT_EQ(ImageConfig::parse(changed(good, R"("rootfs")", R"("history":[],"rootfs")")).layers.size(), 1U);
}

}  // namespace
}  // namespace hull::container
