// The stock docker client with a daemon of a test's own.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/command.h"
#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/image_store.h"
#include "tests/support/program.h"
#include "tests/support/sandbox_rig.h"
#include "tests/support/sockets.h"

namespace hull::test {

/// Each test has a daemon, and the image "box" with busybox; behind it nothing may be left.
class Docker : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder = std::make_unique<TemporaryFolder>();
        container::Store store{root(), container::Store::Use::shared};
        store_image(store, "box", {busybox_layer()},
                    R"("config":{"Env":["PATH=/bin"],"Cmd":["echo","default"]})");
    }
    static void TearDownTestSuite() { folder.reset(); }
    /// For SetUpTestSuite: the image "answers" has the program of answer.cpp, too.
    static void store_answers() {
        container::Store store{root(), container::Store::Use::shared};
        const std::string program =
            TarPart{.name = "bin/answer", .content = contents_of(HULL_ANSWER), .mode = 0755}.bytes();
        store_image(store, "answers", {busybox_layer(), program + std::string(1024, '\0')},
                    R"("config":{"Env":["PATH=/bin"]})");
    }

    void SetUp() override {
        if (run_command("docker --version").status != 0) {
            GTEST_SKIP() << "there is no docker client";
        }
        before_ = look();
        start_daemon();
    }
    void TearDown() override {
        if (IsSkipped()) {
            return;
        }
        docker("rm -f $(docker ps -aq)");
        daemon_->end(SIGTERM);
        for (int tries = 0; tries < 500 && look() != before_; ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds{10});
        }
        const Remains after = look();
        EXPECT_EQ(after.programs, before_.programs);
        EXPECT_EQ(after.sockets, before_.sockets);
        EXPECT_EQ(after.mounts, before_.mounts);
        EXPECT_EQ(after.cgroups, before_.cgroups);
        EXPECT_EQ(after.interfaces, before_.interfaces);
        EXPECT_TRUE(!std::filesystem::exists(root() / "containers") ||
                    std::filesystem::is_empty(root() / "containers"));
        if (HasFailure()) {
            std::printf("the daemon and its supervisors said:\n%s\n", contents_of(log()).c_str());
        }
        std::filesystem::remove(log());
    }

    static std::filesystem::path root() { return folder->path() / "root"; }
    static std::string log() { return folder->path() / "log"; }
    static std::string socket() { return folder->path() / "sock"; }
    static Remains look() {
        Remains found = Remains::look();
        found.folders.clear();  // other programs'
        return found;
    }

    void start_daemon(const std::vector<std::string>& options = {}) {
        const char* given = std::getenv("HULL_TEST_BINARY");
        std::vector<std::string> words{given == nullptr ? HULL_SOURCE_DIR "/build/release/hull" : given,
                                       "daemon",
                                       "--socket",
                                       socket(),
                                       "--data-root",
                                       root()};
        words.insert(words.end(), options.begin(), options.end());
        daemon_ = std::make_unique<Program>(words, log());
        for (int tries = 0; tries < 2000 && !connect_unix(socket()).valid(); ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds{10});
        }
    }

    /// Runs a line of shell in which `docker` talks to the daemon; both outputs are one.
    static Ran shell(const std::string& line) {
        const std::filesystem::path script = folder->path() / "script";
        std::ofstream{script} << "export DOCKER_HOST=unix://" << socket()
                              << " DOCKER_CONFIG=" << folder->path().string() << "/config\n"
                              << line << "\n";
        return run_command("timeout 300 sh " + script.string());
    }
    static Ran docker(const std::string& words) { return shell("docker " + words); }
    /// Whether the line succeeds within a minute.
    static bool comes_true(const std::string& line) {
        for (int tries = 0; tries < 60; ++tries) {
            if (shell(line).status == 0) {
                return true;
            }
            std::this_thread::sleep_for(std::chrono::seconds{1});
        }
        return false;
    }
    /// What the environment says, and otherwise this.
    static unsigned number_from(const char* variable, unsigned otherwise) {
        const char* text = std::getenv(variable);
        return text == nullptr ? otherwise : static_cast<unsigned>(std::stoul(text));
    }

    static inline std::unique_ptr<TemporaryFolder> folder;
    std::unique_ptr<Program> daemon_;
    Remains before_;
};

}  // namespace hull::test
