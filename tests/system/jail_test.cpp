// The jail of a machine's process, as it is seen from outside while a guest runs in it.

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/ordinary_user.h"
#include "tests/support/sockets.h"
#include "vmm/jail/machine_user.h"

namespace hull::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

using Words = std::vector<std::string>;

Words words_of(std::string text) {
    std::istringstream in{std::move(text)};
    Words words;
    for (std::string word; in >> word;) {
        words.push_back(word);
    }
    return words;
}

/// What /proc tells of a process.
class Seen {
  public:
    explicit Seen(pid_t pid) : folder_{"/proc/" + std::to_string(pid)} {}

    [[nodiscard]] std::string text(const std::string& name) const {
        std::ostringstream text;
        text << std::ifstream{folder_ / name}.rdbuf();
        return text.str();
    }
    [[nodiscard]] std::string link(const std::string& name) const {
        std::error_code ignored;
        return fs::read_symlink(folder_ / name, ignored);
    }
    /// The words of a line of its status, or of one of its threads'.
    [[nodiscard]] Words status(const std::string& key, const std::string& of = "status") const {
        std::ifstream file{folder_ / of};
        for (std::string line; std::getline(file, line);) {
            if (line.starts_with(key + ":")) {
                return words_of(line.substr(key.size() + 1));
            }
        }
        return {};
    }
    /// Soft and hard, as /proc/PID/limits has them.
    [[nodiscard]] Words limit(const std::string& name) const {
        std::ifstream file{folder_ / "limits"};
        for (std::string line; std::getline(file, line);) {
            if (line.starts_with(name)) {
                Words words = words_of(line.substr(name.size()));
                words.resize(2);
                return words;
            }
        }
        return {};
    }
    [[nodiscard]] std::vector<std::string> names_in(const std::string& name) const {
        std::vector<std::string> names;
        std::error_code gone;
        for (const auto& entry : fs::directory_iterator{folder_ / name, gone}) {
            names.push_back(entry.path().filename());
        }
        if (gone) {
            names.push_back(gone.message());
        }
        return names;
    }
    [[nodiscard]] const fs::path& folder() const { return folder_; }

  private:
    fs::path folder_;
};

enum class Who { root, named_by_root, ordinary };

class Jailed : public testing::TestWithParam<Who> {
  protected:
    void SetUp() override {
        if (!OrdinaryUser::possible()) {
            GTEST_SKIP() << "only root can become an ordinary user, and look at all of a process";
        }
        user_ = GetParam() == Who::ordinary ? std::make_unique<OrdinaryUser>() : nullptr;
        folder_.file("disk", std::string(1 << 20, 'd'));
        if (user_) {
            fs::permissions(folder_.path(), fs::perms::all);
            fs::permissions(folder_.path() / "disk", fs::perms::all);
        }
    }

    std::unique_ptr<HullProcess> boot(Words options,
                                      HullProcess::Input input = HullProcess::Input::pipe) const {
        if (GetParam() == Who::named_by_root) {
            options.insert(options.end(), {"--jail-user", "4321:4322"});
        }
        if (user_) {
            return user_->boot(std::move(options), input);
        }
        options.insert(options.begin(), {"boot", "--kernel", guest_file("small/bzImage"), "--initramfs",
                                         guest_file("initramfs-small")});
        return std::make_unique<HullProcess>(std::move(options), input);
    }
    [[nodiscard]] std::string at(const std::string& name) const { return folder_.path() / name; }
    /// One of each kind.
    [[nodiscard]] Words devices() const {
        return {"--disk",    at("disk"), "--net",
                "user",      "--vsock",  "cid=3,socket=" + at("vsock"),
                "--rng",     "--port",   "p,socket=" + at("port"),
                "--console", "virtio"};
    }
    [[nodiscard]] Words expected_ids(pid_t keeper, bool group) const {
        std::string id = group ? "4322" : "4321";
        if (GetParam() == Who::ordinary) {
            id = "1234";
        } else if (GetParam() == Who::root) {
            id = std::to_string(jail::MachineUser::kFirstOwn + static_cast<uid_t>(keeper));
        }
        return {id, id, id, id};
    }

    TemporaryFolder folder_;
    std::unique_ptr<OrdinaryUser> user_;
};

constexpr const char* kNothing = "0000000000000000";

TEST_P(Jailed, EveryThreadIsNobodyAndMayNothing) {
    const auto hull = boot(devices());
    ASSERT_TRUE(hull->wait_for("hull#"));
    const Seen machine{hull->machine()};
    const auto tasks = machine.names_in("task");
    EXPECT_GT(tasks.size(), 3U);
    for (const std::string& task : tasks) {
        SCOPED_TRACE(machine.text("task/" + task + "/comm"));
        const std::string status = "task/" + task + "/status";
        EXPECT_EQ(machine.status("Uid", status), expected_ids(hull->keeper(), false));
        EXPECT_EQ(machine.status("Gid", status), expected_ids(hull->keeper(), true));
        EXPECT_EQ(machine.status("Groups", status), Words{});
        EXPECT_EQ(machine.status("NoNewPrivs", status), Words{"1"});
        for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
            EXPECT_EQ(machine.status(set, status), Words{kNothing}) << set;
        }
    }
    struct stat owner {};
    ASSERT_EQ(stat((machine.folder() / "mem").c_str(), &owner), 0);
    EXPECT_EQ(owner.st_uid, 0U) << "its user may look at its memory";
    EXPECT_EQ(machine.limit("Max core file size"), (Words{"0", "0"}));
    EXPECT_EQ(machine.limit("Max processes").back(), machine.limit("Max processes").front());
    EXPECT_LE(std::stoul(machine.limit("Max processes").back()), 4096U);
    EXPECT_EQ(machine.limit("Max open files").back(), machine.limit("Max open files").front());
    hull->type("poweroff -f\n");
    EXPECT_EQ(hull->wait(), 0) << hull->err();
    EXPECT_EQ(hull->err(), "");
}

TEST_P(Jailed, ItHasNamespacesOfItsOwnAndAnEmptyRoot) {
    const auto hull = boot(devices());
    ASSERT_TRUE(hull->wait_for("hull#"));
    const Seen machine{hull->machine()};
    const Seen keeper{hull->keeper()};
    for (const char* kind : {"mnt", "pid", "net", "ipc", "uts"}) {
        const std::string name = std::string{"ns/"} + kind;
        EXPECT_THAT(machine.link(name), StartsWith(kind));
        EXPECT_NE(machine.link(name), keeper.link(name));
    }
    EXPECT_EQ(machine.link("ns/user") != keeper.link("ns/user"), GetParam() == Who::ordinary);
    if (GetParam() == Who::ordinary) {
        EXPECT_EQ(words_of(machine.text("uid_map")), (Words{"65534", "1234", "1"}));
        EXPECT_EQ(words_of(machine.text("gid_map")), (Words{"65534", "1234", "1"}));
    }
    EXPECT_EQ(machine.status("NSpid").back(), "1");
    EXPECT_EQ(machine.status("NSsid").back(), "1") << "it has the keeper's terminal";

    EXPECT_EQ(machine.names_in("root"), std::vector<std::string>{});
    EXPECT_EQ(machine.names_in("cwd"), std::vector<std::string>{});
    const std::string file = machine.folder() / "root/file";
    EXPECT_EQ(open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), -1);
    EXPECT_EQ(errno, EROFS);
    std::istringstream links{machine.text("net/dev")};
    std::string all{std::istreambuf_iterator<char>{links}, {}};
    EXPECT_THAT(all, HasSubstr("lo:"));
    EXPECT_EQ(std::count(all.begin(), all.end(), ':'), 1) << all;
}

TEST_P(Jailed, ItHasNoDescriptorButThoseOfItsDevices) {
    const UniqueFd inherited{open("/etc/passwd", O_RDONLY)};  // passes on to programs
    const auto hull = boot(devices());
    ASSERT_TRUE(hull->wait_for("hull#"));
    const auto links = [](pid_t pid) {
        const Seen process{pid};
        std::map<std::string, std::string> found;
        for (const std::string& name : process.names_in("fd")) {
            found[name] = process.link("fd/" + name);
        }
        return found;
    };
    const auto keepers = links(hull->keeper());
    ASSERT_EQ(keepers.at(std::to_string(inherited.get())), "/etc/passwd") << "this shows nothing";
    const std::regex known{R"(/dev/kvm|(/dev)?/null|socket:.*|pipe:.*|anon_inode:.*|/memfd:.*|)" +
                           folder_.path().string() + "/disk"};
    int disks = 0;
    for (const auto& [name, link] : links(hull->machine())) {
        EXPECT_TRUE(std::regex_match(link, known)) << name << ": " << link;
        disks += link.ends_with("/disk") ? 1 : 0;
    }
    EXPECT_GE(disks, 1);
    const Seen machine{hull->machine()};
    for (const char* number : {"fd/0", "fd/1"}) {
        struct stat status {};
        ASSERT_EQ(stat((machine.folder() / number).c_str(), &status), 0);
        EXPECT_EQ(status.st_rdev, makedev(1, 3)) << number << " is not /dev/null";
    }
    hull->type("poweroff -f\n");
    EXPECT_EQ(hull->wait(), 0) << hull->err();
}

TEST_P(Jailed, ItsUserNetworkIsLockedInAsWell) {
    const auto hull = boot(devices());
    ASSERT_TRUE(hull->wait_for("hull#"));
    const std::vector<pid_t> helpers = hull->helpers();
    ASSERT_EQ(helpers.size(), 1U);
    const Seen network{helpers.front()};
    const Seen keeper{hull->keeper()};
    for (const char* kind : {"ns/mnt", "ns/pid"}) {
        EXPECT_NE(network.link(kind), keeper.link(kind));
    }
    EXPECT_EQ(network.status("Uid"), expected_ids(hull->keeper(), false));
    EXPECT_EQ(network.status("Gid"), expected_ids(hull->keeper(), true));
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"}) {
        EXPECT_EQ(network.status(set), Words{kNothing}) << set;
    }
    EXPECT_EQ(network.status("NoNewPrivs"), Words{"1"});
    EXPECT_EQ(network.status("Seccomp"), Words{"2"});
    // Whom the guest's names are asked of, and no other file.
    ASSERT_TRUE(fs::exists("/etc/resolv.conf")) << "this shows nothing";
    EXPECT_EQ(network.names_in("root"), Words{"etc"});
    EXPECT_EQ(network.names_in("root/etc"), Words{"resolv.conf"});
    const std::string file = network.folder() / "root/file";
    EXPECT_EQ(open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600), -1);
    EXPECT_EQ(errno, EROFS);
    hull->type("poweroff -f\n");
    EXPECT_EQ(hull->wait(), 0) << hull->err();
}

TEST_P(Jailed, ItDoesNotOutliveItsKeeperEvenWhereItDoesNothing) {
    const auto hull = boot(devices());
    ASSERT_TRUE(hull->wait_for("hull#"));
    const pid_t machine = hull->machine();
    kill(machine, SIGSTOP);
    kill(hull->keeper(), SIGKILL);
    bool gone = false;
    for (int tries = 0; tries < 1000 && !gone; ++tries) {
        std::this_thread::sleep_for(10ms);
        gone = kill(machine, 0) != 0;
    }
    EXPECT_TRUE(gone);
    kill(machine, SIGKILL);
}

TEST_P(Jailed, WithoutAJailItIsSaidLoudly) {
    const auto hull = boot({"--jail", "off", "--cmdline", "hull.run=poweroff"});
    EXPECT_EQ(hull->wait(), 0) << hull->err();
    EXPECT_EQ(hull->err(),
              "hull: warning: the machine has no jail (--jail off): who breaks out of its guest has all your "
              "rights\n");
}

INSTANTIATE_TEST_SUITE_P(Users, Jailed, testing::Values(Who::root, Who::named_by_root, Who::ordinary),
                         [](const auto& who) {
                             return who.param == Who::root            ? "root"
                                    : who.param == Who::named_by_root ? "user_named_by_root"
                                                                      : "ordinary_user";
                         });

Words small(Words options) {
    options.insert(options.begin(), {"boot", "--kernel", guest_file("small/bzImage"), "--initramfs",
                                     guest_file("initramfs-small")});
    return options;
}

TEST(JailLayers, ThatAreLeftOutAreMissingAndNoOthers) {
    if (!OrdinaryUser::possible()) {
        GTEST_SKIP() << "only root can look at all of a process";
    }
    struct Row {
        const char* without;
        bool same_namespaces;
        bool is_root;
    };
    for (const Row& row :
         {Row{"namespaces", true, false}, {"user", false, true}, {"landlock", false, false}}) {
        SCOPED_TRACE(row.without);
        HullProcess hull{small({"--jail-without", row.without}), HullProcess::Input::pipe};
        ASSERT_TRUE(hull.wait_for("hull#"));
        const Seen machine{hull.machine()};
        EXPECT_EQ(machine.link("ns/net") == Seen{hull.keeper()}.link("ns/net"), row.same_namespaces);
        EXPECT_EQ(machine.status("Uid").front() == "0", row.is_root);
        EXPECT_EQ(machine.status("CapBnd"), Words{kNothing});
        EXPECT_EQ(machine.status("CapEff"), Words{kNothing});
        hull.type("poweroff -f\n");
        EXPECT_EQ(hull.wait(), 0);
        EXPECT_EQ(hull.err(), "");
    }
}

/// A setting of the host's for as long as this lives.
class Setting {
  public:
    Setting(std::string path, const std::string& value) : path_{std::move(path)} {
        std::ifstream{path_} >> before_;
        std::ofstream{path_} << value;
    }
    Setting(const Setting&) = delete;
    Setting& operator=(const Setting&) = delete;
    ~Setting() { std::ofstream{path_} << before_; }

  private:
    std::string path_;
    std::string before_;
};

TEST(JailLayers, ThatTheHostForbidsAreAnErrorUnlessTheyAreLeftOut) {
    if (!OrdinaryUser::possible()) {
        GTEST_SKIP() << "only root can change the host's settings";
    }
    const OrdinaryUser user;
    const Setting none{"/proc/sys/user/max_user_namespaces", "0"};
    const auto refused = user.boot({"--cmdline", "hull.run=poweroff"});
    EXPECT_EQ(refused->wait(), 16);
    EXPECT_THAT(refused->err(),
                StartsWith("hull: cannot close the jail's layer 'namespaces': they cannot be made"));
    EXPECT_THAT(refused->err(), HasSubstr("--jail-without namespaces"));
    EXPECT_THAT(refused->err(), HasSubstr("user.max_user_namespaces"));
    EXPECT_EQ(std::count(refused->err().begin(), refused->err().end(), '\n'), 1) << refused->err();
    EXPECT_EQ(refused->out(), "");
    const auto allowed =
        user.boot({"--net", "user", "--cmdline", "hull.run=poweroff", "--jail-without", "namespaces"});
    EXPECT_EQ(allowed->wait(), 0) << allowed->err();
    EXPECT_EQ(allowed->err(), "");
    HullProcess roots{small({"--cmdline", "hull.run=poweroff"})};
    EXPECT_EQ(roots.wait(), 0) << "root needs no user namespace: " << roots.err();
}

TEST(JailOptions, ThatAreWrongAreTold) {
    struct Row {
        Words options;
        const char* told;
    };
    for (const Row& row : {Row{{"--jail", "open"}, "--jail 'open'"},
                           {{"--jail-without", "all"}, "--jail-without 'all'"},
                           {{"--jail-user", "nobody-is-called-this"}, "--jail-user"},
                           {{"--jail-user", "0"}, "--jail-user"}}) {
        SCOPED_TRACE(row.told);
        HullProcess hull{small(row.options)};
        EXPECT_EQ(hull.wait(), 2);
        EXPECT_THAT(hull.err(), HasSubstr(row.told));
        EXPECT_EQ(std::count(hull.err().begin(), hull.err().end(), '\n'), 1) << hull.err();
    }
}

}  // namespace
}  // namespace hull::test
