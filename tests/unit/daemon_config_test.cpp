// How 'hull daemon' is configured, and how systemd starts it.
#include "container/main/daemon_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <boost/program_options.hpp>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "tests/support/command.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "vmm/main/command_line.h"

namespace hull::container {
namespace {

namespace options = boost::program_options;
using testing::ElementsAre;
using testing::HasSubstr;

class DaemonConfig : public testing::Test {
  protected:
    DaemonConfig() {
        known_.add_options()("socket", options::value<OptionValues>())(
            "mirror", options::value<OptionValues>())("config", options::value<OptionValues>())(
            "rootless", options::value<OptionValues>()->zero_tokens())(
            "help,h", options::value<OptionValues>()->zero_tokens());
    }
    [[nodiscard]] options::variables_map read(const std::vector<std::string>& arguments,
                                              const std::filesystem::path& by_default = {}) const {
        return with_config_file(known_, arguments, read_command_line(known_, arguments, ""), by_default);
    }
    [[nodiscard]] std::string config(const std::string& text) const { return folder_.file("d.json", text); }
    static OptionValues of(const options::variables_map& values, const char* name) {
        return values.count(name) > 0 ? values[name].as<OptionValues>() : OptionValues{"(none)"};
    }

    const test::TemporaryFolder folder_;
    options::options_description known_;
};

TEST_F(DaemonConfig, SaysWhatTheCommandLineDoesNot) {
    const std::string file = config(R"({"socket": "/s", "mirror": ["a", "b"], "rootless": true})");
    auto values = read({"--config", file});
    EXPECT_THAT(of(values, "socket"), ElementsAre("/s"));
    EXPECT_THAT(of(values, "mirror"), ElementsAre("a", "b"));
    EXPECT_EQ(values.count("rootless"), 1U);
    values = read({"--config", file, "--mirror", "c", "--rootless"});
    EXPECT_THAT(of(values, "socket"), ElementsAre("/s"));
    EXPECT_THAT(of(values, "mirror"), ElementsAre("c")) << "all of an option is the command line's, or none";
    values = read({}, config(R"({"rootless": false, "socket": "--socket=x"})"));
    EXPECT_EQ(values.count("rootless"), 0U);
    EXPECT_THAT(of(values, "socket"), ElementsAre("--socket=x"));
    EXPECT_THAT(of(read({}, folder_.path() / "none"), "socket"), ElementsAre("(none)"));
    EXPECT_THAT(of(read({}), "socket"), ElementsAre("(none)"));
}

TEST_F(DaemonConfig, IsRefusedWhereItMakesNoSense) {
    const struct {
        const char* text;
        const char* says;
    } rows[] = {
        {R"({"sockets": "/s"})", "'sockets' is nothing that can be set there"},
        {R"({"sock": "/s"})", "'sock' is nothing that can be set there"},
        {R"({"--socket": "/s"})", "'--socket' is nothing"},
        {R"({"": "/s"})", "'' is nothing"},
        {R"({"h": true})", "'h' is nothing"},
        {R"({"help": true})", "'help' is nothing"},
        {R"({"config": "/s"})", "'config' is nothing"},
        {R"({"rootless": "yes"})", "'rootless' is neither true nor false"},
        {R"({"socket": "/s", "socket": "/t"})", "line 1: 'socket' comes twice"},
        {"{\"socket\":\n {}}", "line 2: an object inside"},
        {"[]", "not a JSON object"},
        {"", "it ends in the middle"},
    };
    for (const auto& row : rows) {
        test::expect_error(
            [&] {
                return read({"--config", config(row.text)});
            },
            ExitStatus::usage, {row.says});
    }
    test::expect_error(
        [&] {
            return read({"--config", folder_.path() / "none"});
        },
        ExitStatus::bad_file, {"none"});
    test::expect_error(
        [&] {
            return read({"--config", "a", "--config", "b"});
        },
        ExitStatus::usage, {"--config more than once"});
}

TEST_F(DaemonConfig, ADaemonReadsIt) {
    const auto begin = [&](const std::string& text, const std::string& more = "") {
        return test::run_command(std::string{HULL_PROGRAM} + " daemon --data-root " +
                                 (folder_.path() / "root").string() + " --config " + config(text) + more);
    };
    test::Ran ran = begin(R"({"socket": "/no/such/folder/sock"})");
    EXPECT_NE(ran.status, 0);
    EXPECT_THAT(ran.out, HasSubstr("/no/such/folder/sock"));
    EXPECT_THAT(begin(R"({"hosts": ["x"]})").out, HasSubstr("'hosts' is nothing that can be set there"));
    if (geteuid() == 0) {
        EXPECT_THAT(begin(R"({"rootless": true})").out, HasSubstr("root has started it"));
        EXPECT_EQ(begin("{}", " --rootless").status, 2);
    }
}

TEST(DaemonService, IsOneForSystemd) {
    const std::string folder = HULL_SOURCE_DIR "/container/main";
    std::string unit = test::contents_of(folder + "/hull.service.in");
    const std::string place = "@CMAKE_INSTALL_FULL_BINDIR@/hull";
    ASSERT_THAT(unit, HasSubstr("ExecStart=" + place + " daemon"));
    EXPECT_THAT(unit, HasSubstr("\nKillMode=process\n")) << "supervisors live on";
    EXPECT_THAT(unit, HasSubstr("\nDelegate=yes\n"));
    // The group that it names is the one that is made.
    EXPECT_THAT(unit, HasSubstr(" --group hull\n"));
    EXPECT_THAT(test::contents_of(folder + "/hull.sysusers"), HasSubstr("\ng hull -\n"));
    if (test::run_command("systemd-analyze --version").status != 0) {
        GTEST_SKIP() << "there is no systemd-analyze";
    }
    unit.replace(unit.find(place), place.size(), HULL_PROGRAM);
    const test::TemporaryFolder made;
    const std::string file = made.file("hull.service", unit);
    const test::Ran ran = test::run_command("systemd-analyze verify --man=no " + file);
    EXPECT_EQ(ran.status, 0);
    EXPECT_EQ(ran.out, "");
}

}  // namespace
}  // namespace hull::container
