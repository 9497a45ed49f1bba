// What an image and its user say together, and what a container's machine is made of.
#include "container/machine/container_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "container/machine/container_folder.h"
#include "container/machine/container_machine.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"

namespace hull::container {
namespace {

using test::expect_error;
using testing::Contains;
using testing::ElementsAre;
using Words = std::vector<std::string>;

TEST(ContainerConfig, EntryPointAndCommandAreComposedAsDockerDoes) {
    const struct {
        const char* name;
        Words entrypoint;
        Words command;
        std::optional<Words> given_entrypoint;
        Words given_command;
        Words whole;
    } rows[] = {
        {"all of the image's", {"e", "f"}, {"c"}, {}, {}, {"e", "f", "c"}},
        {"another command", {"e"}, {"c"}, {}, {"x", "y"}, {"e", "x", "y"}},
        {"another entry point, which the image's command is not for", {"e"}, {"c"}, Words{"n"}, {}, {"n"}},
        {"both", {"e"}, {"c"}, Words{"n"}, {"x"}, {"n", "x"}},
        {"no entry point", {"e"}, {"c"}, Words{""}, {"x"}, {"x"}},
        {"an entry point of several words", {"e"}, {"c"}, Words{"n", "m"}, {}, {"n", "m"}},
        {"an entry point of none, and no command", {"e"}, {"c"}, Words{}, {}, {"c"}},
        {"a command alone", {}, {"c"}, {}, {}, {"c"}},
    };
    for (const auto& row : rows) {
        ImageConfig image;
        image.entrypoint = row.entrypoint;
        image.command = row.command;
        ContainerConfig config;
        apply_image(config, image, {.entrypoint = row.given_entrypoint, .command = row.given_command});
        EXPECT_EQ(config.command, row.whole) << row.name;
    }
    ContainerConfig config;
    expect_error([&] { apply_image(config, {}, {}); }, ExitStatus::usage, {"the image names no command"});
    ImageConfig image;
    image.command = {"c"};
    expect_error([&] { apply_image(config, image, {.entrypoint = Words{""}}); }, ExitStatus::usage,
                 {"names no command"});
}

TEST(ContainerConfig, VariablesUserAndFolderAreTheImagesUnlessTheUserSaysOtherwise) {
    ImageConfig image;
    image.command = {"c"};
    image.environment = {"PATH=/image", "A=image", "B=image", "C=image"};
    image.user = "worker";
    image.working_folder = "relative";
    ContainerConfig config;
    config.host_name = "h";
    config.tty = true;
    apply_image(config, image, {.environment = {"B=user", "D=user", "C", "B=last"}});
    EXPECT_THAT(config.environment,
                ElementsAre("PATH=/image", "HOSTNAME=h", "TERM=xterm", "B=last", "D=user", "A=image"));
    EXPECT_EQ(config.user, "worker");
    EXPECT_EQ(config.working_folder, "/relative");
    config = {};
    apply_image(config, image, {.user = "0:0", .working_folder = "/own"});
    EXPECT_EQ(config.user, "0:0");
    EXPECT_EQ(config.working_folder, "/own");
    config = {};
    image.working_folder.clear();
    apply_image(config, image, {});
    EXPECT_EQ(config.working_folder, "/");
}

TEST(ContainerConfig, CapabilitiesAreAddedAndDroppedByName) {
    const auto changed = [](const Words& added, const Words& dropped) {
        return change_capabilities(kDefaultCapabilities, added, dropped);
    };
    constexpr uint64_t kAll = (uint64_t{1} << (CAP_LAST_CAP + 1)) - 1;
    EXPECT_EQ(changed({}, {}), 0xa80425fbU);
    EXPECT_EQ(changed({"NET_ADMIN"}, {"cap_chown"}), 0xa80425faU | uint64_t{1} << CAP_NET_ADMIN);
    EXPECT_EQ(changed({"KILL"}, {"ALL"}), uint64_t{1} << CAP_KILL);
    EXPECT_EQ(changed({"all"}, {"SYS_ADMIN"}), kAll & ~(uint64_t{1} << CAP_SYS_ADMIN));
    EXPECT_EQ(changed({"ALL"}, {}), kAll);
    for (const char* name : {"", "CAP_", "NET", "NET_ADMIN ", "CAP_CAP_KILL"}) {
        expect_error([&] { changed({name}, {}); }, ExitStatus::usage, {"--cap-add", "no such capability"});
        expect_error([&] { changed({}, {name}); }, ExitStatus::usage, {"--cap-drop", "no such capability"});
    }
}

TEST(ContainerConfig, LimitsOfProcesses) {
    const ProcessLimit limit = ProcessLimit::parse("nofile=5:7");
    EXPECT_EQ(limit.resource, static_cast<uint32_t>(RLIMIT_NOFILE));
    EXPECT_EQ(limit.soft, 5U);
    EXPECT_EQ(limit.hard, 7U);
    EXPECT_EQ(ProcessLimit::parse("core=0").hard, 0U);
    EXPECT_EQ(ProcessLimit::parse("memlock=-1").soft, UINT64_MAX);
    for (const char* text : {"", "nofile", "nofile=", "nofile=x", "nofile=1:", "nofile=2:1", "files=1", "=1",
                             "nofile=1:2:3", "nofile=-1:5", "nofile=-2", "nofile=99999999999999999999"}) {
        expect_error([&] { ProcessLimit::parse(text); }, ExitStatus::usage, {"--ulimit"});
    }
}

TEST(ContainerConfig, FoldersInMemory) {
    TmpfsMount mount = TmpfsMount::parse("/run");
    EXPECT_EQ(mount.path, "/run");
    EXPECT_EQ(mount.flags, uint64_t{MS_NOSUID | MS_NODEV | MS_NOEXEC});
    mount = TmpfsMount::parse("/run:rw,exec,suid,size=64m,mode=1777");
    EXPECT_EQ(mount.flags, uint64_t{MS_NODEV});
    EXPECT_EQ(mount.options, "size=64m,mode=1777");
    for (const char* text : {"", "run", "/", "/run:", "/run:size", "/run:bind", "/run:size=1,lowerdir=/x"}) {
        expect_error([&] { TmpfsMount::parse(text); }, ExitStatus::usage, {"--tmpfs"});
    }
}

TEST(ContainerMachine, IsBootedByWordsThatSayAllOfIt) {
    constexpr uint64_t kMebibyte = uint64_t{1} << 20;
    EXPECT_EQ(ContainerMachine::memory_of({}), 1024 * kMebibyte);
    EXPECT_EQ(ContainerMachine::memory_of(128 * kMebibyte), 196 * kMebibyte);
    EXPECT_EQ(ContainerMachine::memory_of(128 * kMebibyte + 1), 197 * kMebibyte);
    ContainerConfig config;
    config.group.memory = 64 * kMebibyte;
    ContainerMachine machine{.kernel = "k",
                             .initramfs = "i",
                             .layers = {"/one,two", "/three"},
                             .writable = "/w",
                             .cpus = 3,
                             .ports = {"0.0.0.0:80:81", "127.0.0.1:5:6/udp"},
                             .words = {"--jail", "strict"}};
    const Words words = machine.boot_words(config, "/f,g", "/agent");
    EXPECT_THAT(words,
                ElementsAre("boot", "--kernel", "k", "--initramfs", "i", "--initramfs", "/agent", "--cmdline",
                            "dummy.numdummies=0", "--bus", "pci", "--cpus", "3", "--memory", "130M", "--disk",
                            "/w,overlay", "--disk", "part=/one,,two,part=/three,readonly", "--vsock",
                            "cid=3,socket=/f,,g/vsock", "--net",
                            "user,forward=0.0.0.0:80:81,forward=127.0.0.1:5:6/udp", "--console",
                            "file:/f,g/console", "--stop-timeout", "0", "--jail", "strict"));
    config.has_network = false;
    machine.layers.clear();
    EXPECT_THAT(machine.boot_words(config, "/f", "/agent"), testing::Not(Contains("--net")));
    EXPECT_THAT(words, testing::Not(Contains("--share"))) << "which costs a program and a shared memory";
    config.shared = {{.source = "/a,b", .target = "/x"},
                     {.source = "/c", .target = "/y", .is_read_only = true}};
    EXPECT_THAT(machine.boot_words(config, "/f", "/agent"), Contains("tag=hull,part=/a,,b,readonly-part=/c"));
    config.shared.insert(config.shared.begin() + 1,
                         {.source = "/d", .target = "/z", .by = SharedMount::By::cached_share});
    EXPECT_THAT(machine.boot_words(config, "/f", "/agent"),
                testing::AllOf(Contains("tag=hull,part=/a,,b,readonly-part=/c"),
                               Contains("tag=hull-cached,part=/d,cached")));
    config.shared.push_back({.source = "/e,e", .target = "/zz", .by = SharedMount::By::disk});
    EXPECT_THAT(machine.boot_words(config, "/f", "/agent"), Contains("/e,,e"));
    EXPECT_EQ(ContainerMachine::disk_name(config, 0, 3), "vdb");
    config.shared.insert(config.shared.begin(),
                         {.source = "/f", .target = "/u", .by = SharedMount::By::disk});
    EXPECT_EQ(ContainerMachine::disk_name(config, 2, 0), "vdc");
    EXPECT_EQ(ContainerMachine::disk_name(config, 2, 4), "vdd");
}

TEST(ContainerFolder, IsItsContainersAlone) {
    const test::TemporaryFolder folder;
    const std::filesystem::path parent = folder.path() / "hull";
    {
        const ContainerFolder first{parent, "one"};
        const ContainerFolder second{parent, "two"};
        EXPECT_TRUE(std::filesystem::is_directory(first.path()));
        std::ofstream{first.path() / "file"} << "x";
        expect_error(
            [&] {
                ContainerFolder{parent, "one"};
            },
            ExitStatus::usage, {"'one'", "one of this name is running"});
        EXPECT_TRUE(std::filesystem::exists(first.path() / "file"));
    }
    EXPECT_FALSE(std::filesystem::exists(parent)) << "the last one removes it";
    // What a killed process has left is nobody's.
    std::filesystem::create_directories(parent / "left/deep");
    std::filesystem::permissions(parent, std::filesystem::perms::owner_all);
    const ContainerFolder next{parent, "next"};
    EXPECT_FALSE(std::filesystem::exists(parent / "left"));
    std::filesystem::create_directory(folder.path() / "open");
    std::filesystem::permissions(folder.path() / "open", std::filesystem::perms::all);
    expect_error(
        [&] {
            ContainerFolder{folder.path() / "open", "x"};
        },
        ExitStatus::no_resources, {"others may enter it"});
}

TEST(ContainerFolder, ManyAreMadeAndRemovedAtOnce) {
    constexpr int kContainers = 8;
    constexpr int kRounds = 50;
    const test::TemporaryFolder folder;
    const std::filesystem::path parent = folder.path() / "hull";
    std::atomic<int> made = 0;
    std::vector<std::thread> all;
    all.reserve(kContainers);
    for (int container = 0; container < kContainers; ++container) {
        all.emplace_back([&, name = std::to_string(container)] {
            for (int round = 0; round < kRounds; ++round) {
                EXPECT_NO_THROW({
                    const ContainerFolder own(parent, name);
                    made += std::filesystem::is_directory(own.path()) ? 1 : 0;
                });
            }
        });
    }
    for (std::thread& each : all) {
        each.join();
    }
    EXPECT_EQ(made, kContainers * kRounds);
    EXPECT_FALSE(std::filesystem::exists(parent));
}

}  // namespace
}  // namespace hull::container
