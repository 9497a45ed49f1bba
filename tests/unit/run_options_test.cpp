// The command line of `hull run`.
#include "container/main/run_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "tests/support/errors.h"
#include "tests/support/files.h"

namespace hull::container {
namespace {

using test::expect_error;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Words = std::vector<std::string>;

TEST(RunOptions, OptionsEndAtTheImage) {
    const RunOptions run =
        parse_run_options({"-it", "-eA=b", "--env", "C=d", "-w", "/w", "image", "-e", "x", "--", "--rm"});
    EXPECT_EQ(run.image, "image");
    EXPECT_TRUE(run.config.has_input);
    EXPECT_TRUE(run.config.tty);
    EXPECT_THAT(run.overrides.environment, ElementsAre("A=b", "C=d"));
    EXPECT_EQ(run.overrides.working_folder, "/w");
    EXPECT_THAT(run.overrides.command, ElementsAre("-e", "x", "--", "--rm"));
    EXPECT_THAT(parse_run_options({"--rm", "image"}).overrides.command, IsEmpty());
    EXPECT_EQ(parse_run_options({"-ti", "-u", "5", "--name=n0", "image", "-t"}).overrides.user, "5");
    EXPECT_EQ(parse_run_options({"-tie", "A=b", "image"}).image, "image");
    EXPECT_TRUE(parse_run_options({"--help"}).help);
}

TEST(RunOptions, SayWhatDockersSay) {
    const RunOptions run = parse_run_options({"-h",
                                              "name",
                                              "-m",
                                              "64m",
                                              "--cpus",
                                              "1.5",
                                              "--pids-limit",
                                              "9",
                                              "-p",
                                              "8080:80",
                                              "-p",
                                              "127.0.0.1:5:6/udp",
                                              "-p",
                                              "1:2/tcp",
                                              "--init",
                                              "--read-only",
                                              "--tmpfs",
                                              "/run:size=1m",
                                              "--ulimit",
                                              "core=1",
                                              "--ulimit",
                                              "core=0",
                                              "--cap-drop",
                                              "ALL",
                                              "--entrypoint",
                                              "",
                                              "--security-opt",
                                              "no-new-privileges",
                                              "--add-host",
                                              "db:10.0.0.1",
                                              "--jail",
                                              "strict",
                                              "image"});
    EXPECT_EQ(run.config.host_name, "name");
    EXPECT_EQ(run.config.group.memory, uint64_t{64} << 20);
    EXPECT_EQ(run.config.group.cpus, 1.5);
    EXPECT_EQ(run.config.group.processes, 9U);
    EXPECT_THAT(run.ports, ElementsAre("0.0.0.0:8080:80", "127.0.0.1:5:6/udp", "0.0.0.0:1:2"));
    EXPECT_TRUE(run.config.has_init);
    EXPECT_TRUE(run.config.is_read_only);
    EXPECT_TRUE(run.config.no_new_privileges);
    EXPECT_EQ(run.config.tmpfs.at(0).options, "size=1m");
    ASSERT_EQ(run.config.limits.size(), 1U) << "the last of a name counts";
    EXPECT_EQ(run.config.limits.at(0).soft, 0U);
    EXPECT_EQ(run.config.capabilities, 0U);
    EXPECT_EQ(run.overrides.entrypoint, std::vector<std::string>{""});
    EXPECT_THAT(run.config.extra_hosts, ElementsAre("10.0.0.1\tdb"));
    EXPECT_THAT(run.jail_words, ElementsAre("--jail", "strict"));
    EXPECT_EQ(parse_run_options({"-m", "8388608", "i"}).config.group.memory, uint64_t{8} << 20) << "bytes";
    EXPECT_EQ(parse_run_options({"-m", "8388608b", "i"}).config.group.memory, uint64_t{8} << 20);
    EXPECT_FALSE(parse_run_options({"--network", "none", "i"}).config.has_network);
}

TEST(RunOptions, VariablesAreGivenReadAndHandedOn) {
    const test::TemporaryFolder folder;
    const std::string file = folder.path() / "variables";
    std::ofstream{file} << "# a comment\n\nA=file=1\n  B=file\nHULL_TEST_OWN\n";
    setenv("HULL_TEST_OWN", "own", 1);
    unsetenv("HULL_TEST_OTHER");
    EXPECT_THAT(parse_run_options({"-e", "A=option", "-e", "HULL_TEST_OTHER", "--env-file", file, "i"})
                    .overrides.environment,
                ElementsAre("A=file=1", "B=file", "HULL_TEST_OWN=own", "A=option", "HULL_TEST_OTHER"));
    unsetenv("HULL_TEST_OWN");
    std::ofstream{file} << "A B=c\n";
    expect_error([&] { parse_run_options({"--env-file", file, "i"}); }, ExitStatus::usage, {"--env-file"});
    expect_error(
        [&] {
            parse_run_options({"--env-file", "/nowhere", "i"});
        },
        ExitStatus::bad_file, {"/nowhere"});
}

TEST(RunOptions, WrongFormsAreRefused) {
    const struct {
        Words words;
        std::string says;
    } rows[] = {
        {{}, "no image is named"},
        {{"-it"}, "no image is named"},
        {{"--detach", "i"}, "detach"},
        {{"-v", "/a:/b", "i"}, "'-v'"},
        {{"--network", "host", "i"}, "neither user nor none"},
        {{"--network", "none", "--net", "none", "i"}, "they mean the same"},
        {{"--network", "none", "-p", "1:2", "i"}, "--network none has none"},
        {{"-p", "80", "i"}, "--publish"},
        {{"-p", "80-90:80-90", "i"}, "--publish"},
        {{"-p", "0:80", "i"}, "--publish"},
        {{"-p", "1:2,restrict", "i"}, "--publish"},
        {{"-p", "[::1]:1:2", "i"}, "--publish"},
        {{"-p", "1:2/sctp", "i"}, "--publish"},
        {{"-w", "relative", "i"}, "--workdir"},
        {{"-e", "", "i"}, "a variable has a name"},
        {{"-e", "=x", "i"}, "a variable has a name"},
        {{"-m", "5m", "i"}, "less than 6m"},
        {{"-m", "x", "i"}, "--memory"},
        {{"-m", "-1", "i"}, "--memory"},
        {{"--cpus", "0", "i"}, "--cpus"},
        {{"--cpus", "nan", "i"}, "--cpus"},
        {{"--cpus", "1x", "i"}, "--cpus"},
        {{"--pids-limit", "0", "i"}, "--pids-limit"},
        {{"--name", "x", "i"}, "--name"},
        {{"--name", "../x", "i"}, "--name"},
        {{"--hostname", "a b", "i"}, "--hostname"},
        {{"--add-host", "db", "i"}, "--add-host"},
        {{"--security-opt", "seccomp=x", "i"}, "only no-new-privileges"},
        {{"--cap-add", "EVERYTHING", "i"}, "no such capability"},
        {{"--jail", "loose", "i"}, "--jail"},
        {{"-w", "/a", "-w", "/b", "i"}, "more than once"},
        {{"--tty", "-t", "i"}, "more than once"},
        {{"--memory"}, "memory"},
    };
    for (const auto& row : rows) {
        expect_error([&] { parse_run_options(row.words); }, ExitStatus::usage, {row.says});
    }
}

TEST(RunOptions, HelpManualAndCompletionKnowTheSameOptions) {
    const std::string source = HULL_SOURCE_DIR;
    const std::string manual = test::contents_of(source + "/vmm/main/hull.1");
    const std::string completion = test::contents_of(source + "/vmm/main/completion.bash");
    const std::string help = run_help();
    size_t count = 0;
    for (size_t at = 0; (at = help.find("--", at)) != std::string::npos;) {
        size_t end = at + 2;
        while (end < help.size() &&
               (std::islower(static_cast<unsigned char>(help[end])) != 0 || help[end] == '-')) {
            ++end;
        }
        const std::string name = help.substr(at + 2, end - at - 2);
        at = end;
        if (name.empty()) {
            continue;
        }
        ++count;
        EXPECT_THAT(completion, HasSubstr("--" + name)) << name;
        std::string escaped;
        for (const char byte : name) {
            escaped += byte == '-' ? "\\-" : std::string{byte};
        }
        EXPECT_THAT(manual, HasSubstr("\\-\\-" + escaped)) << name;
    }
    EXPECT_GT(count, 25U);
}

}  // namespace
}  // namespace hull::container
