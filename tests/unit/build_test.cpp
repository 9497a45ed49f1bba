// What becomes of a Dockerfile and a context, without machines: commands are a test's own.
#include "container/build/build.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "container/api/api_error.h"
#include "container/layer/merged_layers.h"
#include "tests/support/files.h"
#include "tests/support/image_builder.h"
#include "tests/support/image_store.h"
#include "tests/support/tar_builder.h"

namespace hull::container {
namespace {

using test::TarPart;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class Notes : public BuildOutput {
  public:
    void print(const std::string& text) override { all += text; }
    void print_error(const std::string& text) override { all += "!" + text; }
    void tell_image(const Digest& image) override { images.push_back(image); }
    bool is_given_up() override { return gives_up; }

    std::string all;
    std::vector<Digest> images;
    bool gives_up = false;
};

/// What a command is to do, and which there were.
struct Commands {
    struct Run {
        std::vector<std::string> command;
        std::vector<std::string> environment;
        std::string image;
    };
    int status = 0;
    std::string layer = std::string(1024, '\0');  // what each changes: an archive
    std::vector<Run> runs;
    std::optional<int64_t> latest;  // time of the last one's changes
    std::vector<std::string> removed;
};

class FakeContainer : public StepContainer {
  public:
    FakeContainer(Commands& commands, std::string id) : commands_{commands}, id_{std::move(id)} {}
    [[nodiscard]] const std::string& id() const override { return id_; }
    int run(BuildOutput& output) override {
        output.print("it runs\n");
        return commands_.status;
    }
    TakenLayer changes(Store& store, std::optional<int64_t> latest) override {
        commands_.latest = latest;
        return take_layer(store, test::source_of(commands_.layer), false);
    }
    void remove() override { commands_.removed.push_back(id_); }

  private:
    Commands& commands_;
    std::string id_;
};

class FakeHost : public BuildHost {
  public:
    explicit FakeHost(Commands& commands) : commands_{commands} {}
    void pull(const std::string& name) override {
        pulled.push_back(name);
        throw ApiError{404, "pull access denied for " + name};
    }
    std::unique_ptr<StepContainer> create(const StoredImage& image, const std::vector<std::string>& command,
                                          const std::vector<std::string>& environment) override {
        commands_.runs.push_back({command, environment, image.id.text()});
        return std::make_unique<FakeContainer>(commands_,
                                               "0123456789abcdef" + std::to_string(commands_.runs.size()));
    }
    Fetched fetch(const std::string& url) override {
        fetched.push_back(url);
        if (url.ends_with("/none")) {
            throw ApiError{400, "failed to GET " + url + " with status 404"};
        }
        return {.modified = 1'000'000'000, .content = test::source_of(web)};
    }
    std::vector<std::string> pulled;
    std::vector<std::string> fetched;
    std::string web = "of the web\n";

  private:
    Commands& commands_;
};

class BuildTest : public testing::Test {
  protected:
    BuildTest() {
        const std::string base =
            TarPart{.type = '5', .name = "etc", .mode = 0700}.bytes() +
            TarPart{.name = "etc/passwd", .content = "root:x:0:0\nweb:x:33:33:\n"}.bytes() +
            TarPart{.name = "etc/group", .content = "staff:x:50:\n"}.bytes() +
            TarPart{.type = '5', .name = "data", .mode = 0750, .uid = 7, .gid = 8}.bytes() +
            TarPart{.name = "data/old", .content = "old"}.bytes() +
            TarPart{.type = '2', .name = "link", .link = "/data"}.bytes() + std::string(1024, '\0');
        test::store_image(
            store_, "base", {base},
            R"("config":{"Env":["PATH=/bin","A=image"],"Cmd":["image"],"Labels":{"from":"base"}})");
    }

    /// The context's files; the first build_ of each test sees these.
    std::string context_ = TarPart{.name = "a", .content = "content of a", .mode = 0640, .uid = 5}.bytes() +
                           TarPart{.type = '5', .name = "folder/", .mode = 0711}.bytes() +
                           TarPart{.name = "folder/b.txt", .content = "b"}.bytes() +
                           TarPart{.name = "folder/c.txt", .content = "c"}.bytes() +
                           TarPart{.type = '1', .name = "folder/again", .link = "folder/c.txt"}.bytes() +
                           TarPart{.type = '2', .name = "out", .link = "../../etc/passwd"}.bytes();

    Digest build(const std::string& file, BuildOptions options = {}) {
        notes_.all.clear();
        const BuildContext context{test::source_of(context_ + std::string(1024, '\0')), folder_.path()};
        const Store::Hold hold = store_.hold();
        return Build{store_, host_, notes_, context, std::move(options)}.run(parse_dockerfile(file));
    }
    std::string refusal(const std::string& file, BuildOptions options = {}) {
        try {
            build(file, std::move(options));
            return "";
        } catch (const ApiError& error) {
            return error.what();
        }
    }
    StoredImage image(const Digest& id) { return store_.find(id.text()).value(); }
    ImageConfig config(const std::string& file, BuildOptions options = {}) {
        return image(build(file, std::move(options))).config;
    }
    /// A file of an image as "MODE UID:GID CONTENT", or what it is else.
    std::string look(const Digest& id, const std::string& path) {
        const MergedLayers tree{image(id).layers};
        const auto file = tree.look(path);
        if (!file) {
            return "nothing";
        }
        const TarEntry& entry = file->entry;
        std::array<char, 64> head{};
        std::snprintf(head.data(), head.size(), "%o %u:%u ", entry.mode, entry.uid, entry.gid);
        if (entry.kind == TarEntry::Kind::folder) {
            return head.data() + std::string{"/"};
        }
        if (entry.kind == TarEntry::Kind::symbolic_link) {
            return "-> " + entry.link;
        }
        std::string content(entry.size, '\0');
        const ByteSource source = tree.open(*file);
        for (auto room = std::as_writable_bytes(std::span{content}); !room.empty();) {
            room = room.subspan(source(room));
        }
        return head.data() + content;
    }
    std::vector<std::string> made_by(const Digest& id) {
        std::vector<std::string> all;
        for (const ImageConfig::Step& step : image(id).config.history) {
            all.push_back(step.created_by + (step.is_empty ? " (empty)" : ""));
        }
        return all;
    }

    const test::TemporaryFolder folder_;
    Store store_{folder_.path() / "root", Store::Use::alone};
    Commands commands_;
    FakeHost host_{commands_};
    Notes notes_;
};

TEST_F(BuildTest, PrintsAsDockerDoes) {
    const Digest id = build("FROM base\nRUN true\nCMD [\"x\"]\n");
    const std::string base = store_.find("base")->id.short_digits();
    const std::string middle = image(id).parent->short_digits();
    EXPECT_EQ(notes_.all, "Step 1/3 : FROM base\n ---> " + base +
                              "\nStep 2/3 : RUN true\n ---> Running in 0123456789ab\nit runs\n"
                              "Removing intermediate container 0123456789ab\n ---> " +
                              middle + "\nStep 3/3 : CMD [\"x\"]\n ---> " + id.short_digits() + "\n");
    EXPECT_THAT(notes_.images, ElementsAre(id));
    EXPECT_THAT(commands_.removed, ElementsAre("0123456789abcdef1"));
    // What is done already is not done again.
    EXPECT_EQ(build("FROM base\nRUN true\nCMD [\"x\"]\n"), id);
    EXPECT_EQ(notes_.all,
              "Step 1/3 : FROM base\n ---> " + base + "\nStep 2/3 : RUN true\n ---> Using cache\n ---> " +
                  middle + "\nStep 3/3 : CMD [\"x\"]\n ---> Using cache\n ---> " + id.short_digits() + "\n");
    EXPECT_EQ(commands_.runs.size(), 1);
}

TEST_F(BuildTest, ChangesTheConfigurationAsInstructionsSay) {
    const ImageConfig made = config(
        "FROM base\nENV B=\"b c\" A=$A-more\nLABEL l=$B\nEXPOSE 80 90-91/udp\nVOLUME /v [\nWORKDIR "
        "/w\nWORKDIR x\n"
        "USER web\nSTOPSIGNAL SIGINT\nSHELL [\"/bin/bash\", \"-c\"]\nENTRYPOINT go\nCMD there $B\n"
        "HEALTHCHECK --interval=90s CMD ok\nONBUILD RUN later\nMAINTAINER somebody");
    EXPECT_THAT(made.environment, ElementsAre("PATH=/bin", "A=image-more", "B=b c"));
    EXPECT_THAT(made.labels, ElementsAre(testing::Pair("from", "base"), testing::Pair("l", "b c")));
    EXPECT_THAT(made.exposed_ports, ElementsAre("80/tcp", "90/udp", "91/udp"));
    EXPECT_THAT(made.volumes, ElementsAre("/v", "["));
    EXPECT_EQ(made.working_folder, "/w/x");
    EXPECT_EQ(made.user, "web");
    EXPECT_EQ(made.stop_signal, "SIGINT");
    EXPECT_THAT(made.entrypoint, ElementsAre("/bin/bash", "-c", "go"));
    EXPECT_THAT(made.command, ElementsAre("/bin/bash", "-c", "there $B"));
    EXPECT_EQ(made.health->interval, std::chrono::seconds{90});
    EXPECT_THAT(made.triggers, ElementsAre("RUN later"));
    EXPECT_EQ(made.author, "somebody");
}

TEST_F(BuildTest, WritesDockersHistory) {
    const Digest id = build(
        "ARG v=1\nFROM base\nARG v\nENV A=b\nWORKDIR /data\nRUN [\"do\", \"it\"]\nCMD [\"x\", \"y z\"]\n"
        "HEALTHCHECK --retries=3 CMD ok\nENTRYPOINT [\"e\"]");
    EXPECT_THAT(
        made_by(id),
        ElementsAre(
            "/bin/sh -c #(nop)  ARG v (empty)", "/bin/sh -c #(nop)  ENV A=b (empty)",
            "/bin/sh -c #(nop) WORKDIR /data (empty)", "|1 v=1 do it (empty)",
            "/bin/sh -c #(nop)  CMD [\"x\" \"y z\"] (empty)",
            "/bin/sh -c #(nop)  HEALTHCHECK &{[\"CMD-SHELL\" \"ok\"] \"0s\" \"0s\" \"0s\" '\\x03'} (empty)",
            "/bin/sh -c #(nop)  ENTRYPOINT [\"e\"] (empty)"));
    EXPECT_THAT(commands_.runs.at(0).command, ElementsAre("do", "it"));
    EXPECT_THAT(commands_.runs.at(0).environment, ElementsAre("PATH=/bin", "A=b", "v=1"));
}

TEST_F(BuildTest, EntrypointTakesAnImagesCommandAwayAndNotItsOwn) {
    EXPECT_THAT(config("FROM base\nENTRYPOINT [\"e\"]").command, IsEmpty());
    EXPECT_THAT(config("FROM base\nCMD [\"c\"]\nENTRYPOINT [\"e\"]").command, ElementsAre("c"));
}

TEST_F(BuildTest, CopiesFilesAndFolders) {
    const Digest id = build(
        "FROM base\nCOPY a /new/name\nCOPY folder /data\nCOPY folder/*.txt a ./\nCOPY a link\nCOPY "
        "--chown=web:staff "
        "--chmod=0600 folder /f/\n");
    EXPECT_EQ(look(id, "new/name"), "640 0:0 content of a");
    EXPECT_EQ(look(id, "new"), "755 0:0 /");
    EXPECT_EQ(look(id, "data"), "750 7:8 /") << "it was there, and is as it was";
    EXPECT_EQ(look(id, "data/old"), "644 0:0 old");
    EXPECT_EQ(look(id, "data/b.txt"), "644 0:0 b");
    EXPECT_EQ(look(id, "data/again"), "644 0:0 c");
    EXPECT_EQ(look(id, "c.txt"), "644 0:0 c");
    EXPECT_EQ(look(id, "a"), "640 0:0 content of a");
    EXPECT_EQ(look(id, "link"), "-> /data");
    EXPECT_EQ(look(id, "data/a"), "640 0:0 content of a");
    EXPECT_EQ(look(id, "f"), "755 33:50 /");
    EXPECT_EQ(look(id, "f/b.txt"), "600 33:50 b");
    EXPECT_EQ(look(id, "etc"), "700 0:0 /");
    const MergedLayers tree{image(id).layers};
    EXPECT_NE(tree.look("data/c.txt")->inode, 0);
    EXPECT_EQ(tree.look("data/c.txt")->inode, tree.look("data/again")->inode) << "they were one file";
}

TEST_F(BuildTest, CopiesHereDocuments) {
    const Digest id = build(
        "FROM base\nENV WHO=me\nCOPY a <<one.txt <<-'two' /new/\n'$WHO' \\$WHO\none.txt\n\t$WHO\n\ttwo\n"
        "ADD --chown=web:staff --chmod=0700 <<EOF /script\n#!/bin/sh\nEOF\n");
    EXPECT_EQ(look(id, "new/a"), "640 0:0 content of a");
    EXPECT_EQ(look(id, "new/one.txt"), "644 0:0 'me' $WHO\n");
    EXPECT_EQ(look(id, "new/two"), "644 0:0 $WHO\n");
    EXPECT_EQ(look(id, "script"), "700 33:50 #!/bin/sh\n");
    // The cache goes by what they say.
    const std::string file = "FROM base\nCOPY <<EOF /x\n";
    const Digest first = build(file + "one\nEOF\n");
    EXPECT_EQ(build(file + "one\nEOF\n"), first);
    EXPECT_NE(build(file + "two\nEOF\n"), first);
}

TEST_F(BuildTest, RunsHereDocuments) {
    build(
        "FROM base\nRUN <<EOF\necho $A\nEOF\nRUN <<-EOF\n\techo\n\tEOF\nRUN cat <<EOF && cat "
        "<<-'x'\n1\nEOF\n\t2\nx\n"
        "RUN <<EOF\n#!/usr/bin/env  python3 -u\nprint('x')\nEOF\nSHELL [\"bash\", \"-c\"]\nRUN "
        "<<EOF\n#!it's\nEOF\n");
    std::vector<std::string> scripts;
    for (const Commands::Run& run : commands_.runs) {
        scripts.push_back(run.command.back());
    }
    EXPECT_THAT(scripts, ElementsAre("echo $A\n", "echo\n", "cat <<EOF && cat <<-'x'\n1\nEOF\n\t2\nx\n",
                                     "exec '/usr/bin/env' 'python3 -u' /dev/fd/3 3<<'EOF'\n"
                                     "#!/usr/bin/env  python3 -u\nprint('x')\nEOF\n",
                                     "exec 'it'\\''s' /dev/fd/3 3<<'EOF'\n#!it's\nEOF\n"));
    EXPECT_THAT(commands_.runs[0].command, ElementsAre("/bin/sh", "-c", "echo $A\n"));
}

TEST_F(BuildTest, FetchesWhatIsOfTheWeb) {
    const Digest id =
        build("FROM base\nADD http://host/some/x.tar?y#z https://host/b a /new/\nADD http://host/b /c\n");
    EXPECT_THAT(host_.fetched, ElementsAre("http://host/some/x.tar?y#z", "https://host/b", "http://host/b"));
    EXPECT_EQ(look(id, "new/x.tar"), "600 0:0 of the web\n");
    EXPECT_EQ(look(id, "new/b"), "600 0:0 of the web\n");
    EXPECT_EQ(look(id, "new/a"), "640 0:0 content of a");
    EXPECT_EQ(look(id, "c"), "600 0:0 of the web\n");
    EXPECT_EQ(MergedLayers{image(id).layers}.look("c")->entry.mtime, 1'000'000'000);
    // It is fetched each time, and the cache goes by what comes.
    EXPECT_EQ(
        build("FROM base\nADD http://host/some/x.tar?y#z https://host/b a /new/\nADD http://host/b /c\n"),
        id);
    host_.web = TarPart{.name = "inside", .content = "x"}.bytes() + std::string(1024, '\0');
    const Digest other = build("FROM base\nADD http://host/x.tar /new/\n");
    EXPECT_EQ(look(other, "new/inside"), "nothing") << "archives of the web stay whole";
    EXPECT_THAT(look(other, "new/x.tar"), StartsWith("600 0:0 inside"));
}

TEST_F(BuildTest, BuildsTheSameAgainWithASourceDate) {
    const std::string file = "FROM base\nADD http://host/b /new/\nCOPY a /new/\nWORKDIR /w\nRUN x\n";
    const auto with = [](const char* date, bool uses_cache) {
        return BuildOptions{.arguments = {{"SOURCE_DATE_EPOCH", date}}, .uses_cache = uses_cache};
    };
    const Digest id = build(file, with("900000000", false));
    EXPECT_EQ(notes_.all.find("not consumed"), std::string::npos);
    EXPECT_EQ(image(id).config.created, "1998-07-09T16:00:00.000000000Z");
    EXPECT_EQ(MergedLayers{image(id).layers}.look("new/b")->entry.mtime, 900'000'000);
    EXPECT_EQ(commands_.latest, 900'000'000);
    EXPECT_EQ(build(file, with("900000000", false)), id) << "nothing is of when it was built";
    EXPECT_EQ(build(file, with("900000000", true)), id);
    const Digest later = build(file, with("1000000001", true));
    EXPECT_NE(later, id) << "the cache has another date";
    EXPECT_EQ(MergedLayers{image(later).layers}.look("new/b")->entry.mtime, 1'000'000'000);
    EXPECT_EQ(image(build(file, with("0", true))).config.created, "1970-01-01T00:00:00Z");
    EXPECT_EQ(refusal(file, with("today", true)),
              "invalid SOURCE_DATE_EPOCH: \"today\" is no number of seconds since 1970");
    EXPECT_NE(refusal(file, with("99999999999999999", true)), "");
}

TEST_F(BuildTest, NoLinkOfAContextLeadsOut) {
    EXPECT_THAT(
        refusal("FROM base\nCOPY out /x"),
        StartsWith("COPY failed: file not found in build context or excluded by .dockerignore: stat out"));
    EXPECT_EQ(refusal("FROM base\nCOPY ../a /x"),
              "COPY failed: forbidden path outside the build context: ../a ()");
    context_ += TarPart{.name = "../../climbing", .content = "x"}.bytes();
    const Digest id = build("FROM base\nCOPY . /all\nCOPY climbing /");
    EXPECT_EQ(look(id, "all/out"), "-> ../../etc/passwd");
    EXPECT_EQ(look(id, "climbing"), "644 0:0 x");
    // The image's own links stay in the image.
    context_ +=
        TarPart{.name = "tar",
                .content = TarPart{.type = '2', .name = "up", .link = "/etc"}.bytes() +
                           TarPart{.name = "up/shadow", .content = "s"}.bytes() + std::string(1024, '\0')}
            .bytes();
    const Digest unpacked = build("FROM base\nADD tar /x/\nCOPY tar /y/");
    EXPECT_EQ(look(unpacked, "etc/shadow"), "644 0:0 s");
    EXPECT_EQ(look(unpacked, "x/up"), "-> /etc");
    EXPECT_THAT(look(unpacked, "y/tar"), StartsWith("644 0:0 up"));
}

TEST_F(BuildTest, RefusesWhatCannotBeCopied) {
    const std::pair<const char*, const char*> rows[] = {
        {"COPY none /x",
         "COPY failed: file not found in build context or excluded by .dockerignore: stat none: file does "
         "not exist"},
        {"COPY *.none /x/", "COPY failed: no source files were specified"},
        {"COPY a folder /x",
         "When using COPY with more than one source file, the destination must be a directory and end with a "
         "/"},
        {"COPY a /etc/passwd/x", "mkdir /etc/passwd: not a directory"},
        {"COPY --chown=nobody a /x",
         "unable to convert uid/gid chown string to host mapping: can't find uid for user nobody: no such "
         "user: "
         "nobody"},
        {"COPY --from=0 a /x", "invalid from flag value 0: refers to current build stage"},
        {"COPY --from=7 a /x", "invalid from flag value 7: index out of bounds"},
        {"COPY --from=other a /x", "invalid from flag value other: pull access denied for other"},
        {"COPY --from=base none /x", "COPY failed: stat none: file does not exist"},
        {"ADD http://host/none /x", "ADD failed: failed to GET http://host/none with status 404"},
        {"ADD http://host /x", "ADD failed: cannot determine filename from url: http://host"},
        {"COPY http://host/x /x", "COPY failed: source can't be a URL for COPY"},
        {"WORKDIR /etc/passwd", "Cannot mkdir: /etc/passwd is not a directory"},
        {"STOPSIGNAL FOO", "Invalid signal: FOO"},
        {"EXPOSE x", "Invalid containerPort: x"},
        {"EXPOSE 80/ip", "Invalid proto: ip"},
        {"ENV A=${", "failed to process \"${\": syntax error: missing '}'"},
    };
    for (const auto& [line, why] : rows) {
        EXPECT_EQ(refusal(std::string{"FROM base\n"} + line), why) << line;
    }
    context_ += TarPart{.name = ".wh.x", .content = "x"}.bytes();
    EXPECT_THAT(refusal("FROM base\nCOPY .wh.x /data/"), HasSubstr("cannot be in an image"));
}

TEST_F(BuildTest, BuildsStagesAndCopiesFromThem) {
    const Digest id = build(
        "ARG base=base\nFROM $base AS first\nCOPY --chown=9:9 a /made/\nFROM scratch\nCOPY --from=first "
        "/made /made\n"
        "COPY --from=0 /made/a /b\nCOPY --from=base /link/old /old\nFROM 1x\n",
        {.arguments = {}, .target = "1", .labels = {{"k", "v"}}});
    EXPECT_EQ(look(id, "made/a"), "640 9:9 content of a");
    EXPECT_EQ(look(id, "b"), "640 9:9 content of a");
    EXPECT_EQ(look(id, "old"), "644 0:0 old");
    EXPECT_EQ(look(id, "etc/passwd"), "nothing");
    EXPECT_THAT(notes_.all, HasSubstr("Step 8/8 : LABEL k=v\n"));
    EXPECT_EQ(notes_.images.size(), 2);
    const ImageConfig& made = image(id).config;
    EXPECT_THAT(made.environment,
                ElementsAre("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
    EXPECT_EQ(made.layers.size(), 3);
    EXPECT_EQ(refusal("FROM base AS x\nFROM base AS X"), "x stage name already used");
    EXPECT_EQ(refusal("FROM base", {.arguments = {}, .target = "none", .labels = {}}),
              "failed to reach build target none in Dockerfile");
    EXPECT_EQ(refusal("FROM none"), "pull access denied for none");
    EXPECT_EQ(refusal("FROM $none"), "base name ($none) should not be blank");
    EXPECT_THAT(refusal("FROM --platform=linux/other base"), HasSubstr("do not run here"));
    EXPECT_EQ(refusal("FROM scratch"), "No image was generated. Is your Dockerfile empty?");
    EXPECT_THAT(refusal("FROM scratch\nRUN x"), HasSubstr("nothing to run in an empty image"));
}

TEST_F(BuildTest, TakesFromItsCacheWhatDockerWould) {
    const std::string file = "FROM base\nARG v\nCOPY folder /x/\nRUN it\n";
    const auto with = [](const std::string& value) {
        return BuildOptions{.arguments = {{"v", value}}, .target = {}, .labels = {}};
    };
    const Digest first = build(file, with("1"));
    EXPECT_EQ(build(file, with("1")), first);
    EXPECT_EQ(commands_.runs.size(), 1);
    EXPECT_NE(build(file, with("2")), first) << "the command sees another argument";
    EXPECT_EQ(commands_.runs.size(), 2);
    EXPECT_THAT(notes_.all, HasSubstr("COPY folder /x/\n ---> Using cache"));
    // Not by times, but by contents, modes and names.
    const std::string before = context_;
    context_ = before + TarPart{.name = "folder/b.txt",
                                .content = "b",
                                .change = [](std::span<char, 512> header) { header[140] = '7'; }}
                            .bytes();
    EXPECT_EQ(build(file, with("1")), first);
    context_ = before + TarPart{.name = "folder/b.txt", .content = "b", .mode = 0600}.bytes();
    EXPECT_NE(build(file, with("1")), first);
    EXPECT_EQ(commands_.runs.size(), 3);
    context_ = before + TarPart{.name = "folder/b.txt", .content = "B"}.bytes();
    EXPECT_NE(build(file, with("1")), first);
    EXPECT_EQ(commands_.runs.size(), 4);
    context_ = before;
    BuildOptions without = with("1");
    without.uses_cache = false;
    EXPECT_NE(build(file, without), first);
    EXPECT_THAT(notes_.all, Not(HasSubstr("Using cache")));
    // One that is run otherwise is another one, whatever made it.
    EXPECT_EQ(build("FROM base\nENV x=1\nENV y=1"), build("FROM base\nENV x=1\nENV y=1"));
    EXPECT_NE(build("FROM base\nENV x=1\nENV y=1"), build("FROM base\nENV x=2\nENV y=1"));
    // Out of nothing, too.
    const Digest from_nothing = build("FROM scratch\nCOPY a /");
    EXPECT_EQ(build("FROM scratch\nCOPY a /"), from_nothing);
}

TEST_F(BuildTest, CarriesTriggersOut) {
    const Digest parent = build("FROM base\nONBUILD COPY a /triggered\nONBUILD ENV T=1");
    store_.tag(parent.text(), Reference::parse("parent"));
    const Digest id = build("FROM parent\nENV U=2");
    EXPECT_THAT(notes_.all, HasSubstr("# Executing 2 build triggers\n"));
    EXPECT_EQ(look(id, "triggered"), "640 0:0 content of a");
    EXPECT_THAT(image(id).config.environment, testing::IsSupersetOf({"T=1", "U=2"}));
    EXPECT_THAT(image(id).config.triggers, IsEmpty());
}

TEST_F(BuildTest, TellsThatACommandFailedAndKeepsItsContainer) {
    commands_.status = 3;
    const auto fail = [&](BuildOptions options) {
        try {
            build("FROM base\nRUN false", std::move(options));
            ADD_FAILURE() << "it did not fail";
        } catch (const RunFailed& error) {
            EXPECT_EQ(error.status(), 3);
            EXPECT_STREQ(error.what(), "The command '/bin/sh -c false' returned a non-zero code: 3");
        }
    };
    fail({});
    EXPECT_THAT(commands_.removed, IsEmpty());
    fail({.arguments = {}, .target = {}, .labels = {}, .always_removes = true});
    EXPECT_EQ(commands_.removed.size(), 1);
    EXPECT_EQ(store_.count(), 1) << "nothing was made";
    notes_.gives_up = true;
    EXPECT_EQ(refusal("FROM base\nRUN true"), "Build cancelled");
}

TEST_F(BuildTest, TakesWhatACommandHasChanged) {
    commands_.layer = TarPart{.type = '5', .name = "data", .mode = 0750, .uid = 7, .gid = 8}.bytes() +
                      TarPart{.name = "data/.wh.old"}.bytes() +
                      TarPart{.name = "data/new", .content = "new"}.bytes() + std::string(1024, '\0');
    const Digest id = build("FROM base\nRUN it\nCOPY a data/");
    EXPECT_EQ(look(id, "data/old"), "nothing");
    EXPECT_EQ(look(id, "data/new"), "644 0:0 new");
    EXPECT_EQ(look(id, "data/a"), "640 0:0 content of a");
    EXPECT_EQ(look(id, "data"), "750 7:8 /");
    EXPECT_THAT(made_by(id), ElementsAre("/bin/sh -c it", StartsWith("/bin/sh -c #(nop) COPY file:")));
    const MergedLayers tree{image(id).layers};
    EXPECT_THAT(tree.names("data"), ElementsAre("a", "new"));
}

TEST_F(BuildTest, WarnsOfArgumentsThatNothingAskedFor) {
    build("FROM base\nARG used", {.arguments = {{"used", "1"}, {"b", "2"}, {"a", "3"}, {"NO_PROXY", "4"}}});
    EXPECT_THAT(notes_.all, HasSubstr("[Warning] One or more build-args [a b] were not consumed\n"));
}

TEST_F(BuildTest, StepsStayAsParentsAndGoWithTheirImage) {
    const Digest id = build("FROM base\nENV A=1\nENV B=2");
    store_.tag(id.text(), Reference::parse("built"));
    const Digest middle = *image(id).parent;
    EXPECT_TRUE(image(middle).is_parent);
    EXPECT_FALSE(image(id).is_parent);
    EXPECT_EQ(image(middle).parent, store_.find("base")->id);
    EXPECT_THROW(store_.remove(middle.text(), true), Error) << "another one was built of it";
    EXPECT_EQ(store_.remove("base", false).image, std::nullopt) << "only its name goes";
    const Store::Removed removed = store_.remove("built", false, [&](const Digest& image) {
        return image != middle;  // the base is a container's
    });
    EXPECT_EQ(removed.image, id);
    EXPECT_THAT(removed.parents, ElementsAre(middle));
    EXPECT_EQ(store_.count(), 1);
}

TEST_F(BuildTest, RefusesContextsThatAreNone) {
    const auto take = [&](const std::string& archive) {
        const BuildContext context{test::source_of(archive), folder_.path()};
    };
    EXPECT_THROW(take("no archive at all, but long enough to be looked at" + std::string(600, 'x')), Error);
    EXPECT_THROW(take(TarPart{.type = '1', .name = "x", .link = "none"}.bytes() + std::string(1024, '\0')),
                 Error);
    std::string deep;
    for (int depth = 0; depth < 1500; ++depth) {
        deep += "d/";
    }
    EXPECT_THROW(take(TarPart{.type = 'L', .name = "././@LongLink", .content = deep}.bytes() +
                      TarPart{.name = "x"}.bytes() + std::string(1024, '\0')),
                 Error);
    take(test::gzip(context_ + std::string(1024, '\0')));
    EXPECT_TRUE(std::filesystem::exists(folder_.path() / "root"));
    for (const auto& entry : std::filesystem::directory_iterator{folder_.path()}) {
        EXPECT_EQ(entry.path().filename(), "root") << "nothing of a context stays";
    }
}

}  // namespace
}  // namespace hull::container
