// The stock docker client and `hull daemon`, with real guests.
#include "tests/support/docker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <thread>

namespace hull::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::MatchesRegex;

TEST_F(Docker, RunsCommandsAndTellsHowTheyEnded) {
    Ran ran =
        shell("docker run --rm box sh -c 'echo out; echo err >&2; exit 3' 2>err; echo $?; cat err; rm err");
    EXPECT_EQ(ran.out, "out\n3\nerr\n");
    EXPECT_EQ(docker("run --rm --network none box").out, "default\n");
    ran = docker("run --rm box no-such-program");
    EXPECT_EQ(ran.status, 127);
    EXPECT_THAT(ran.out, HasSubstr("exec: \"no-such-program\": executable file not found in $PATH"));
    ran = docker("run --rm box /etc/passwd");
    EXPECT_EQ(ran.status, 126);
    EXPECT_THAT(ran.out, HasSubstr("permission denied"));
    EXPECT_EQ(docker("run --rm -m 24m box tail /dev/zero").status, 137);
    ran = shell(
        "head -c 300001 /dev/urandom >in; docker run --rm -i box cat <in >out; cmp in out && echo same; "
        "rm in out");
    EXPECT_EQ(ran.out, "same\n");
    ran = shell(
        "docker run --rm -e A=b -w /tmp -u worker -h named --label x=y --ulimit nofile=99:100 box "
        "sh -c 'echo $A; pwd; id -un; hostname; ulimit -n; cat /proc/1/comm; true'");
    EXPECT_EQ(ran.out, "b\n/tmp\nworker\nnamed\n99\nsh\n");
    EXPECT_EQ(docker("ps -aq").out, "");
}

TEST_F(Docker, KeepsAContainerThroughItsLife) {
    Ran ran = docker(
        "run -d --name web -p 127.0.0.1:18081:80 --stop-timeout 1 box sh -c "
        "'echo up $(cat /kept); echo oops >&2; while :; do echo answer | nc -l -p 80; done'");
    EXPECT_EQ(ran.status, 0) << ran.out;
    EXPECT_THAT(ran.out, MatchesRegex("[0-9a-f]{64}\n"));
    std::string answer;
    for (int tries = 0; tries < 100 && answer.empty(); ++tries) {
        std::this_thread::sleep_for(100ms);
        answer = fetch("127.0.0.1", 18081);
    }
    EXPECT_EQ(answer, "answer\n");
    EXPECT_THAT(docker("ps --format '{{.Names}} {{.Image}} {{.Status}} {{.Ports}}'").out,
                MatchesRegex("web box Up .* 127.0.0.1:18081->80/tcp\n"));
    EXPECT_EQ(docker("port web").out, "80/tcp -> 127.0.0.1:18081\n");
    EXPECT_THAT(docker("logs web").out, HasSubstr("up\n"));
    EXPECT_THAT(docker("logs web").out, HasSubstr("oops\n"));
    EXPECT_EQ(shell("docker exec web sh -c 'echo kept >/kept; ulimit -n; exit 4'; echo $?").out,
              "1048576\n4\n");
    EXPECT_EQ(shell("echo typed | docker exec -i web cat").out, "typed\n");
    ran = docker("exec web no-such-program");
    EXPECT_EQ(ran.status, 127) << ran.out;
    EXPECT_EQ(docker("exec -e A=b -w /tmp -u worker web sh -c 'echo $A; pwd; id -un; ls /proc/1/exe'").out,
              "b\n/tmp\nworker\nls: /proc/1/exe: Permission denied\n");
    EXPECT_EQ(docker("rm web").status, 1);
    EXPECT_EQ(docker("rename web other").status, 0);
    EXPECT_EQ(docker("pause other").status, 0);
    EXPECT_EQ(docker("inspect -f '{{.State.Status}}' other").out, "paused\n");
    EXPECT_EQ(docker("unpause other").status, 0);
    EXPECT_EQ(docker("stop other").status, 0);
    EXPECT_EQ(docker("inspect -f '{{.State.Status}} {{.State.ExitCode}}' other").out, "exited 137\n");
    EXPECT_EQ(docker("start other").status, 0);
    EXPECT_THAT(
        shell("for i in 1 2 3 4 5 6 7 8 9; do docker logs other | grep -q kept && break; sleep 1; done; "
              "docker logs other")
            .out,
        HasSubstr("up kept\n"));
    EXPECT_EQ(docker("kill other").status, 0);
    EXPECT_EQ(docker("wait other").out, "137\n");
    EXPECT_EQ(docker("rm other").status, 0);
    EXPECT_EQ(docker("rm other").status, 1);
}

TEST_F(Docker, AContainerOutlivesItsDaemon) {
    ASSERT_EQ(docker("run -d --name long box sh -c 'while :; do echo tick; sleep 1; done'").status, 0);
    ASSERT_EQ(docker("run -d --name gone --restart always box sh -c 'sleep 1000'").status, 0);
    daemon_->end(SIGKILL);
    start_daemon();
    EXPECT_EQ(docker("ps --format '{{.Names}}' | sort").out, "gone\nlong\n");
    const Ran ran = shell(
        "docker logs long >before; sleep 3; docker logs long >after; "
        "[ $(wc -l <after) -gt $(wc -l <before) ] && echo goes on; rm before after; "
        "docker exec long echo inside");
    EXPECT_EQ(ran.out, "goes on\ninside\n");
    // A supervisor that is killed takes its machine along; the policy starts another.
    EXPECT_EQ(
        shell("kill -9 $(docker inspect -f '{{.State.Pid}}' gone); sleep 5; docker exec gone echo again").out,
        "again\n");
    EXPECT_EQ(docker("inspect -f '{{.RestartCount}}' gone").out, "1\n");
}

TEST_F(Docker, GivesATerminal) {
    const Ran ran = shell(
        "script -qec 'stty rows 31 cols 97; docker run --rm -it box sh -c \"tty; sleep 1; stty size; exit "
        "5\"' "
        "/dev/null; echo $?");
    EXPECT_THAT(ran.out, HasSubstr("/dev/pts/0\r\n31 97\r\n"));
    EXPECT_THAT(ran.out, HasSubstr("\n5\n"));
}

}  // namespace
}  // namespace hull::test
