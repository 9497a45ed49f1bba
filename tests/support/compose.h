// A project that Debian's docker-compose, unchanged, drives.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/docker.h"

namespace hull::test {

/// Each test has a project, called "site" after its folder; behind it no rule of nftables is left, either.
class ComposeProject : public Docker {
  protected:
    void SetUp() override {
        if (run_command("docker-compose version").status != 0) {
            GTEST_SKIP() << "there is no docker-compose";
        }
        rules_ = run_command("ip link set lo up; nft list ruleset").out;
        Docker::SetUp();
    }
    void TearDown() override {
        if (IsSkipped()) {
            return;
        }
        shell("docker rm -f $(docker ps -aq); docker network prune -f; docker volume prune -f -a");
        Docker::TearDown();
        EXPECT_EQ(run_command("nft list ruleset").out, rules_);
        run_command("nft flush ruleset");
    }

    /// A file of the project's.
    static void write(const std::string& name, const std::string& text) {
        std::filesystem::create_directories(project());
        std::ofstream{project() / name} << text;
    }
    static std::filesystem::path project() { return folder->path() / "site"; }
    static Ran compose(const std::string& words) {
        return shell("cd " + project().string() + " && docker-compose --ansi never " + words);
    }

  private:
    std::string rules_;
};

}  // namespace hull::test
