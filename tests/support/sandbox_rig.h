// `hull sandbox` as root and as an ordinary user, and what is on the host before and after.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/ordinary_user.h"

namespace hull::test {

enum class Who { root, ordinary };

/// What is on the host that a sandbox could leave behind.
struct Remains {
    std::set<std::string> folders;
    std::set<std::string> cgroups;
    std::string mounts;
    std::multiset<std::string> programs;
    std::set<std::string> interfaces;
    std::multiset<std::string> sockets;  ///< names of unix sockets, and what holds a port of the host's

    static Remains look() {
        Remains found;
        std::error_code ignored;
        for (const char* folder : {"/tmp", "/run", "/dev/shm"}) {
            for (const auto& entry : std::filesystem::directory_iterator{folder, ignored}) {
                if (entry.path().filename().string().find("hull") != std::string::npos) {
                    found.folders.insert(entry.path());
                }
            }
        }
        for (const auto& entry : std::filesystem::recursive_directory_iterator{"/sys/fs/cgroup", ignored}) {
            if (entry.is_directory(ignored) &&
                entry.path().filename().string().find("hull") != std::string::npos) {
                found.cgroups.insert(entry.path());
            }
        }
        for (const auto& entry : std::filesystem::directory_iterator{"/sys/class/net", ignored}) {
            found.interfaces.insert(entry.path().filename());
        }
        found.look_at_sockets();
        std::stringstream mounts;
        mounts << std::ifstream{"/proc/self/mountinfo"}.rdbuf();
        found.mounts = mounts.str();
        for (const auto& entry : std::filesystem::directory_iterator{"/proc"}) {
            std::error_code gone;
            const std::filesystem::path program = std::filesystem::read_symlink(entry.path() / "exe", gone);
            if (!gone &&
                (program.filename().string().starts_with("hull") || program.filename() == "virtiofsd") &&
                program.filename() != "hull_system_tests") {
                found.programs.insert(program);
            }
        }
        return found;
    }
    friend bool operator==(const Remains&, const Remains&) = default;

  private:
    void look_at_sockets() {
        std::string line;
        for (std::ifstream all{"/proc/net/unix"}; std::getline(all, line);) {
            if (const size_t path = line.find_first_of("/@"); path != std::string::npos) {
                sockets.insert(line.substr(path));
            }
        }
        constexpr const char* kListens = "0A";
        for (const char* protocol : {"tcp", "tcp6", "udp", "udp6", "raw", "raw6", "packet"}) {
            std::ifstream all{std::string{"/proc/net/"} + protocol};
            std::getline(all, line);  // its headings
            while (std::getline(all, line)) {
                std::istringstream words{line};
                std::string number;
                std::string here;
                std::string there;
                std::string state;
                words >> number >> here >> there >> state;
                // The kernel keeps connections for a while after both of their ends are gone.
                if (!std::string{protocol}.starts_with("tcp") || state == kListens) {
                    sockets.insert(protocol + (" " + here));
                }
            }
        }
    }
};

struct Ended {
    int status = -1;
    std::string out;  // and standard error, where the command joins them
};

class SandboxRig : public testing::TestWithParam<Who> {
  protected:
    void SetUp() override {
        if (GetParam() == Who::ordinary && !OrdinaryUser::possible()) {
            GTEST_SKIP() << "only root can become an ordinary user";
        }
        user_ = GetParam() == Who::ordinary ? std::make_unique<OrdinaryUser>() : nullptr;
        std::filesystem::create_directory(folder() / "own");
        if (user_) {
            user_->give("own");
        }
        const char* given = std::getenv("HULL_TEST_BINARY");
        hull_ = given == nullptr ? HULL_SOURCE_DIR "/build/release/hull" : given;
        if (user_) {
            hull_ = user_->path("hull");
        }
        before_ = Remains::look();
    }
    void TearDown() override {
        if (IsSkipped()) {
            return;
        }
        // What was killed with SIGKILL is tidied up by others, a moment later.
        for (int tries = 0; tries < 500 && Remains::look() != before_; ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds{10});
        }
        const Remains after = Remains::look();
        EXPECT_EQ(after.folders, before_.folders);
        EXPECT_EQ(after.mounts, before_.mounts);
        EXPECT_EQ(after.programs, before_.programs);
        EXPECT_EQ(after.cgroups, before_.cgroups);
        EXPECT_EQ(after.interfaces, before_.interfaces);
        EXPECT_EQ(after.sockets, before_.sockets);
    }

    [[nodiscard]] std::filesystem::path folder() const {
        return user_ ? user_->folder().path() : root_folder_.path();
    }
    /// A folder of the user's own.
    [[nodiscard]] std::string own(const std::string& name = "") const { return folder() / "own" / name; }
    [[nodiscard]] std::string kernel() const {
        return user_ ? user_->path("kernel") : guest_file("small/bzImage");
    }
    /// Runs a line of shell as this user in a folder of theirs, in which $S stands for `hull sandbox --kernel
    /// …`.
    Ended shell(const std::string& line) const {
        const std::filesystem::path script = folder() / "script";
        std::ofstream{script} << "cd '" << own() << "'; S='" << hull_ << " sandbox --kernel " << kernel()
                              << "'\n"
                              << line << "\n";
        const std::string whole = (user_ ? "setpriv --reuid 1234 --regid 1234 --clear-groups sh '" : "sh '") +
                                  script.string() + "'";
        const std::unique_ptr<FILE, void (*)(FILE*)> pipe{popen(whole.c_str(), "r"), [](FILE*) {}};
        Ended ended;
        std::array<char, 4096> part{};
        for (size_t got = 0; (got = fread(part.data(), 1, part.size(), pipe.get())) > 0;) {
            ended.out.append(part.data(), got);
        }
        const int status = pclose(pipe.get());
        ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
        return ended;
    }
    [[nodiscard]] std::unique_ptr<HullProcess> start(
        std::vector<std::string> words, HullProcess::Input input = HullProcess::Input::nothing) const {
        words.insert(words.begin(), {"sandbox", "--kernel", kernel()});
        if (user_) {
            return user_->start(std::move(words), input);
        }
        return std::make_unique<HullProcess>(std::move(words), input);
    }

    const TemporaryFolder root_folder_;
    std::unique_ptr<OrdinaryUser> user_;
    std::string hull_;
    Remains before_;
};

}  // namespace hull::test
