// The command line of `hull sandbox`, and what it shows of the host.
#include "vmm/main/sandbox_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "tests/support/errors.h"
#include "vmm/main/system_folders.h"

namespace hull {
namespace {

using Words = std::vector<std::string>;

TEST(SandboxOptions, AreRead) {
    const SandboxOptions plain = parse_sandbox_options({"--kernel", "k", "--", "ls", "--help", "--", "-x"});
    EXPECT_EQ(plain.command, (Words{"ls", "--help", "--", "-x"}));
    EXPECT_FALSE(plain.help);
    EXPECT_FALSE(plain.user_net);
    EXPECT_FALSE(plain.timeout);
    EXPECT_FALSE(plain.tty);
    EXPECT_TRUE(plain.out.empty());
    EXPECT_EQ(plain.out_limit, uint64_t{1} << 30);
    const SandboxOptions full = parse_sandbox_options(
        {"--in",        "a",   "--in=b", "--out", "c",        "--out-limit", "5M",    "--net",    "user",
         "--timeout",   "1.5", "--cpus", "3",     "--memory", "1G",          "--tty", "--kernel", "k",
         "--initramfs", "i",   "--",     "x"});
    EXPECT_EQ(full.in, (std::vector<std::filesystem::path>{"a", "b"}));
    EXPECT_EQ(full.out, "c");
    EXPECT_EQ(full.out_limit, uint64_t{5} << 20);
    EXPECT_TRUE(full.user_net);
    EXPECT_EQ(full.timeout, std::chrono::milliseconds{1500});
    EXPECT_EQ(full.cpus, 3U);
    EXPECT_EQ(full.memory, uint64_t{1} << 30);
    EXPECT_TRUE(full.tty);
    EXPECT_EQ(full.kernel, "k");
    EXPECT_EQ(full.initramfs, "i");
    EXPECT_TRUE(plain.image.empty());
    EXPECT_EQ(parse_sandbox_options({"--image", "r.tar", "--kernel", "k", "--", "x"}).image, "r.tar");
    const SandboxOptions allowing = parse_sandbox_options(
        {"--allow", "10.1.2.3:80", "--allow", "127.0.0.1:65535", "--kernel", "k", "--", "x"});
    ASSERT_EQ(allowing.allowed.size(), 2U);
    EXPECT_EQ(allowing.allowed[0].host, "10.1.2.3");
    EXPECT_EQ(allowing.allowed[0].address, 0x0a010203U);
    EXPECT_EQ(allowing.allowed[0].port, 80);
    EXPECT_EQ(allowing.allowed[1].port, 65535);
    const SandboxOptions named =
        parse_sandbox_options({"--allow", "localhost:1", "--kernel", "k", "--", "x"});
    EXPECT_EQ(named.allowed.at(0).address, 0x7f000001U);
    test::expect_error(
        [] {
            parse_sandbox_options({"--allow", "no-such-name.invalid:1", "--", "x"});
        },
        ExitStatus::no_resources, {"no-such-name.invalid", "no IPv4 address"});
    EXPECT_TRUE(parse_sandbox_options({"--help"}).help);
    EXPECT_THAT(sandbox_help(), testing::HasSubstr("--out-limit"));
}

TEST(SandboxOptions, WrongFormsAreTold) {
    const struct {
        Words words;
        std::initializer_list<std::string_view> told;
    } rows[] = {
        {{}, {"no command stands behind"}},
        {{"--cpus", "1", "--"}, {"no command stands behind"}},
        {{"ls"}, {"'ls'", "belongs to no option"}},
        {{"--net", "tap=x", "--", "ls"}, {"tap=x", "neither none nor user"}},
        {{"--net", "none", "--net", "user", "--", "ls"}, {"--net", "more than once"}},
        {{"--allow", "host", "--", "ls"}, {"--allow", "it is not HOST:PORT"}},
        {{"--allow", ":80", "--", "ls"}, {"--allow", "it is not HOST:PORT"}},
        {{"--allow", "[::1]:80", "--", "ls"}, {"--allow", "it is not HOST:PORT"}},
        {{"--allow", "10.0.0.1:0", "--", "ls"}, {"--allow"}},
        {{"--allow", "10.0.0.1:65536", "--", "ls"}, {"--allow"}},
        {{"--allow", "10.0.0.1:80", "--net", "user", "--", "ls"}, {"--allow", "allows everything"}},
        {{"--timeout", "-1", "--", "ls"}, {"--timeout"}},
        {{"--cpus", "0", "--", "ls"}, {"--cpus"}},
        {{"--memory", "x", "--", "ls"}, {"--memory"}},
        {{"--out", "", "--", "ls"}, {"--out", "names no folder"}},
        {{"--image", "", "--", "ls"}, {"--image", "names no file"}},
        {{"--image", "a", "--image", "b", "--", "ls"}, {"--image", "more than once"}},
        {{"--out-limit", "x", "--", "ls"}, {"--out-limit"}},
        {{"--tty", "--tty", "--", "ls"}, {"--tty", "more than once"}},
        {{"--disk", "x", "--", "ls"}, {"--disk"}},
        {{"--in"}, {"--in"}},
    };
    for (const auto& row : rows) {
        SCOPED_TRACE(testing::PrintToString(row.words));
        test::expect_error([&] { parse_sandbox_options(row.words); }, ExitStatus::usage, row.told);
    }
}

TEST(SystemFolders, HaveProgramsAndNoSecrets) {
    std::set<std::string> places;
    for (const ViewConfig::Part& part : system_parts()) {
        EXPECT_EQ(part.source, "/" + part.place);
        EXPECT_TRUE(places.insert(part.place).second) << part.place;
    }
    EXPECT_TRUE(places.contains("usr"));
    EXPECT_TRUE(places.contains("etc/passwd"));
    for (const std::string secret :
         {"etc", "etc/shadow", "etc/gshadow", "etc/ssh", "etc/ssl", "etc/ssl/private", "etc/sudoers", "home",
          "root", "var", "run", "tmp", "proc", "sys", "dev", "mnt", "srv", "boot", "opt"}) {
        EXPECT_FALSE(places.contains(secret)) << secret;
    }
    EXPECT_TRUE(is_in_system_folder("/usr/bin/true"));
    EXPECT_FALSE(is_in_system_folder("/usrx/bin"));
    EXPECT_FALSE(is_in_system_folder("/etc/passwd"));
    EXPECT_FALSE(is_in_system_folder("/"));
}

}  // namespace
}  // namespace hull
