// A client that others wrote: npm's dockerode.
#include <gtest/gtest.h>

#include <string>

#include "tests/support/docker.h"

namespace hull::test {
namespace {

class Dockerode : public Docker {
  protected:
    void SetUp() override {
        // scripts/test has fetched it, and where it is is printed without a network.
        const Ran modules = run_command(HULL_SOURCE_DIR "/scripts/dockerode");
        if (modules.status != 0) {
            GTEST_SKIP() << "there is no dockerode: " << modules.out;
        }
        modules_ = modules.out.substr(0, modules.out.find('\n'));
        Docker::SetUp();
    }
    std::string modules_;
};

TEST_F(Dockerode, PassesItsSuite) {
    const Ran suite = shell("node " HULL_SOURCE_DIR "/tests/system/dockerode_suite.js " + modules_ + " " +
                            socket() + " box");
    EXPECT_EQ(suite.status, 0) << suite.out;
    EXPECT_EQ(shell("docker ps -aq; docker volume ls -q; docker images -q suite").out, "");
}

}  // namespace
}  // namespace hull::test
