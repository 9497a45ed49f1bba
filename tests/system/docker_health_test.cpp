// What tells how well containers are, by the stock docker client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>

#include "tests/support/docker.h"

namespace hull::test {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

class DockerHealth : public Docker {
  protected:
    static bool becomes(const std::string& name, const std::string& health) {
        return comes_true("docker inspect -f '{{.State.Health.Status}}' " + name + " | grep -qx " + health);
    }
    static std::string status(const std::string& options) {
        return docker("ps --format '{{.Status}}' " + options).out;
    }
};

TEST_F(DockerHealth, IsProbedWhetherTheDaemonLivesOrNot) {
    ASSERT_EQ(
        docker("run -d --name one --health-cmd 'cat /well || { echo ill >&2; exit 3; }' --health-interval 1s "
               "--health-retries 2 box sleep 1000")
            .status,
        0);
    EXPECT_THAT(status(""), MatchesRegex("Up .* \\(health: starting\\)\n"));
    EXPECT_TRUE(becomes("one", "unhealthy"));
    EXPECT_THAT(status("-f health=unhealthy"), MatchesRegex("Up .* \\(unhealthy\\)\n"));
    EXPECT_EQ(
        docker("inspect -f '{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}' one").out,
        "3 cat: can't open '/well': No such file or directory\nill\n\n");
    daemon_->end(SIGKILL);
    start_daemon();
    EXPECT_EQ(docker("exec one sh -c 'echo fine >/well'").status, 0);
    EXPECT_TRUE(becomes("one", "healthy"));
    EXPECT_TRUE(
        comes_true("docker events --since 1h --until 0s -f event=health_status --format '{{.Action}}' | "
                   "grep -qx 'health_status: healthy'"));
    EXPECT_EQ(docker("inspect -f '{{.State.Health.FailingStreak}}' one").out, "0\n");
    EXPECT_EQ(docker("pause one").status, 0);
    EXPECT_EQ(docker("inspect -f '{{.State.Health.Status}}' one").out, "unhealthy\n") << "as with dockerd";
    EXPECT_EQ(docker("unpause one").status, 0);
    EXPECT_TRUE(becomes("one", "healthy"));
}

TEST_F(DockerHealth, MayTakeTooLong) {
    ASSERT_EQ(
        docker("run -d --name slow --health-cmd 'sleep 100' --health-interval 100ms --health-timeout 500ms "
               "--health-retries 1 box sleep 1000")
            .status,
        0);
    EXPECT_TRUE(becomes("slow", "unhealthy"));
    EXPECT_EQ(
        docker("inspect -f '{{with index .State.Health.Log 0}}{{.ExitCode}} {{.Output}}{{end}}' slow").out,
        "-1 Health check exceeded timeout (500ms)\n");
    EXPECT_TRUE(
        comes_true("test $(docker exec slow sh -c 'busybox ps | busybox grep -c \"[s]leep 100$\"') -le 1"))
        << "they pile up";
}

}  // namespace
}  // namespace hull::test
