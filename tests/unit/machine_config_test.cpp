#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "tests/support/errors.h"
#include "vmm/arch/arch.h"
#include "vmm/machine/config.h"
#include "vmm/machine/option_text.h"
#include "vmm/main/config_file.h"

namespace hull {
namespace {

using namespace std::chrono_literals;
using test::expect_error;

TEST(MemorySize, IsReadWithItsUnit) {
    struct Row {
        const char* text;
        uint64_t bytes;
    };
    const std::vector<Row> rows = {
        {"512", 512ULL << 20},
        {"512M", 512ULL << 20},
        {"512m", 512ULL << 20},
        {"2G", 2ULL << 30},
        {"2GiB", 2ULL << 30},
        {"2gb", 2ULL << 30},
        {"16384K", 16ULL << 20},
        {"16384kib", 16ULL << 20},
        {"0", 0},
        {"007M", 7ULL << 20},
        {"17179869183G", ((1ULL << 34) - 1) << 30},
    };
    for (const Row& row : rows) {
        EXPECT_EQ(parse_memory_size(row.text, "--memory"), row.bytes) << row.text;
    }
}

TEST(MemorySize, OtherTextsAreRefused) {
    for (const char* text : {"", " ", "M", "-1M", "+1M", "1.5G", "1 G", "1G ", "1T", "1B", "1iB", "1GG",
                             "1KiBB", "0x10M", "ten", "99999999999999999999999", "1\nM"}) {
        SCOPED_TRACE(text);
        const auto error = test::error_of([&] { parse_memory_size(text, "--memory"); });
        ASSERT_TRUE(error);
        EXPECT_EQ(error->status(), ExitStatus::usage);
        EXPECT_NE(std::string{error->what()}.find("it is not a size; write for example 512M or 2G"),
                  std::string::npos)
            << error->what();
    }
    expect_error([] { parse_memory_size("17179869184G", "--memory"); }, ExitStatus::usage,
                 {"--memory '17179869184G'", "more than a processor can address"});
}

TEST(MemorySize, IsWrittenAsItIsRead) {
    EXPECT_EQ(memory_size_text(512ULL << 20), "512M");
    EXPECT_EQ(memory_size_text(5ULL << 30), "5G");
    EXPECT_EQ(memory_size_text(1025ULL << 20), "1025M");
    for (const uint64_t mib : {16ULL, 100ULL, 1024ULL, 3073ULL}) {
        EXPECT_EQ(parse_memory_size(memory_size_text(mib << 20), "--memory"), mib << 20);
    }
}

TEST(Seconds, AreReadWithAFraction) {
    EXPECT_EQ(parse_seconds("10", "--stop-timeout"), 10s);
    EXPECT_EQ(parse_seconds("0", "--stop-timeout"), 0s);
    EXPECT_EQ(parse_seconds("0.25", "--stop-timeout"), 250ms);
    EXPECT_EQ(parse_seconds("86400", "--stop-timeout"), 24h);
    for (const char* text : {"", "x", "-1", "86401", "1s", "nan", "inf", "1e9", "0x10", " 1", "1 "}) {
        SCOPED_TRACE(text);
        expect_error([&] { parse_seconds(text, "--stop-timeout"); }, ExitStatus::usage,
                     {"--stop-timeout", "it is not a number of seconds from 0 to 86400"});
    }
}

TEST(Number, IsWholeAndInItsRange) {
    EXPECT_EQ(parse_number("1", "--cpus", 1, 254), 1U);
    EXPECT_EQ(parse_number("254", "--cpus", 1, 254), 254U);
    for (const char* text :
         {"", "0", "255", "-1", "+1", "1.0", "2x", "two", "4294967297", "99999999999", " 1"}) {
        SCOPED_TRACE(text);
        expect_error([&] { parse_number(text, "--cpus", 1, 254); }, ExitStatus::usage,
                     {"--cpus", "it is not a whole number from 1 to 254"});
    }
}

TEST(Console, IsOneOfThreeByEitherPort) {
    EXPECT_EQ(ConsoleConfig::parse("stdio").kind, ConsoleConfig::Kind::stdio);
    EXPECT_EQ(ConsoleConfig::parse("none").kind, ConsoleConfig::Kind::none);
    EXPECT_EQ(ConsoleConfig::parse("file:/a b").path, "/a b");
    for (const char* text : {"stdio", "none", "file:x", "virtio", "virtio:none", "virtio:file:x"}) {
        EXPECT_EQ(ConsoleConfig::parse(text).text(), text);
        EXPECT_EQ(ConsoleConfig::parse(text).virtio, std::string{text}.starts_with("virtio"));
    }
    EXPECT_EQ(ConsoleConfig::parse("virtio:stdio").text(), "virtio");
    for (const char* text :
         {"", "file:", "file", "STDIO", "pty", "virtio:", "virtio:pty", "virtio:virtio", "virtiofile:x"}) {
        SCOPED_TRACE(text);
        expect_error([&] { ConsoleConfig::parse(text); }, ExitStatus::usage,
                     {"--console", "it is neither stdio, none, file:PATH nor virtio"});
    }
}

TEST(Port, HasANameAndAHostsSide) {
    for (const char* text : {"a,file=x", "org.qemu.guest_agent.0,socket=/run/x", "9-z:y,pipe=a,,b"}) {
        EXPECT_EQ(PortConfig::parse(text).text(), text);
    }
    EXPECT_EQ(PortConfig::parse("n,pipe=a,,b=c").path, "a,b=c");
    EXPECT_EQ(PortConfig::parse("n,pipe=a").kind, PortConfig::Kind::pipe);
    struct Row {
        std::string text;
        const char* why;
    };
    const Row rows[] = {
        {"", "a name has"},
        {",file=x", "a name has"},
        {"a b,file=x", "a name has"},
        {"a/b,file=x", "a name has"},
        {"..,file=x", "a name has"},
        {std::string(65, 'a') + ",file=x", "a name has"},
        {"file=x", "a name has"},
        {"a", "does not say what is at the host's side"},
        {"a,file", "'file' has no meaning"},
        {"a,file=", "'file=' has no meaning"},
        {"a,tty=x", "'tty=x' has no meaning"},
        {"a,file=x,file=y", "'file=y' has no meaning"},
        {"a,file=x,socket=y", "'socket=y' has no meaning"},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.text);
        expect_error([&] { PortConfig::parse(row.text); }, ExitStatus::usage, {"--port", row.why});
    }
}

TEST(Platform, IsOneOfTwo) {
    for (const char* text : {"acpi", "fdt"}) {
        EXPECT_STREQ(name_of(parse_platform(text)), text);
    }
    expect_error([] { parse_platform("efi"); }, ExitStatus::usage,
                 {"--platform 'efi'", "neither acpi nor fdt"});
}

MachineConfig good() {
    MachineConfig config;
    config.kernel = "/boot/vmlinuz";
    return config;
}

TEST(Disk, IsAFileAndWhatIsSaidOfIt) {
    const DiskConfig plain = DiskConfig::parse("/a/b c");
    EXPECT_EQ(plain.path, "/a/b c");
    EXPECT_EQ(plain.id, "");
    EXPECT_TRUE(plain.use == virtio::DiskUse::write && !plain.direct);
    EXPECT_EQ(plain.queues, 1U);
    const DiskConfig all = DiskConfig::parse("x,,y,id=data-1,readonly,direct,queues=3");
    EXPECT_EQ(all.path, "x,y");
    EXPECT_EQ(all.id, "data-1");
    EXPECT_TRUE(all.use == virtio::DiskUse::read && all.direct);
    EXPECT_EQ(all.queues, 3U);
    EXPECT_EQ(all.text(), "x,,y,id=data-1,readonly,direct,queues=3");
    const DiskConfig limited = DiskConfig::parse("f,iops=100,bps=3M");
    EXPECT_EQ(limited.iops, 100U);
    EXPECT_EQ(limited.bps, 3U << 20);
    EXPECT_EQ(limited.text(), "f,iops=100,bps=3072K");
    EXPECT_EQ(DiskConfig::parse("f,overlay").use, virtio::DiskUse::overlay);
    EXPECT_EQ(DiskConfig::parse("f,overlay").text(), "f,overlay");
    const DiskConfig joined = DiskConfig::parse("part=a,,b,part=/c,readonly,id=x");
    EXPECT_EQ(joined.parts, (std::vector<std::filesystem::path>{"a,b", "/c"}));
    EXPECT_TRUE(joined.path.empty() && joined.use == virtio::DiskUse::read);
    EXPECT_EQ(joined.text(), "part=a,,b,part=/c,id=x,readonly");
    EXPECT_EQ(DiskConfig::parse("./part=a").path, "./part=a");
    std::string many = "part=x";
    for (int count = 1; count < 129; ++count) {
        many += ",part=x";
    }
    expect_error([&] { DiskConfig::parse(many); }, ExitStatus::usage, {"--disk", "129 partitions", "128"});
    const std::pair<const char*, const char*> wrong[] = {
        {"", "names no file"},
        {"f,part=g", "one FILE or has partitions"},
        {"part=", "each with a file"},
        {"part=a,part=", "each with a file"},
        {"readonly,part=a", "one FILE or has partitions"},
        {"part=a,fast", "'fast' has no meaning"},
        {",readonly", "names no file"},
        {"f,", "'' has no meaning"},
        {"f,fast", "'fast' has no meaning"},
        {"f,readonly=yes", "'readonly=yes' has no meaning"},
        {"f,id", "'id' has no meaning"},
        {"f,id=", "1 to 20 printable"},
        {"f,id=123456789012345678901", "1 to 20 printable"},
        {"f,id=a b", "1 to 20 printable"},
        {"f,queues=0", "1 to 64"},
        {"f,queues=65", "1 to 64"},
        {"f,queues=many", "1 to 64"},
        {"f,readonly,overlay", "needs no overlay"},
        {"f,iops=0", "1 to 4294967295"},
        {"f,bps=0", "a limit of nothing"},
        {"f,bps=fast", "it is not a size"},
        {"f,direct,direct", "'direct' comes twice"},
    };
    for (const auto& [text, why] : wrong) {
        SCOPED_TRACE(text);
        expect_error([text = text] { DiskConfig::parse(text); }, ExitStatus::usage, {"--disk", why});
    }
}

TEST(MachineConfig, TheDefaultsWithAKernelAreGood) {
    good().check();
    MachineConfig smallest = good();
    smallest.memory = MachineConfig::kMinMemory;
    smallest.cpus = arch::kMaxCpus;
    smallest.check();
}

TEST(MachineConfig, EachFaultIsTold) {
    struct Row {
        const char* name;
        void (*spoil)(MachineConfig&);
        ExitStatus status;
        std::initializer_list<std::string_view> words;
    };
    const std::vector<Row> rows = {
        {"no kernel",
         [](MachineConfig& c) { c.kernel.clear(); },
         ExitStatus::usage,
         {"no kernel was given", "--kernel FILE", "scripts/guest-kernel"}},
        {"no CPU", [](MachineConfig& c) { c.cpus = 0; }, ExitStatus::usage, {"--cpus '0'", "1 to 254"}},
        {"too many CPUs",
         [](MachineConfig& c) { c.cpus = 255; },
         ExitStatus::usage,
         {"--cpus '255'", "1 to 254"}},
        {"no memory",
         [](MachineConfig& c) { c.memory = 0; },
         ExitStatus::usage,
         {"--memory", "at least 16M"}},
        {"little memory",
         [](MachineConfig& c) { c.memory = 15 << 20; },
         ExitStatus::usage,
         {"--memory '15M'", "at least 16M"}},
        {"odd memory",
         [](MachineConfig& c) { c.memory = (64 << 20) + 4096; },
         ExitStatus::usage,
         {"whole MiB"}},
        {"odd huge pages",
         [](MachineConfig& c) {
             c.hugepages = true;
             c.memory = 65 << 20;
         },
         ExitStatus::usage,
         {"--memory '65M'", "--hugepages", "multiple of 2M"}},
        {"more than the host has",
         [](MachineConfig& c) { c.memory = uint64_t{1} << 50; },
         ExitStatus::no_resources,
         {"1048576G of memory", "the host has", "give less (--memory)"}},
        {"too many disks for virtio-mmio",
         [](MachineConfig& c) {
             c.bus = VirtioBus::mmio;
             c.disks.resize(arch::kMostMmioDevices + 1, DiskConfig{.path = "d", .parts = {}, .id = {}});
         },
         ExitStatus::usage,
         {"15 virtio devices", "with --bus mmio", "room for 14", "--disk"}},
        {"no room for consoles",
         [](MachineConfig& c) {
             c.disks.resize(30, DiskConfig{.path = "d", .parts = {}, .id = {}});
             c.console.virtio = true;
             c.ports = {PortConfig::parse("a,file=x")};
         },
         ExitStatus::usage,
         {"32 virtio devices", "--console virtio, --port"}},
        {"too many ports",
         [](MachineConfig& c) {
             for (int i = 0; i < 31; ++i) {
                 c.ports.push_back(PortConfig::parse("p" + std::to_string(i) + ",file=x"));
             }
         },
         ExitStatus::usage,
         {"31 ports", "at most 30", "--port"}},
        {"two ports of one name",
         [](MachineConfig& c) {
             c.ports = {PortConfig::parse("a,file=x"), PortConfig::parse("a,file=y")};
         },
         ExitStatus::usage,
         {"--port 'a,file=y'", "another port has the same name"}},
        {"too many disks for PCI",
         [](MachineConfig& c) {
             c.disks.resize(31, DiskConfig{.path = "d", .parts = {}, .id = {}});
             c.rng = true;
         },
         ExitStatus::usage,
         {"32 virtio devices", "with --bus pci", "room for 31", "--rng"}},
        {"PCI in a device tree",
         [](MachineConfig& c) {
             c.bus = VirtioBus::pci;
             c.platform = boot::PlatformTables::fdt;
         },
         ExitStatus::usage,
         {"--bus pci with --platform fdt", "leave one of them out"}},
        {"two disks of one id",
         [](MachineConfig& c) {
             c.disks = {DiskConfig::parse("a,id=x"), DiskConfig::parse("b,id=x")};
         },
         ExitStatus::usage,
         {"'b,id=x'", "the same id"}},
        {"two folders of one tag",
         [](MachineConfig& c) {
             c.shares = {ShareConfig::parse("tag=x,path=/a"), ShareConfig::parse("tag=x,path=/b")};
         },
         ExitStatus::usage,
         {"'tag=x,path=/b'", "same tag"}},
        {"two command lines",
         [](MachineConfig& c) {
             c.cmdline = "a";
             c.cmdline_raw = "b";
         },
         ExitStatus::usage,
         {"--cmdline and --cmdline-raw together"}},
        {"a zero byte",
         [](MachineConfig& c) {
             c.cmdline = std::string{"a\0b", 3};
         },
         ExitStatus::usage,
         {"command line", "zero byte"}},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.name);
        MachineConfig config = good();
        row.spoil(config);
        expect_error([&] { config.check(); }, row.status, row.words);
    }
}

TEST(MachineConfig, WordsComeAfterTheDefaultsAndRawReplacesThem) {
    MachineConfig config = good();
    const std::string defaults = config.whole_cmdline();
    EXPECT_NE(defaults.find("console="), std::string::npos);
    config.cmdline = "debug quiet";
    EXPECT_EQ(config.whole_cmdline(), defaults + " debug quiet");
    config.cmdline.clear();
    config.cmdline_raw = "";
    EXPECT_EQ(config.whole_cmdline(), "");
    config.cmdline_raw = "only this";
    EXPECT_EQ(config.whole_cmdline(), "only this");
}

TEST(Vsock, IsAnAddressAndASocket) {
    const VsockConfig vsock = VsockConfig::parse("cid=4294967294,socket=/a b/c,,d");
    EXPECT_EQ(vsock.cid, 4294967294U);
    EXPECT_EQ(vsock.path, "/a b/c,d");
    EXPECT_EQ(vsock.text(), "cid=4294967294,socket=/a b/c,,d");
    const std::string longest(96, 'x');
    EXPECT_EQ(VsockConfig::parse("socket=" + longest + ",cid=3").path, longest);
    struct Row {
        std::string text;
        std::initializer_list<std::string_view> told;
    };
    const Row rows[] = {
        {"", {"--vsock ''", "no meaning", "cid=N,socket=PATH"}},
        {"cid=3", {"does not say both"}},
        {"socket=x", {"does not say both"}},
        {"cid=3,socket=", {"'socket=' has no meaning"}},
        {"cid=3,socket", {"'socket' has no meaning"}},
        {"cid=3,socket=x,port=1", {"'port=1' has no meaning"}},
        {"cid=3,cid=4,socket=x", {"'cid=4' has no meaning"}},
        {"cid=3,socket=x,socket=y", {"'socket=y' has no meaning"}},
        {"cid=0,socket=x", {"--vsock cid '0'", "3 to 4294967294"}},
        {"cid=2,socket=x", {"3 to 4294967294"}},
        {"cid=4294967295,socket=x", {"3 to 4294967294"}},
        {"cid=99999999999,socket=x", {"3 to 4294967294"}},
        {"cid=guest,socket=x", {"3 to 4294967294"}},
        {"cid=3,socket=" + longest + "x", {"at most 96 bytes", "shorter"}},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.text);
        expect_error([&] { VsockConfig::parse(row.text); }, ExitStatus::usage, row.told);
    }
}

std::string many_parts(size_t count) {
    std::string all;
    for (size_t number = 0; number < count; ++number) {
        all += ",part=/x";
    }
    return all;
}

TEST(ShareConfig, WrongFormsAreTold) {
    struct Row {
        std::string text;
        std::initializer_list<std::string_view> told;
    };
    const Row rows[] = {
        {"", {"--share ''", "no meaning", "tag=T,path=DIR"}},
        {"/folder", {"'/folder' has no meaning"}},
        {"tag=t", {"names no folder"}},
        {"tag=t,path=", {"names no folder"}},
        {"path=/x", {"1 to 36"}},
        {"tag=,path=/x", {"1 to 36"}},
        {"tag=" + std::string(37, 't') + ",path=/x", {"1 to 36"}},
        {std::string{"tag=a\0b,path=/x", 16}, {"cannot use --share 'tag=a"}},
        {"tag=t,path=/x,readonly=yes", {"'readonly=yes' has no meaning"}},
        {"tag=t,path=/x,path=/y", {"'path' comes twice"}},
        {"tag=t,path=/x,fast", {"'fast' has no meaning", "readonly-part=PATH"}},
        {"tag=t,path=/x,part=/y", {"one folder or has parts"}},
        {"tag=t,part=/x,part=", {"a part has no path"}},
        {"tag=t" + many_parts(257), {"257 parts", "at most 256"}},
    };
    for (const Row& row : rows) {
        expect_error([&] { ShareConfig::parse(row.text); }, ExitStatus::usage, row.told);
    }
    EXPECT_EQ(ShareConfig::parse("tag=t" + many_parts(256)).parts.size(), 256U);
    EXPECT_EQ(ShareConfig::parse("tag=" + std::string(36, 't') + ",path=/x").tag.size(), 36U);
}

TEST(DiskConfig, WhatTheServerOfADiskDecidesIsNotTaken) {
    for (const std::string more : {"readonly", "overlay", "direct", "iops=5", "bps=5M", "x"}) {
        expect_error([&] { DiskConfig::parse("socket=/s," + more); }, ExitStatus::usage,
                     {"'" + more + "' is for the server", "socket=PATH"});
    }
    expect_error([] { DiskConfig::parse("socket="); }, ExitStatus::usage, {"names no file"});
    const DiskConfig disk = DiskConfig::parse("socket=/s,id=x,queues=3");
    EXPECT_TRUE(disk.is_served);
    EXPECT_EQ(disk.path, "/s");
    EXPECT_EQ(disk.queues, 3U);
    EXPECT_FALSE(DiskConfig::parse("./socket=/s").is_served);
}

TEST(MachineConfig, MemoryIsSharedOnlyWhereSomebodyMustSeeIt) {
    MachineConfig config = good();
    config.disks = {DiskConfig::parse("/d")};
    EXPECT_FALSE(config.shares_memory()) << "a memfd costs";
    config.disks.push_back(DiskConfig::parse("socket=/s"));
    EXPECT_TRUE(config.shares_memory());
    config.disks.clear();
    config.shares = {ShareConfig::parse("tag=t,path=/")};
    EXPECT_TRUE(config.shares_memory());
    config.shares.clear();
    config.nets = {NetConfig::parse("socket=/s")};
    EXPECT_FALSE(config.shares_memory());
    config.nets = {NetConfig::parse("socket=/s,vhost-user")};
    EXPECT_TRUE(config.shares_memory());
}

TEST(NetConfig, WrongFormsAreTold) {
    struct Row {
        const char* text;
        std::initializer_list<std::string_view> told;
    };
    const Row rows[] = {
        {"", {"--net ''", "what is at the other side", "tap=NAME", "user["}},
        {"lan", {"what is at the other side"}},
        {"tap", {"what is at the other side"}},
        {"tap=", {"what is at the other side"}},
        {"socket", {"what is at the other side"}},
        {"socket=", {"what is at the other side"}},
        {"socket=/s,vhost=on", {"'vhost=on' has no meaning", "socket=PATH"}},
        {"socket=/s,vhost-user=1", {"'vhost-user=1' has no meaning", "socket=PATH,vhost-user"}},
        {"socket=/s,vhost-user,vhost-user", {"'vhost-user' comes twice"}},
        {"socket=/s,vhost-user,pps=5", {"for the server"}},
        {"socket=/s,bps=1M,vhost-user", {"for the server"}},
        {"socket=/s,vhost-user,queues=2", {"'queues=2' has no meaning"}},
        {"tap=a,vhost-user", {"'vhost-user' has no meaning"}},
        {"user=1", {"what is at the other side"}},
        {"mac=02:00:00:00:00:01", {"what is at the other side"}},
        {"tap=a,tap=b", {"'tap=b' has no meaning"}},
        {"tap=a,mac=02:00:00:00:00:01,mac=02:00:00:00:00:02", {"'mac' comes twice"}},
        {"tap=a,mac=02:00:00:00:00", {"--net mac '02:00:00:00:00'", "02:00:00:00:00:01"}},
        {"tap=a,mac=02:00:00:00:00:0g", {"not the address of one network device"}},
        {"tap=a,mac=02-00-00-00-00-01", {"not the address of one network device"}},
        {"tap=a,mac=03:00:00:00:00:01", {"not the address of one network device"}},
        {"tap=a,mac=00:00:00:00:00:00", {"not the address of one network device"}},
        {"tap=a,mtu=1279", {"--net mtu '1279'", "1280 to 65521"}},
        {"user,mtu=65522", {"--net mtu '65522'", "1280 to 65521"}},
        {"tap=a,pps=0", {"--net pps '0'"}},
        {"tap=a,bps=0", {"--net bps '0'", "a limit of nothing"}},
        {"tap=a,queues=0", {"--net queues '0'", "1 to 8"}},
        {"tap=a,queues=9", {"--net queues '9'", "1 to 8"}},
        {"tap=a,vhost", {"'vhost' has no meaning"}},
        {"tap=a,vhost=1", {"'vhost=1' has no meaning"}},
        {"tap=a,vhost=on,pps=5", {"knows no limits"}},
        {"tap=a,restrict", {"'restrict' has no meaning"}},
        {"tap=a,forward=1:2", {"'forward=1:2' has no meaning"}},
        {"user,queues=2", {"'queues=2' has no meaning"}},
        {"user,restrict,restrict", {"'restrict' comes twice"}},
        {"user,restrict=1", {"'restrict=1' has no meaning"}},
        {"user,forward", {"'forward' has no meaning"}},
        {"user,forward=", {"--net forward ''", "8080:80"}},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.text);
        expect_error([&] { NetConfig::parse(row.text); }, ExitStatus::usage, row.told);
    }
}

TEST(NetConfig, ForwardsSayWhichPortLeadsWhere) {
    const NetConfig net =
        NetConfig::parse("user,forward=8080:80,forward=0.0.0.0:53:5353/udp,forward=10.1.2.3:1:65535/tcp");
    EXPECT_EQ(net.text(),
              "user,forward=127.0.0.1:8080:80,forward=0.0.0.0:53:5353/udp,forward=10.1.2.3:1:65535");
    for (const char* text : {"80",
                             "80:",
                             ":80",
                             "0:80",
                             "80:0",
                             "65536:80",
                             "80:65536",
                             "x:80",
                             "80:x",
                             "80:80/",
                             "80:80/sctp",
                             "host:80:80",
                             "1.2.3:80:80",
                             ":80:80",
                             "1.2.3.4:80",
                             "[::1]:80:80",
                             "1.2.3.4:80:80:80",
                             " 80:80",
                             "80:80 ",
                             "-1:80",
                             "+1:80"}) {
        EXPECT_FALSE(virtio::PortForward::parse(text)) << text;
    }
}

TEST(NetConfig, TheUserNetworkHasTheLargestPacketsUnlessTheyAreGiven) {
    EXPECT_EQ(NetConfig::parse("user").mtu_in_use(), 65521);
    EXPECT_EQ(NetConfig::parse("user,mtu=1500").mtu_in_use(), 1500);
    EXPECT_EQ(NetConfig::parse("tap=hull-none").mtu_in_use(), 0);
}

TEST(MachineConfig, TheBusFollowsThePlatformUnlessItIsGiven) {
    MachineConfig config = good();
    EXPECT_EQ(config.bus_in_use(), VirtioBus::pci);
    EXPECT_EQ(config.whole_cmdline().find("pci=off"), std::string::npos);
    config.bus = VirtioBus::mmio;
    EXPECT_EQ(config.bus_in_use(), VirtioBus::mmio);
    EXPECT_NE(config.whole_cmdline().find("pci=off"), std::string::npos);
    config.bus.reset();
    config.platform = boot::PlatformTables::fdt;
    EXPECT_EQ(config.bus_in_use(), VirtioBus::mmio);
}

TEST(MachineConfig, JsonTellsEverythingAndQuotesIt) {
    MachineConfig config = good();
    config.kernel = "/a \"b\"\\c\td/é";
    config.initramfs = {"one", "two\nlines"};
    config.cmdline_raw = "x=\"y z\"";
    config.cpus = 3;
    config.memory = 5ULL << 30;
    config.platform = boot::PlatformTables::fdt;
    config.hugepages = true;
    config.disks = {DiskConfig::parse("/d,,1,readonly"), DiskConfig::parse("/e"),
                    DiskConfig::parse("socket=/s,,1,queues=2,id=q")};
    config.shares = {ShareConfig::parse("tag=src,path=/a,,b,readonly"),
                     ShareConfig::parse("path=.,tag=t=1,cached"),
                     ShareConfig::parse("tag=p,part=/a,,b,readonly-part=/c,part=/d")};
    config.bus = VirtioBus::mmio;
    config.nets = {
        NetConfig::parse("tap=t0"),
        NetConfig::parse("tap=t,,1,mac=02:AB:cd:00:00:01,vhost=off,queues=2,mtu=9000,pps=5,bps=2M"),
        NetConfig::parse("user,restrict,host-loopback,forward=1:2"),
        NetConfig::parse("socket=/s,,1,mtu=2000"), NetConfig::parse("socket=/v,,1,vhost-user,mtu=1500")};
    config.vsock = VsockConfig::parse("cid=3,socket=/run/v");
    config.rng = true;
    config.console = ConsoleConfig::parse("virtio:file:/tmp/out");
    config.ports = {PortConfig::parse("one,socket=/a,,b"), PortConfig::parse("two,pipe=/p")};
    config.stop_timeout = 1500ms;
    config.timing = true;
    config.jail = {.mode = JailConfig::Mode::strict,
                   .without = {JailConfig::Layer::seccomp, JailConfig::Layer::user},
                   .user = "someone:12"};
    const std::string json = config.to_json();
    EXPECT_TRUE(json.starts_with("{\n  \"kernel\": "));
    EXPECT_TRUE(json.ends_with("\n}\n"));
    const std::vector<Setting> expected = {
        {"kernel", config.kernel.string()},
        {"initramfs", "one"},
        {"initramfs", "two\nlines"},
        {"cmdline-raw", "x=\"y z\""},
        {"cpus", "3"},
        {"memory", "5G"},
        {"platform", "fdt"},
        {"bus", "mmio"},
        {"hugepages", "true"},
        {"disk", "/d,,1,readonly"},
        {"disk", "/e"},
        {"disk", "socket=/s,,1,id=q,queues=2"},
        {"net", "tap=t0"},
        {"net", "tap=t,,1,queues=2,vhost=off,mac=02:ab:cd:00:00:01,mtu=9000,pps=5,bps=2048K"},
        {"net", "user,forward=127.0.0.1:1:2,restrict,host-loopback"},
        {"net", "socket=/s,,1,mtu=2000"},
        {"net", "socket=/v,,1,vhost-user,mtu=1500"},
        {"share", "tag=src,path=/a,,b,readonly"},
        {"share", "tag=t=1,path=.,cached"},
        {"share", "tag=p,part=/a,,b,readonly-part=/c,part=/d"},
        {"vsock", "cid=3,socket=/run/v"},
        {"rng", "true"},
        {"console", "virtio:file:/tmp/out"},
        {"port", "one,socket=/a,,b"},
        {"port", "two,pipe=/p"},
        {"stop-timeout", "1.500000"},
        {"timing", "true"},
        {"jail", "strict"},
        {"jail-without", "user,seccomp"},
        {"jail-user", "someone:12"},
    };
    const std::vector<Setting> settings = parse_config(json, "json");
    ASSERT_EQ(settings.size(), expected.size());
    for (size_t i = 0; i < settings.size(); ++i) {
        EXPECT_EQ(settings[i].key, expected[i].key);
        EXPECT_EQ(settings[i].value, expected[i].value) << expected[i].key;
    }
}

}  // namespace
}  // namespace hull
