// hull pull, images, rmi and daemon as people run them, against Debian's docker-registry.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <regex>
#include <string>
#include <thread>

#include "container/image/store.h"
#include "container/layer/merged_layers.h"
#include "container/main/human.h"
#include "tests/support/command.h"
#include "tests/support/debians_registry.h"
#include "tests/support/files.h"
#include "tests/support/image_builder.h"
#include "tests/support/noise.h"
#include "tests/support/program.h"
#include "tests/support/sockets.h"
#include "tests/support/tar_builder.h"

namespace hull::container {
namespace {

using namespace std::chrono_literals;
using test::BuiltImage;
using test::DebiansRegistry;
using test::Ran;
using test::run_command;
using testing::ContainsRegex;
using testing::HasSubstr;

TEST(Human, SizesAndTimesAreWrittenAsDockerDoes) {
    EXPECT_EQ(human_size(0), "0B");
    EXPECT_EQ(human_size(999), "999B");
    EXPECT_EQ(human_size(1'240'000), "1.24MB");
    EXPECT_EQ(human_size(133'000'000), "133MB");
    EXPECT_EQ(human_duration(0s), "Less than a second");
    EXPECT_EQ(human_duration(1s), "1 second");
    EXPECT_EQ(human_duration(59s), "59 seconds");
    EXPECT_EQ(human_duration(61s), "About a minute");
    EXPECT_EQ(human_duration(40min), "40 minutes");
    EXPECT_EQ(human_duration(62min), "About an hour");
    EXPECT_EQ(human_duration(47h), "47 hours");
    EXPECT_EQ(human_duration(24h * 13), "13 days");
    EXPECT_EQ(human_duration(24h * 15), "2 weeks");
    EXPECT_EQ(human_duration(24h * 90), "3 months");
    EXPECT_EQ(human_duration(24h * 365 * 3), "3 years");
    const std::chrono::system_clock::time_point now{1'700'000'000s};  // 2023-11-14T22:13:20Z
    EXPECT_EQ(human_age("2023-11-14T22:13:15.123456789Z", now), "5 seconds ago");
    EXPECT_EQ(human_age("2023-11-14T23:13:15+01:00", now), "5 seconds ago");
    EXPECT_EQ(human_age("2123-11-14T22:13:20Z", now), "Less than a second ago");
    EXPECT_EQ(human_age("", now), "N/A");
    EXPECT_EQ(human_age("yesterday", now), "N/A");
}

TEST(ImageCommands, HelpManualAndCompletionKnowTheSameOptions) {
    const std::string source = HULL_SOURCE_DIR;
    const std::string manual = test::contents_of(source + "/vmm/main/hull.1");
    const std::string completion = test::contents_of(source + "/vmm/main/completion.bash");
    for (const std::string command : {"pull", "build", "images", "rmi", "daemon"}) {
        const Ran help = run_command(std::string{HULL_PROGRAM} + " " + command + " --help");
        EXPECT_EQ(help.status, 0) << help.out;
        EXPECT_THAT(help.out, HasSubstr("Usage: hull " + command));
        EXPECT_THAT(manual, HasSubstr(".B hull " + command));
        EXPECT_THAT(completion, ContainsRegex("\n        " + command + "\\)"));
        const std::regex option{"--([a-z-]+)"};
        const auto words = completion.substr(completion.find("\n        " + command + ")"));
        const std::string list = words.substr(0, words.find(";;"));
        for (auto match = std::sregex_iterator{help.out.begin(), help.out.end(), option};
             match != std::sregex_iterator{}; ++match) {
            EXPECT_THAT(list, HasSubstr(match->str())) << command;
            EXPECT_THAT(manual, HasSubstr(std::regex_replace(match->str(), std::regex{"-"}, "\\-")))
                << command;
        }
    }
}

TEST(ImageCommands, WrongUseIsToldInALine) {
    for (const auto& [words, said] : std::initializer_list<std::pair<const char*, const char*>>{
             {"pull", "hull: cannot do 'hull pull': no image is named; see 'hull pull --help'\n"},
             {"pull a b", "'b' is too much"},
             {"pull A", "repository name must be lowercase"},
             {"pull --colour a", "see 'hull pull --help'"},
             {"pull --data-root= a", "--data-root"},
             {"images a", "'a' is too much"},
             {"rmi", "no image is named"},
             {"build", "no folder is named; see 'hull build --help'"},
             {"build --network bridge .", "cannot use --network 'bridge'"},
             {"build --tag A .", "repository name must be lowercase"},
             {"build --label =x .", "it has no name"},
             {"build -f - -", "it can be read once"},
             {"daemon a", "it belongs to no option"},
         }) {
        const Ran ran = run_command(std::string{HULL_PROGRAM} + " " + words);
        EXPECT_EQ(ran.status, 2) << words;
        EXPECT_THAT(ran.out, HasSubstr(said)) << words;
        EXPECT_EQ(std::ranges::count(ran.out, '\n'), 1) << ran.out;
    }
}

/// Builds without commands, which need no machine.
TEST(ImageCommands, BuildsAnImageOfAFolder) {
    const test::TemporaryFolder root;
    const test::TemporaryFolder context;
    const auto hull = [&](const std::string& command, const std::string& words) {
        return run_command("cd " + context.path().string() + " && " + HULL_PROGRAM + " " + command +
                           " --data-root " + root.path().string() + " " + words);
    };
    static_cast<void>(
        run_command("cd " + context.path().string() +
                    " && mkdir -p out/deep sub && echo page >sub/page && ln -s sub/page link && mkfifo pipe "
                    "&& echo x >out/no && echo y >out/deep/yes && ln sub/page sub/other "
                    "&& printf 'out\\n!out/deep\\nDockerfile\\n' >.dockerignore "
                    "&& printf 'FROM scratch\\nARG word=none\\nLABEL got=$word\\nCOPY . /\\n' >Dockerfile"));
    const Ran built = hull("build", "-t a:1 -t b --build-arg word=given --label more=x .");
    EXPECT_EQ(built.status, 0) << built.out;
    EXPECT_THAT(built.out,
                ContainsRegex("Step 1/5 : FROM scratch\n.*\nStep 5/5 : LABEL more=x\n ---> [0-9a-f]{12}\n"
                              "Successfully built [0-9a-f]{12}\nSuccessfully tagged a:1\n"
                              "Successfully tagged b:latest\n$"));
    const Ran listed = hull("images", "");
    EXPECT_EQ(std::ranges::count(listed.out, '\n'), 3) << listed.out << "steps are not shown";
    Store store{root.path(), Store::Use::shared};
    const StoredImage image = store.find("a:1").value();
    EXPECT_EQ(image.config.labels.at("got"), "given");
    const MergedLayers files{image.layers};
    EXPECT_EQ(files.names(""), (std::vector<std::string>{".dockerignore", "link", "out", "pipe", "sub"}));
    EXPECT_EQ(files.names("out"), std::vector<std::string>{"deep"});
    EXPECT_EQ(files.look("link")->entry.link, "sub/page");
    EXPECT_EQ(files.look("sub/page")->entry.size, 5U);
    EXPECT_EQ(files.look("sub/page")->entry.uid, 0U);

    // The same again, by a variable of the caller's, a file that is elsewhere, an archive, and a file alone.
    const std::string id = image.id.text() + "\n";
    EXPECT_EQ(run_command("cd / && word=given " HULL_PROGRAM " build -q --build-arg word --label more=x "
                          "--data-root " +
                          root.path().string() + " " + context.path().string())
                  .out,
              id);
    EXPECT_EQ(hull("build", "-q --build-arg word=given --label more=x -f - . <Dockerfile").out, id);
    EXPECT_EQ(hull("build", "-q --build-arg word=given --label more=x -f Dockerfile .").out, id);
    const Ran packed =
        run_command("tar czC " + context.path().string() + " . | " HULL_PROGRAM " build -q --data-root " +
                    root.path().string() + " -");
    EXPECT_THAT(packed.out, ContainsRegex("^sha256:[0-9a-f]{64}\n$"));
    const Ran alone =
        run_command("printf 'FROM a:1\nCMD [\"/x\"]\n' | " HULL_PROGRAM " build -q --data-root " +
                    root.path().string() + " -");
    EXPECT_THAT(alone.out, ContainsRegex("^sha256:[0-9a-f]{64}\n$"));

    for (const auto& [file, said] : std::initializer_list<std::pair<const char*, const char*>>{
             {"FROM scratch\nCOPY out/no /", "COPY failed: file not found in build context"},
             {"FROM scratch\nCOPPY a b", "unknown instruction: COPPY"},
             {"", "cannot be empty"}}) {
        const Ran wrong =
            run_command("printf '" + std::string{file} + "' | " HULL_PROGRAM " build --data-root " +
                        root.path().string() + " -f - " + context.path().string());
        EXPECT_EQ(wrong.status, 4) << wrong.out;
        EXPECT_THAT(wrong.out, ContainsRegex("hull: cannot build '.*': .*" + std::string{said})) << wrong.out;
    }
    EXPECT_THAT(hull("build", "nowhere").out, HasSubstr("it is not a folder"));
    EXPECT_TRUE(std::filesystem::is_empty(root.path() / "tmp"));
}

TEST(ImageCommands, DebiansRegistryServesAnImageThatIsListedAndRemoved) {
    const DebiansRegistry registry;
    const BuiltImage image{{test::layer_of("a", std::string(200'000, 'a')), test::layer_of("b", "2")}};
    ASSERT_TRUE(registry.put("test/app", "1", image)) << "is Debian's docker-registry installed?";
    const test::TemporaryFolder folder;
    const auto hull = [&](const std::string& command, const std::string& words) {
        return run_command(std::string{HULL_PROGRAM} + " " + command + " --data-root " +
                           folder.path().string() + " " + words);
    };
    const std::string name = registry.host() + "/test/app:1";
    const std::string id = image.id().substr(7, 12);

    const Ran pulled = hull("pull", name);
    EXPECT_EQ(pulled.status, 0) << pulled.out;
    EXPECT_THAT(pulled.out, HasSubstr(image.packed[0].substr(7, 12) + ": Pulling fs layer\n"));
    EXPECT_THAT(pulled.out, HasSubstr(image.packed[0].substr(7, 12) + ": Pull complete\n"));
    EXPECT_THAT(pulled.out, HasSubstr("Digest: " + test::digest_of(image.manifest).text() +
                                      "\nStatus: Downloaded newer image for " + name + "\n" + name + "\n"));
    EXPECT_THAT(hull("pull", name).out, HasSubstr("Status: Image is up to date for " + name + "\n"));
    EXPECT_EQ(hull("pull", "-q " + name).out, name + "\n");

    const Ran listed = hull("images", "");
    EXPECT_EQ(listed.status, 0);
    EXPECT_THAT(listed.out,
                ContainsRegex("^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE\n" + registry.host() +
                              "/test/app +1 +" + id + " +[0-9]+ (months|years) ago +[0-9.]+kB\n$"));
    EXPECT_EQ(hull("images", "--quiet").out, id + "\n");

    const Ran missing = hull("pull", registry.host() + "/test/app:2");
    EXPECT_EQ(missing.status, 17);
    EXPECT_THAT(missing.out, HasSubstr("no such image (manifest unknown)"));
    EXPECT_EQ(hull("rmi", "nothing").status, 4);

    // A disk that is full, in a mount namespace of that command's own.
    const test::TemporaryFolder small;
    const std::string root = small.path().string();
    const Ran full =
        run_command("unshare --user --map-root-user --mount sh -c 'mount -t tmpfs -o size=128k none " + root +
                    " && { " + HULL_PROGRAM + " pull -q --data-root " + root + " " + name +
                    "; echo status $? and $(ls " + root + "/tmp | wc -l) files; }'");
    EXPECT_THAT(full.out, ContainsRegex("hull: cannot .*No space left on device; make room.*\n"
                                        "status 5 and 0 files\n$"));

    const Ran removed = hull("rmi", id);
    EXPECT_EQ(removed.status, 0);
    EXPECT_THAT(removed.out, HasSubstr("Untagged: " + name + "\n"));
    EXPECT_THAT(removed.out, HasSubstr("Deleted: " + image.id() + "\n"));
    EXPECT_EQ(hull("images", "-q").out, "");
    EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "layers/sha256"));
    EXPECT_TRUE(std::filesystem::is_empty(folder.path() / "blobs/sha256"));
}

TEST(ImageCommands, TheStockDockerClientManagesImagesByTheDaemon) {
    if (run_command("docker --version").status != 0) {
        GTEST_SKIP() << "there is no docker client here (docker.io)";
    }
    const DebiansRegistry registry;
    const BuiltImage image{{test::layer_of("a", std::string(200'000, 'a')), test::layer_of("b", "2")}};
    ASSERT_TRUE(registry.put("library/app", "1", image)) << "is Debian's docker-registry installed?";
    const test::TemporaryFolder folder;
    const std::string root = folder.path() / "root";
    const std::string socket = folder.path() / "socket";
    const std::vector<std::string> words{HULL_PROGRAM,
                                         "daemon",
                                         "--no-bridge",
                                         "--data-root",
                                         root,
                                         "--socket",
                                         socket,
                                         "--registry-mirror",
                                         "http://" + registry.host()};
    test::Program daemon{words};
    const auto docker = [&](const std::string& command) {
        return run_command("DOCKER_HOST=unix://" + socket + " docker " + command);
    };
    for (int tries = 0; tries < 600 && !std::filesystem::exists(socket); ++tries) {
        std::this_thread::sleep_for(50ms);
    }
    EXPECT_EQ(std::filesystem::status(socket).permissions(),
              std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
    const std::string id = image.id().substr(7, 12);
    EXPECT_EQ(docker("version --format '{{.Server.APIVersion}} {{.Server.Os}}'").out, "1.44 linux\n");

    const Ran pulled = docker("pull app:1");
    EXPECT_EQ(pulled.status, 0) << pulled.out;
    EXPECT_THAT(pulled.out, testing::StartsWith("1: Pulling from library/app\n"));
    for (const std::string& layer : image.packed) {
        EXPECT_THAT(pulled.out, HasSubstr(layer.substr(7, 12) + ": Pull complete\n"));
    }
    EXPECT_THAT(pulled.out, testing::EndsWith("Digest: " + test::digest_of(image.manifest).text() +
                                              "\nStatus: Downloaded newer image for app:1\n"
                                              "docker.io/library/app:1\n"));
    EXPECT_THAT(docker("pull app:1").out, HasSubstr("Status: Image is up to date for app:1\n"));
    const Ran missing = docker("pull " + registry.host() + "/library/app:2");
    EXPECT_EQ(missing.status, 1);
    EXPECT_THAT(missing.out, HasSubstr("Error response from daemon: cannot pull"));

    EXPECT_THAT(docker("images").out,
                ContainsRegex("\napp +1 +" + id + " +[0-9]+ (months|years) ago +[0-9.]+kB\n$"));
    EXPECT_EQ(docker("images -q --no-trunc --filter reference=app").out, image.id() + "\n");
    EXPECT_EQ(docker("images -q --filter dangling=true").out, "");
    EXPECT_EQ(docker("inspect --format '{{.Id}} {{.Config.Cmd}} {{len .RootFS.Layers}}' app:1").out,
              image.id() + " [sh] 2\n");
    EXPECT_EQ(docker("tag app:1 other/name:2").status, 0);
    EXPECT_EQ(docker("info --format '{{.Images}} {{.Driver}}'").out, "1 erofs\n");

    // What is pushed is what was pulled; what is there already is not sent again.
    const std::string away = registry.host() + "/away/app:3";
    EXPECT_EQ(docker("tag app:1 " + away).status, 0);
    EXPECT_EQ(docker("tag app:1 " + registry.host() + "/away/app:4").status, 0);
    const std::string digest = test::digest_of(image.manifest).text();
    const Ran pushed = docker("push " + away);
    EXPECT_EQ(pushed.status, 0) << pushed.out;
    EXPECT_THAT(pushed.out,
                testing::StartsWith("The push refers to repository [" + registry.host() + "/away/app]\n" +
                                    image.unpacked[1].substr(7, 12) + ": Preparing\n"));
    EXPECT_THAT(pushed.out, HasSubstr(image.unpacked[0].substr(7, 12) + ": Pushed\n"));
    EXPECT_THAT(pushed.out, testing::EndsWith("\n3: digest: " + digest +
                                              " size: " + std::to_string(image.manifest.size()) + "\n"));
    EXPECT_EQ(registry.get("/v2/away/app/manifests/3", BuiltImage::kManifestType), image.manifest);
    for (const auto& [name, blob] : image.blobs) {
        EXPECT_EQ(registry.get("/v2/away/app/blobs/" + name), blob);
    }
    const Ran again = docker("push -a " + registry.host() + "/away/app");
    EXPECT_EQ(again.status, 0) << again.out;
    EXPECT_THAT(again.out, HasSubstr(image.unpacked[0].substr(7, 12) + ": Layer already exists\n"));
    EXPECT_THAT(again.out, testing::AllOf(HasSubstr("\n3: digest: "), HasSubstr("\n4: digest: ")));
    EXPECT_EQ(registry.get("/v2/away/app/manifests/4", BuiltImage::kManifestType), image.manifest);
    const Ran no_tag = docker("push " + registry.host() + "/away/app:5");
    EXPECT_EQ(no_tag.status, 1);
    EXPECT_THAT(no_tag.out, HasSubstr("tag does not exist: " + registry.host() + "/away/app:5"));
    const Ran no_image = docker("push nothing");
    EXPECT_EQ(no_image.status, 1);
    EXPECT_THAT(no_image.out, HasSubstr("An image does not exist locally with the tag: nothing"));
    EXPECT_THAT(docker("push 127.0.0.1:1/a").out, HasSubstr("does not exist locally"));
    EXPECT_EQ(docker("rmi " + away + " " + registry.host() + "/away/app:4").status, 0);

    // While it runs, the folder is its own; killed, it leaves one that the next one takes over, socket and
    // all.
    const Ran beside = run_command(std::string{HULL_PROGRAM} + " images --data-root " + root);
    EXPECT_EQ(beside.status, 5) << beside.out;
    daemon.end(SIGKILL);
    test::Program next{words};
    for (int tries = 0; tries < 600 && docker("version").status != 0; ++tries) {
        std::this_thread::sleep_for(50ms);
    }
    EXPECT_EQ(docker("rmi app:1").out,
              "Untagged: app:1\nUntagged: app@" + test::digest_of(image.manifest).text() + "\n");
    EXPECT_THAT(docker("image prune -af").out, HasSubstr("untagged: other/name:2\ndeleted: " + image.id()));
    EXPECT_EQ(docker("images -q").out, "");
    const Ran gone = docker("inspect app:1");
    EXPECT_EQ(gone.status, 1);
    EXPECT_THAT(gone.out, HasSubstr("No such object: app:1"));
    next.end(SIGTERM);
    EXPECT_FALSE(std::filesystem::exists(socket));
    EXPECT_TRUE(std::filesystem::is_empty(root + "/layers/sha256"));
}

/// A daemon with a folder of its own, and docker's client.
class DockerImages : public testing::Test {
  protected:
    void SetUp() override {
        if (run_command("docker --version").status != 0) {
            GTEST_SKIP() << "there is no docker client here (docker.io)";
        }
        start_daemon();
    }
    void start_daemon() {
        daemon_.emplace(std::vector<std::string>{HULL_PROGRAM, "daemon", "--no-bridge", "--data-root",
                                                 path("root"), "--socket", path("socket")});
        for (int tries = 0; tries < 600 && !test::connect_unix(path("socket")).valid(); ++tries) {
            std::this_thread::sleep_for(50ms);
        }
    }
    [[nodiscard]] std::string path(const std::string& name) const { return folder_.path() / name; }
    [[nodiscard]] Ran docker(const std::string& command) const {
        return run_command("DOCKER_CONFIG=" + path("config") + " DOCKER_HOST=unix://" + path("socket") +
                           " docker " + command);
    }

    const test::TemporaryFolder folder_;
    std::optional<test::Program> daemon_;
    const std::vector<std::string> archives_{test::layer_of("a", std::string(200'000, 'a')),
                                             test::layer_of("b", "2")};
    const BuiltImage image_{archives_};
};

TEST_F(DockerImages, WhatIsSavedIsLoadedAgainAsTheSameImage) {
    const DebiansRegistry registry;
    ASSERT_TRUE(registry.put("test/app", "1", image_)) << "is Debian's docker-registry installed?";
    const std::string name = registry.host() + "/test/app:1";
    ASSERT_EQ(docker("pull -q " + name).status, 0);
    EXPECT_EQ(docker("tag " + name + " app:2").status, 0);
    EXPECT_EQ(docker("tag " + name + " app:3").status, 0);
    EXPECT_EQ(docker("save -o " + path("all.tar") + " app").out, "");
    EXPECT_EQ(docker("save app:2 | gzip >" + path("one.tar.gz")).out, "");
    EXPECT_EQ(docker("save -o " + path("id.tar") + " " + image_.id().substr(7, 12)).out, "");
    EXPECT_THAT(docker("save -o " + path("none.tar") + " nothing").out, HasSubstr("No such image: nothing"));
    const auto forget = [&] {
        EXPECT_EQ(docker("rmi -f " + image_.id()).status, 0);
        EXPECT_EQ(docker("images -q").out, "");
    };
    forget();
    EXPECT_EQ(docker("load -q -i " + path("all.tar")).out, "Loaded image: app:2\nLoaded image: app:3\n");
    EXPECT_EQ(docker("inspect -f '{{.Id}}' app:3").out, image_.id() + "\n");
    forget();
    EXPECT_EQ(docker("load <" + path("one.tar.gz")).out, "Loaded image: app:2\n");
    forget();
    EXPECT_EQ(docker("load <" + path("id.tar")).out, "Loaded image ID: " + image_.id() + "\n");
    // Pushed from there it is what it was.
    EXPECT_EQ(docker("tag " + image_.id() + " " + registry.host() + "/back:1").status, 0);
    EXPECT_EQ(docker("push -q " + registry.host() + "/back:1").status, 0);
    EXPECT_EQ(registry.get("/v2/back/manifests/1", BuiltImage::kManifestType), image_.manifest);

    const Ran broken = run_command("head -c 100000 /dev/urandom >" + path("noise"));
    EXPECT_EQ(docker("load <" + path("noise")).status, 1);
    EXPECT_THAT(docker("load <" + path("noise")).out, HasSubstr("checksum"));
    EXPECT_EQ(docker("images -q --no-trunc").out, image_.id() + "\n");
}

TEST_F(DockerImages, AKillInTheMiddleOfALoadLeavesTheStoreWhole) {
    const BuiltImage image{{test::layer_of("a", test::noise(20'000'000, 1)), archives_[1]}};
    std::string archive = test::TarPart{.name = "oci-layout", .content = "{}"}.bytes();
    for (const auto& [digest, blob] : image.blobs) {
        archive += test::TarPart{.name = "blobs/sha256/" + digest.substr(7), .content = blob}.bytes();
    }
    archive += test::TarPart{.name = "blobs/sha256/" + test::digest_of(image.manifest).digits(),
                             .content = image.manifest}
                   .bytes();
    archive +=
        test::TarPart{.name = "index.json",
                      .content = R"({"schemaVersion":2,"manifests":[)" +
                                 BuiltImage::descriptor(BuiltImage::kManifestType, image.manifest) + "]}"}
            .bytes();
    folder_.file("archive", archive + std::string(1024, '\0'));
    for (const auto pause : {100ms, 200ms, 300ms, 500ms, 900ms}) {
        test::Program client{{"docker", "-H", "unix://" + path("socket"), "load", "-i", path("archive")}};
        std::this_thread::sleep_for(pause);
        daemon_->end(SIGKILL);
        {
            Store store{path("root"), Store::Use::alone};
            EXPECT_TRUE(std::filesystem::is_empty(path("root") + "/tmp"));
            for (const auto& entry : std::filesystem::directory_iterator{path("root") + "/blobs/sha256"}) {
                EXPECT_EQ(test::digest_of(test::contents_of(entry.path())).digits(), entry.path().filename());
            }
            for (const StoredImage& each : store.list()) {
                store.remove(each.id.text(), true);
            }
            store.collect();
            for (const char* const part : {"blobs", "layers", "unpacked"}) {
                EXPECT_TRUE(std::filesystem::is_empty(path("root") + "/" + part + "/sha256")) << part;
            }
        }
        start_daemon();
    }
    EXPECT_EQ(docker("load -q -i " + path("archive")).out, "Loaded image ID: " + image.id() + "\n");
}

TEST_F(DockerImages, AnArchiveOfFilesBecomesAnImage) {
    const std::string layer = archives_[0];
    test::write_all(UniqueFd{open(path("files.tar").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)}.get(),
                    layer);
    const Ran made = docker(
        "import -m 'by hand' -c 'CMD [\"sh\", \"-l\"]' -c 'ENV A=b C=\"d e\"' -c 'EXPOSE 80' "
        "-c 'LABEL x=y' -c 'USER 1' -c 'WORKDIR /w' " +
        path("files.tar") + " made:1");
    EXPECT_EQ(made.status, 0) << made.out;
    EXPECT_THAT(made.out, testing::MatchesRegex("sha256:[0-9a-f]{64}\n"));
    EXPECT_EQ(
        docker("inspect -f '{{.Id}} {{.Config.Cmd}} {{.Config.Env}} {{.Config.ExposedPorts}} "
               "{{.Config.Labels}} {{.Config.User}} {{.Config.WorkingDir}} {{len .RootFS.Layers}}' made:1")
            .out,
        made.out.substr(0, 71) + " [sh -l] [A=b C=d e] map[80/tcp:map[]] map[x:y] 1 /w 1\n");
    EXPECT_THAT(docker("history made:1").out, HasSubstr("by hand"));
    const Ran packed = run_command("gzip -c " + path("files.tar") + " >" + path("files.tar.gz"));
    EXPECT_EQ(docker("import - <" + path("files.tar.gz")).status, 0);
    EXPECT_EQ(run_command("xz -c " + path("files.tar") + " >" + path("files.tar.xz")).status, 0);
    for (const auto& [words, said] : std::initializer_list<std::pair<std::string, const char*>>{
             {"- <" + path("files.tar.xz"), "only gzip and Zstandard"},
             {"-c 'RUN true' " + path("files.tar"), "RUN is not supported"},
             {"-c 'EXPOSE x' " + path("files.tar"), "'x' is no port"},
             {path("files.tar") + " UPPER", "lowercase"},
             {"http://127.0.0.1:1/files.tar", "the daemon fetches nothing"},
             {"- </dev/urandom", ""},
         }) {
        const Ran ran = docker("import " + words);
        EXPECT_EQ(ran.status, 1) << words;
        EXPECT_THAT(ran.out, HasSubstr(said)) << words;
    }
}

TEST_F(DockerImages, ALoginIsCheckedAndUsed) {
    const DebiansRegistry registry{"user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"};
    EXPECT_EQ(docker("import " +
                     [&] {
                         test::write_all(
                             UniqueFd{open(path("f").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)}.get(),
                             archives_[1]);
                         return path("f");
                     }() +
                     " " + registry.host() + "/app:1")
                  .status,
              0);
    EXPECT_THAT(docker("push " + registry.host() + "/app:1").out, HasSubstr("no credentials for it"));
    const auto log_in = [&](const std::string& password) {
        return docker("login -u user -p " + password + " " + registry.host());
    };
    const Ran wrong = log_in("wrong");
    EXPECT_EQ(wrong.status, 1);
    EXPECT_THAT(wrong.out, testing::AllOf(HasSubstr("cannot log in to " + registry.host()),
                                          HasSubstr("access is denied")));
    const Ran right = log_in("secret");
    EXPECT_EQ(right.status, 0) << right.out;
    EXPECT_THAT(right.out, HasSubstr("Login Succeeded"));
    const Ran pushed = docker("push " + registry.host() + "/app:1");
    EXPECT_EQ(pushed.status, 0) << pushed.out;
    EXPECT_EQ(docker("rmi " + registry.host() + "/app:1").status, 0);
    EXPECT_EQ(docker("pull -q " + registry.host() + "/app:1").status, 0);
    EXPECT_EQ(docker("login -u user -p secret 127.0.0.1:1").status, 1);
}

TEST_F(DockerImages, SkopeoReadsWhatIsSavedAndItsArchivesAreLoaded) {
    if (run_command("skopeo --version").status != 0) {
        GTEST_SKIP() << "there is no skopeo here (skopeo)";
    }
    const DebiansRegistry registry;
    ASSERT_TRUE(registry.put("test/app", "1", image_)) << "is Debian's docker-registry installed?";
    const std::string name = registry.host() + "/test/app:1";
    const auto skopeo = [](const std::string& words) {
        const Ran ran = run_command("skopeo --insecure-policy copy --src-tls-verify=false " + words);
        EXPECT_EQ(ran.status, 0) << ran.out;
    };
    for (const std::string& kind : {std::string{"docker-archive:"}, std::string{"oci-archive:"}}) {
        SCOPED_TRACE(kind);
        const std::string archive = path("its.tar");
        skopeo("docker://" + name + " " + kind + archive + ":docker.io/library/its:1");
        EXPECT_EQ(docker("load -i " + archive).out, "Loaded image: its:1\n");
        EXPECT_EQ(docker("images -q --no-trunc").out, image_.id() + "\n");
        EXPECT_EQ(docker("save -o " + path("ours.tar") + " its:1").out, "");
        EXPECT_EQ(docker("rmi its:1").status, 0);
        std::filesystem::remove(archive);
        skopeo("docker-archive:" + path("ours.tar") + " dir:" + path("copy"));
        EXPECT_EQ(test::contents_of(path("copy/" + image_.id().substr(7))), image_.config);
        std::filesystem::remove_all(path("copy"));
        std::filesystem::remove(path("ours.tar"));
    }
}

}  // namespace
}  // namespace hull::container
