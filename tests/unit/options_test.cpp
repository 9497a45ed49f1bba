#include "vmm/main/options.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "vmm/main/host_check.h"

namespace hull {
namespace {

using namespace std::chrono_literals;
using test::expect_error;
using Words = std::vector<std::string>;

/// With a cache folder of its own, which has nothing in it yet.
class OptionsTest : public testing::Test {
  protected:
    OptionsTest() { setenv("HULL_CACHE", folder_.path().c_str(), 1); }
    ~OptionsTest() override { unsetenv("HULL_CACHE"); }

    static MachineConfig parse(const Words& words) { return parse_boot_options(words).config; }
    std::string config_file(const std::string& text) { return folder_.file("machine.json", text).string(); }

    const test::TemporaryFolder folder_;
};

TEST_F(OptionsTest, EveryOptionReachesItsPlace) {
    const MachineConfig config = parse({"--kernel",      "k",         "--initramfs",    "a",
                                        "--initramfs=b", "--cmdline", "x y=\"z\"",      "--cpus=3",
                                        "--memory",      "1G",        "--platform",     "fdt",
                                        "--hugepages",   "--disk",    "a,readonly",     "--disk=b",
                                        "--rng",         "--console", "none",           "--stop-timeout",
                                        "2.5",           "--net",     "tap=t",          "--timing",
                                        "--bus",         "mmio",      "--vsock",        "cid=7,socket=s",
                                        "--port",        "p,file=f",  "--port=q,pipe=g"});
    ASSERT_EQ(config.ports.size(), 2U);
    EXPECT_EQ(config.ports[0].text(), "p,file=f");
    EXPECT_EQ(config.ports[1].text(), "q,pipe=g");
    EXPECT_EQ(config.kernel, "k");
    EXPECT_EQ(config.initramfs, (std::vector<std::filesystem::path>{"a", "b"}));
    EXPECT_EQ(config.cmdline, "x y=\"z\"");
    EXPECT_FALSE(config.cmdline_raw);
    EXPECT_EQ(config.cpus, 3U);
    EXPECT_EQ(config.memory, 1ULL << 30);
    EXPECT_EQ(config.platform, boot::PlatformTables::fdt);
    EXPECT_EQ(config.bus, VirtioBus::mmio);
    EXPECT_TRUE(config.hugepages);
    ASSERT_EQ(config.disks.size(), 2U);
    EXPECT_EQ(config.disks[0].text(), "a,readonly");
    EXPECT_EQ(config.disks[1].path, "b");
    ASSERT_EQ(config.nets.size(), 1U);
    EXPECT_EQ(config.nets[0].tap, "t");
    ASSERT_TRUE(config.vsock);
    EXPECT_EQ(config.vsock->text(), "cid=7,socket=s");
    EXPECT_TRUE(config.rng);
    EXPECT_EQ(config.console.kind, ConsoleConfig::Kind::none);
    EXPECT_EQ(config.stop_timeout, 2500ms);
    EXPECT_TRUE(config.timing);
    EXPECT_EQ(parse({"--cmdline-raw", "r"}).cmdline_raw, "r");
}

TEST_F(OptionsTest, NothingGivenIsTheDefaultMachine) {
    const BootOptions options = parse_boot_options({});
    EXPECT_FALSE(options.help);
    EXPECT_FALSE(options.dry_run);
    EXPECT_EQ(options.config.to_json(), MachineConfig{}.to_json());
    EXPECT_TRUE(parse_boot_options({"--help"}).help);
    EXPECT_TRUE(parse_boot_options({"-h"}).help);
    EXPECT_TRUE(parse_boot_options({"--dry-run"}).dry_run);
}

TEST_F(OptionsTest, EachFaultOnTheCommandLineIsTold) {
    struct Row {
        Words words;
        std::initializer_list<std::string_view> told;
    };
    const std::vector<Row> rows = {
        {{"--colour"}, {"--colour", "hull boot --help"}},
        {{"-x"}, {"-x"}},
        {{"--ker", "k"}, {"--ker"}},  // no guessing: a later option could make it ambiguous
        {{"vmlinuz"}, {"vmlinuz"}},
        {{"--kernel", "k", "more"}, {"more"}},
        {{"--kernel"}, {"--kernel", "missing"}},
        {{"--kernel="}, {"--kernel"}},
        {{"--a%canonical_option%"}, {"--a%canonical_option%"}},  // of which Boost's message has no end
        {{"-%option%=1"}, {"-%"}},
        {{"--a=%canonical_option%"}, {"--a"}},
        {{"--hugepages=%canonical_option%%option%%value%"}, {"--hugepages"}},
        {{"%canonical_option%"}, {"%canonical_option%"}},
        {{"--cpus", "1", "--cpus", "2"}, {"--cpus more than once"}},
        {{"--cpus", "1", "--cpus", "1"}, {"--cpus more than once"}},
        {{"--kernel", "a", "--kernel", "b"}, {"--kernel more than once"}},
        {{"--hugepages", "--hugepages"}, {"--hugepages", "more than once"}},
        {{"--timing", "--timing"}, {"--timing", "more than once"}},
        {{"--dry-run", "--dry-run"}, {"--dry-run", "more than once"}},
        {{"--config", "a", "--config", "b"}, {"--config more than once"}},
        {{"--hugepages=yes"}, {"--hugepages"}},
        {{"--cpus", "0"}, {"--cpus '0'", "1 to 254"}},
        {{"--memory", "lots"}, {"--memory 'lots'"}},
        {{"--platform", "pc"}, {"--platform 'pc'"}},
        {{"--cpu-quota", "0"}, {"--cpu-quota '0'"}},
        {{"--memory-limit", "1M"}, {"--memory-limit '1M'", "16M"}},
        {{"--pids-limit", "0"}, {"--pids-limit '0'"}},
        {{"--io-limit", "bps=1M"}, {"--io-limit 'bps=1M'", "rbps="}},
        {{"--bus", "isa"}, {"--bus 'isa'", "neither mmio nor pci"}},
        {{"--console", "tv"}, {"--console 'tv'"}},
        {{"--stop-timeout", "soon"}, {"--stop-timeout 'soon'"}},
        {{"--cmdline", "a", "--cmdline-raw", "b"}, {"--cmdline and --cmdline-raw together"}},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(testing::PrintToString(row.words));
        expect_error([&] { parse_boot_options(row.words); }, ExitStatus::usage, row.told);
    }
}

TEST_F(OptionsTest, AConfigurationFileHasTheSameKeys) {
    const std::string path = config_file(R"({
        "kernel": "k", "initramfs": ["a", "b"], "cmdline": "x", "cpus": 3, "memory": "64M", "platform": "fdt", "bus": "mmio",
        "hugepages": true, "disk": ["d,queues=2", "e"], "net": "tap=t", "rng": true, "console": "file:/c", "port": ["p,socket=s"], "stop-timeout": 0.5, "timing": true
    })");
    const MachineConfig config = parse({"--config", path});
    EXPECT_EQ(config.kernel, "k");
    EXPECT_EQ(config.initramfs.size(), 2U);
    EXPECT_EQ(config.cmdline, "x");
    EXPECT_EQ(config.cpus, 3U);
    EXPECT_EQ(config.memory, 64ULL << 20);
    EXPECT_EQ(config.platform, boot::PlatformTables::fdt);
    EXPECT_EQ(config.bus, VirtioBus::mmio);
    EXPECT_TRUE(config.hugepages);
    ASSERT_EQ(config.disks.size(), 2U);
    EXPECT_EQ(config.disks[0].queues, 2U);
    ASSERT_EQ(config.nets.size(), 1U);
    EXPECT_TRUE(config.rng);
    EXPECT_EQ(config.console.path, "/c");
    ASSERT_EQ(config.ports.size(), 1U);
    EXPECT_EQ(config.ports[0].kind, PortConfig::Kind::socket);
    EXPECT_EQ(config.stop_timeout, 500ms);
    EXPECT_TRUE(config.timing);
    // One text in the place of a list, and a number of MiB.
    const MachineConfig other = parse({"--config", config_file(R"({"initramfs": "one", "memory": 128})")});
    EXPECT_EQ(other.initramfs.size(), 1U);
    EXPECT_EQ(other.memory, 128ULL << 20);
}

TEST_F(OptionsTest, TheCommandLineWinsWhereverItStands) {
    const std::string path = config_file(
        R"({"kernel": "k", "initramfs": ["a", "b"], "cmdline-raw": "raw", "cpus": 3, "timing": false})");
    for (const Words& words :
         {Words{"--config", path, "--cpus", "2", "--initramfs", "c", "--cmdline", "more", "--timing"},
          Words{"--cpus", "2", "--initramfs", "c", "--timing", "--cmdline", "more", "--config", path}}) {
        const MachineConfig config = parse(words);
        EXPECT_EQ(config.kernel, "k");
        EXPECT_EQ(config.cpus, 2U);
        EXPECT_EQ(config.initramfs, std::vector<std::filesystem::path>{"c"});
        EXPECT_EQ(config.cmdline, "more");
        EXPECT_FALSE(config.cmdline_raw) << "the file's command line is replaced, whichever kind it is";
        EXPECT_TRUE(config.timing);
    }
}

TEST_F(OptionsTest, EachFaultInAConfigurationFileIsTold) {
    struct Row {
        const char* text;
        std::initializer_list<std::string_view> told;
    };
    const std::vector<Row> rows = {
        {R"({"colour": "red"})", {"machine.json", "'colour' is not an option"}},
        {R"({"config": "x"})", {"machine.json", "'config' is not an option"}},
        {R"({"help": true})", {"machine.json", "'help' is not an option"}},
        {R"({"kernel": ["a", "b"]})", {"kernel more than once"}},
        {R"({"cpus": "many"})", {"--cpus 'many'"}},
        {R"({"cpus": 1.5})", {"--cpus '1.5'"}},
        {R"({"hugepages": "perhaps"})", {"hugepages 'perhaps'", "neither true nor false"}},
        {R"({"cmdline": "a", "cmdline-raw": "b"})", {"both 'cmdline' and 'cmdline-raw'"}},
        {"{\n\"cpus\": }", {"machine.json", "line 2"}},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.text);
        const std::string path = config_file(row.text);
        expect_error([&] { parse_boot_options({"--config", path}); }, ExitStatus::usage, row.told);
    }
    expect_error(
        [&] {
            parse_boot_options({"--config", folder_.path() / "none"});
        },
        ExitStatus::bad_file, {"configuration file", "No such file"});
    const std::string large = config_file(std::string(2 << 20, ' '));
    expect_error([&] { parse_boot_options({"--config", large}); }, ExitStatus::usage, {"larger than 1 MiB"});
}

TEST_F(OptionsTest, WhatADryRunPrintsMakesTheSameMachine) {
    const std::vector<Words> machines = {
        {},
        {"--kernel", "k \"q\"", "--initramfs", "a", "--initramfs", "b c", "--cpus", "254", "--memory",
         "1025M"},
        {"--cmdline", "x y", "--platform", "fdt", "--hugepages", "--rng", "--console", "file:/o",
         "--stop-timeout", "0.001"},
        {"--disk", "a,,b,id=x,,y,readonly,direct,queues=64", "--disk", "c"},
        {"--share", "tag=a,path=/b,,c,readonly", "--share", "tag=d,path=e", "--disk", "socket=s,queues=2"},
        {"--bus", "mmio", "--net", "tap=a", "--net", "tap=b,mac=02:00:00:00:00:01"},
        {"--bus", "pci", "--vsock", "cid=3,socket=/a,,b"},
        {"--bus", "pci", "--console", "virtio", "--port", "p,file=a,,b", "--port", "q,pipe=c"},
        {"--cpu-quota", "0.75", "--memory-limit", "600M", "--pids-limit", "50", "--io-limit",
         "riops=3,wbps=1M", "--disk", "d"},
        {"--cmdline-raw", "", "--timing", "--console", "none", "--memory", "5G"},
    };
    for (const Words& words : machines) {
        const std::string json = parse(words).to_json();
        EXPECT_EQ(parse({"--config", config_file(json)}).to_json(), json);
    }
}

TEST_F(OptionsTest, AFetchedKernelIsFilledIn) {
    EXPECT_TRUE(parse({}).kernel.empty());
    const auto kernel = folder_.file("guest/debian/vmlinuz", "x");
    EXPECT_EQ(parse({}).kernel, kernel);
    EXPECT_TRUE(parse({}).initramfs.empty());
    const auto initramfs = folder_.file("guest/initramfs-debian", "x");
    EXPECT_EQ(parse({}).initramfs, std::vector{initramfs});
    EXPECT_EQ(parse({"--initramfs", "mine"}).initramfs, std::vector<std::filesystem::path>{"mine"});
    const MachineConfig own = parse({"--kernel", "mine"});
    EXPECT_EQ(own.kernel, "mine");
    EXPECT_TRUE(own.initramfs.empty()) << "the fetched initramfs holds the fetched kernel's modules";
}

TEST_F(OptionsTest, TheHelpNamesEveryOption) {
    const std::string help = boot_help();
    for (const char* option :
         {"--kernel",     "--initramfs", "--cmdline",      "--cmdline-raw", "--cpus",      "--memory",
          "--platform",   "--bus",       "--hugepages",    "--disk",        "--net",       "--share",
          "--vsock",      "--rng",       "--console",      "--port",        "--cpu-quota", "--memory-limit",
          "--pids-limit", "--io-limit",  "--stop-timeout", "--config",      "--timing",    "--dry-run",
          "--help",       "--jail",      "--jail-without", "--jail-user"}) {
        EXPECT_NE(help.find(option), std::string::npos) << option;
    }
}

TEST(HostCheck, RefusesWhatItDoesNotKnow) {
    expect_error([] { run_check({"--loud"}); }, ExitStatus::usage, {"'--loud'", "hull check --help"});
    expect_error([] { run_check({"--quiet", "more"}); }, ExitStatus::usage, {"'more'"});
}

}  // namespace
}  // namespace hull
