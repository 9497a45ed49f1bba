// A guest that has taken over the process of its machine, played by a hull that turns on its host
// (tests/hostile): what each kind of thread can still do, beside a machine of the same user's that must not
// notice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/thread_guard.h"
#include "tests/hostile/attacks.h"
#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/neighbour.h"
#include "tests/support/ordinary_user.h"
#include "tests/support/sockets.h"

namespace hull::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

enum class Who { root, ordinary };

/// A variable of the environment, for as long as this is.
class Variable {
  public:
    Variable(const char* name, const std::string& value) : name_{name} {
        const char* before = std::getenv(name);
        was_set_ = before != nullptr;
        before_ = was_set_ ? before : "";
        setenv(name, value.c_str(), 1);
    }
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;
    ~Variable() { was_set_ ? setenv(name_, before_.c_str(), 1) : unsetenv(name_); }

  private:
    const char* name_;
    bool was_set_ = false;
    std::string before_;
};

/// Somebody on the host who can be called, in all the ways that are tried.
class Listeners {
  public:
    explicit Listeners(const std::string& path, const std::string& name)
        : at_path_{listen_unix(path, SOCK_NONBLOCK)}, abstract_{socket(AF_UNIX, kStream, 0)} {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
        const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
        EXPECT_EQ(bind(abstract_.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
        EXPECT_EQ(listen(abstract_.get(), kBacklog), 0);
        tcp_ = bind_to_a_port(tcp_listener_.get());
        EXPECT_EQ(listen(tcp_listener_.get(), kBacklog), 0);
        udp_ = bind_to_a_port(udp_socket_.get());
    }
    [[nodiscard]] uint16_t tcp() const { return tcp_; }
    [[nodiscard]] uint16_t udp() const { return udp_; }
    /// Who was called since the last time.
    [[nodiscard]] std::set<std::string> called() const {
        std::set<std::string> found;
        for (const auto& [name, listener] :
             {std::pair{"path", &at_path_}, {"abstract", &abstract_}, {"tcp", &tcp_listener_}}) {
            while (UniqueFd{accept(listener->get(), nullptr, nullptr)}.valid()) {
                found.insert(name);
            }
        }
        for (char byte = 0; recv(udp_socket_.get(), &byte, 1, 0) > 0;) {
            found.insert("udp");
        }
        return found;
    }

  private:
    // Who calls when it is full waits: a thread of each kind does.
    static constexpr int kBacklog = 2 * static_cast<int>(kThreadKinds);
    static constexpr int kStream = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

    static uint16_t bind_to_a_port(int descriptor) {
        sockaddr_in address = at("127.0.0.1", 0);
        socklen_t size = sizeof address;
        EXPECT_EQ(bind(descriptor, reinterpret_cast<const sockaddr*>(&address), size), 0);
        EXPECT_EQ(getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size), 0);
        return ntohs(address.sin_port);
    }

    UniqueFd at_path_;
    UniqueFd abstract_;
    UniqueFd tcp_listener_{socket(AF_INET, kStream, 0)};
    UniqueFd udp_socket_{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    uint16_t tcp_ = 0;
    uint16_t udp_ = 0;
};

/// Of one kind of thread: what it tried, and what came of it.
using Rows = std::map<std::string, std::string>;

struct Told {
    int status = -1;
    std::string err;
    std::map<std::string, Rows> threads;
    std::set<std::string> called;

    void read(const std::string& file) {
        std::ifstream report{file};
        for (std::string line; std::getline(report, line) && line.front() != '\0';) {
            const size_t first = line.find(": ");
            const size_t last = line.rfind(": ");
            threads[line.substr(0, first)][line.substr(first + 2, last - first - 2)] = line.substr(last + 2);
        }
    }
};

/// The first address of its memory.
std::string address_in(pid_t process) {
    std::ifstream maps{"/proc/" + std::to_string(process) + "/maps"};
    std::string line;
    std::getline(maps, line);
    return "0x" + line.substr(0, line.find('-'));
}

class Turncoat : public testing::TestWithParam<Who> {
  protected:
    void SetUp() override {
        signal(SIGPIPE, SIG_IGN);  // of a machine that has ended and is typed at
        if (GetParam() == Who::ordinary && !OrdinaryUser::possible()) {
            GTEST_SKIP() << "only root can become an ordinary user";
        }
        if (GetParam() == Who::ordinary) {
            user_ = std::make_unique<OrdinaryUser>();
        }
        fs::create_directory(folder() / "own");
        for (const char* disk : {"disk", "another", "neighbours", "report", "sandboxes-report"}) {
            std::ofstream{own(disk)} << std::string(size_t{1} << 20, '\0');
        }
        for (const char* made : {"shared", "attacked"}) {
            fs::create_directory(own(made));
        }
        std::ofstream{own("attacked/victim")};
        if (user_) {
            user_->give("own");
        }
    }

    [[nodiscard]] fs::path folder() const { return user_ ? user_->folder().path() : root_folder_.path(); }
    /// A file of the user's own.
    [[nodiscard]] std::string own(const std::string& name) const { return folder() / "own" / name; }

    [[nodiscard]] std::unique_ptr<HullProcess> boot_small(std::vector<std::string> options,
                                                          HullProcess::Input input) const {
        if (user_) {
            return user_->boot(std::move(options), input);
        }
        options.insert(options.begin(), {"boot", "--kernel", guest_file("small/bzImage"), "--initramfs",
                                         guest_file("initramfs-small")});
        return std::make_unique<HullProcess>(std::move(options), input);
    }

    /// What only a sandbox has: the thread of what it sees of the host.
    void run_sandbox(const std::string& jail) const {
        const Variable report{turncoat::kReport, own("sandboxes-report")};
        const std::string kernel = user_ ? user_->path("kernel") : guest_file("small/bzImage");
        std::vector<std::string> words{"sandbox", "--jail", jail, "--kernel", kernel, "--", "true"};
        const auto hull = user_
                              ? user_->start(std::move(words), HullProcess::Input::terminal)
                              : std::make_unique<HullProcess>(std::move(words), HullProcess::Input::terminal);
        hull->may_be_refused();
        EXPECT_EQ(hull->wait(), 0) << hull->err();
    }

    /// Boots a turncoat with each kind of device, until its guest has powered off or it has ended otherwise.
    Told run(const std::string& jail) {
        const Listeners listeners{own("listener"), "hull-turncoat-test"};
        if (user_) {
            user_->give("own/listener");
        }
        Neighbour neighbour{boot_small({"--memory", "128M", "--jail", jail, "--disk", own("neighbours")},
                                       HullProcess::Input::pipe),
                            jail == "off"
                                ? "hull: warning: the machine has no jail (--jail off): who breaks out "
                                  "of its guest has all your rights\n"
                                : ""};
        const pid_t other = neighbour.machine();
        Told told;
        {
            using namespace turncoat;
            const Variable variables[] = {{kReport, own("report")},
                                          {kDisk, own("neighbours")},
                                          {kFolder, own("attacked")},
                                          {kProcess, std::to_string(other)},
                                          {kAddress, address_in(other)},
                                          {kTcp, std::to_string(listeners.tcp())},
                                          {kUdp, std::to_string(listeners.udp())},
                                          {kSocket, own("listener")},
                                          {kAbstract, "hull-turncoat-test"}};
            const auto hull = boot_small(
                {"--memory", "128M", "--jail", jail, "--disk", own("disk"), "--disk", own("another"), "--net",
                 "user", "--vsock", "cid=5,socket=" + own("vsock"), "--rng", "--share",
                 "tag=t,path=" + own("shared"), "--port", "port,file=" + own("port")},
                HullProcess::Input::terminal);
            hull->may_be_refused();
            if (jail != "strict") {
                EXPECT_TRUE(hull->wait_for("hull#"));
                hull->type("poweroff -f\n");
            }
            told.status = hull->wait();
            told.err = hull->err();
            if (jail != "strict") {
                run_sandbox(jail);
            }
        }
        told.called = listeners.called();
        EXPECT_FALSE(neighbour.end().empty()) << "the neighbour was not served";
        std::set<std::string> left;
        for (const auto& entry : fs::directory_iterator{own("attacked")}) {
            left.insert(entry.path().filename());
        }
        EXPECT_EQ(left, std::set<std::string>{"victim"});
        // Of threads that both have the machine's counts, whose console is the terminal.
        told.read(own("sandboxes-report"));
        told.read(own("report"));
        return told;
    }

    const Variable binary_{"HULL_TEST_BINARY", HULL_SOURCE_DIR "/build/release/hull_turncoat"};
    const TemporaryFolder root_folder_;
    std::unique_ptr<OrdinaryUser> user_;
};

/// What is tried by a thread of this kind.
std::vector<std::string> tried_by(ThreadKind kind) {
    std::vector<std::string> names;
    const auto add = [&](const turncoat::Attack& attack) { names.emplace_back(attack.name); };
    std::ranges::for_each(turncoat::attacks(), add);
    std::ranges::for_each(kind == ThreadKind::block ? turncoat::ring_attacks() : turncoat::ringless_attacks(),
                          add);
    return names;
}

/// Calls `expect` with each row that there must be; there are no others.
template <typename Expect>
void for_each_row(const Told& told, Expect expect) {
    EXPECT_EQ(told.threads.size(), kThreadKinds);
    for (size_t number = 0; number < kThreadKinds; ++number) {
        const auto kind = static_cast<ThreadKind>(number);
        SCOPED_TRACE(name_of(kind));
        const auto rows = told.threads.find(name_of(kind));
        if (rows == told.threads.end()) {
            ADD_FAILURE() << "there was no such thread";
            continue;
        }
        const std::vector<std::string> tried = tried_by(kind);
        EXPECT_EQ(rows->second.size(), tried.size());
        for (const std::string& name : tried) {
            const auto row = rows->second.find(name);
            if (row == rows->second.end()) {
                ADD_FAILURE() << name << " was not tried";
            } else {
                expect(name, row->second);
            }
        }
    }
}

TEST_P(Turncoat, HarmsNobodyWhateverItTries) {
    const Told told = run("on");
    EXPECT_EQ(told.status, 0) << told.err;
    EXPECT_EQ(told.called, std::set<std::string>{}) << "somebody on the host was called";
    for_each_row(told, [](const std::string& name, const std::string& outcome) {
        EXPECT_TRUE(outcome.starts_with("refused") || outcome.starts_with("bounded"))
            << name << ": " << outcome;
    });
    EXPECT_THAT(told.err, HasSubstr("the jail refuses a vcpu thread the system call open ("));
}

TEST_P(Turncoat, IsEndedAtItsFirstAttackWhereTheJailIsStrict) {
    const Told told = run("strict");
    EXPECT_EQ(told.status, static_cast<int>(ExitStatus::machine_died)) << told.err;
    EXPECT_THAT(told.err, HasSubstr("the machine's process was ended by its jail"));
    EXPECT_THAT(told.threads, testing::IsEmpty());
    EXPECT_EQ(told.called, std::set<std::string>{});
}

/// What is refused without a jail, too: by the ring's own restrictions, by kernels at large, or to whoever
/// has no descriptor of a folder.
bool is_refused_anyway(const std::string& name) {
    return name.starts_with("ring: ") || name == "io_uring_register" || name == "a call with an x32 number" ||
           name == "openat /etc/passwd from each descriptor";
}

/// What takes rights.
bool is_roots(const std::string& name) {
    static const std::set<std::string> names{"open_by_handle_at",
                                             "raise a limit",
                                             "mount",
                                             "umount",
                                             "open_tree",
                                             "fsopen",
                                             "pivot_root",
                                             "chroot",
                                             "setns",
                                             "unshare names",
                                             "setresuid to root",
                                             "setgroups",
                                             "capset",
                                             "init_module",
                                             "finit_module",
                                             "delete_module",
                                             "bpf",
                                             "perf_event_open",
                                             "kexec_load",
                                             "reboot",
                                             "ioperm",
                                             "type at a terminal"};
    return names.contains(name);
}

TEST_P(Turncoat, WouldSucceedWithoutAJail) {
    const Told told = run("off");
    EXPECT_EQ(told.status, 0) << told.err;
    EXPECT_EQ(told.called, (std::set<std::string>{"abstract", "path", "tcp", "udp"}));
    for_each_row(told, [](const std::string& name, const std::string& outcome) {
        if (!is_refused_anyway(name) && (GetParam() == Who::root || !is_roots(name))) {
            EXPECT_FALSE(outcome.starts_with("refused")) << name << ": " << outcome;
        }
    });
}

INSTANTIATE_TEST_SUITE_P(Users, Turncoat, testing::Values(Who::root, Who::ordinary),
                         [](const auto& who) { return who.param == Who::root ? "root" : "ordinary_user"; });

}  // namespace
}  // namespace hull::test
