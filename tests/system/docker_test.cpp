// The stock docker client and `hull daemon`, with real guests.
#include "tests/support/docker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/support/ordinary_user.h"

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
    EXPECT_EQ(docker("update --pids-limit 20 --cpus 0.5 --restart always other").out, "other\n");
    EXPECT_THAT(docker("update -m 8g other").out, HasSubstr("its machine has 1024 MiB while it runs"));
    EXPECT_EQ(docker("update --restart no other").status, 0);
    EXPECT_EQ(
        docker("exec other sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do "
               "sleep 9 & done; echo all'")
            .status,
        2)
        << "20 processes are the most";
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
    EXPECT_EQ(shell("kill -9 $(docker inspect -f '{{.State.Pid}}' gone); "
                    "for i in $(seq 60); do docker exec gone echo again 2>/dev/null && break; sleep 1; done")
                  .out,
              "again\n");
    EXPECT_EQ(docker("inspect -f '{{.RestartCount}}' gone").out, "1\n");
}

/// HULL_CONTAINERS at once (3).
TEST_F(Docker, StartsAndEndsManyContainersAtOnce) {
    const unsigned many = number_from("HULL_CONTAINERS", 3);
    const std::string count = std::to_string(many);
    const Ran started = shell("for n in $(seq " + count +
                              "); do docker run -d --name c$n -p 80 box sh -c 'while :; do echo c'$n' | nc "
                              "-l -p 80; done' & done; wait");
    EXPECT_THAT(started.out, MatchesRegex("([0-9a-f]{64}\n)*")) << "and nothing went wrong";
    EXPECT_EQ(docker("ps -q | wc -l").out, count + "\n");
    for (unsigned number = 1; number <= many; ++number) {
        const std::string name = "c" + std::to_string(number);
        const std::string place = docker("port " + name + " 80 | head -n 1").out;
        const auto port =
            static_cast<uint16_t>(std::strtoul(place.c_str() + place.find(':') + 1, nullptr, 10));
        std::string answer;
        for (int tries = 0; tries < 300 && answer.empty(); ++tries) {
            std::this_thread::sleep_for(100ms);
            answer = fetch("127.0.0.1", port);
        }
        EXPECT_EQ(answer, name + "\n") << place;
    }
    EXPECT_EQ(docker("inspect -f '{{.NetworkSettings.IPAddress}}' $(docker ps -q) | sort -u | wc -l").out,
              count + "\n");
    const Ran ended = shell("for n in $(seq " + count + "); do docker stop -t 0 c$n & done; wait");
    EXPECT_EQ(shell("docker ps -q; docker ps -aq --filter exited=137 | wc -l").out, count + "\n")
        << ended.out;
    EXPECT_EQ(docker("rm $(docker ps -aq) | wc -l").out, count + "\n");
}

TEST_F(Docker, GivesATerminal) {
    const Ran ran = shell(
        "script -qec 'stty rows 31 cols 97; docker run --rm -it box sh -c \"tty; sleep 1; stty size; exit "
        "5\"' "
        "/dev/null; echo $?");
    EXPECT_THAT(ran.out, HasSubstr("/dev/pts/0\r\n31 97\r\n"));
    EXPECT_THAT(ran.out, HasSubstr("\n5\n"));
    const Ran with_init =
        shell("script -qec 'docker run --rm --init -it box sh -c \"tty; exit 6\"' /dev/null; echo $?");
    EXPECT_THAT(with_init.out, HasSubstr("/dev/pts/0\r\n"));
    EXPECT_THAT(with_init.out, HasSubstr("\n6\n"));
}

TEST_F(Docker, HasAnInitAndTellsItsProcesses) {
    ASSERT_EQ(docker("run -d --init --name has box sleep 1000").status, 0);
    EXPECT_EQ(docker("inspect -f '{{.HostConfig.Init}}' has").out, "true\n");
    EXPECT_THAT(docker("top has -o user,pid,args").out,
                MatchesRegex("USER +PID +COMMAND\nroot +[0-9]+ +/init\nroot +[0-9]+ +sleep 1000\n"));
    EXPECT_THAT(docker("top has").out,
                MatchesRegex("UID +PID +PPID +C +STIME +TTY +TIME +CMD\n.*\n.*sleep 1000\n"));
    EXPECT_THAT(docker("top has aux").out, HasSubstr("%MEM"));
    const Ran refused = docker("top has -L");
    EXPECT_EQ(refused.status, 1);
    EXPECT_THAT(refused.out, HasSubstr("there is no ps here"));
    EXPECT_EQ(docker("exec has cat /proc/1/comm").out, "init\n");
    EXPECT_EQ(shell("docker exec has sh -c 'exit 4'; echo $?").out, "4\n");
    std::string told;  // by the supervisor to the daemon, while the client has its answer already
    for (int tries = 0; tries < 50 && told != "exec_die 0\nexec_die 4\n"; ++tries) {
        told = docker(
                   "events --since 10m --until 0s --filter event=exec_die "
                   "--format '{{.Action}} {{.Actor.Attributes.exitCode}}'")
                   .out;
    }
    EXPECT_EQ(told, "exec_die 0\nexec_die 4\n");
    // As the first process of its namespace it would not be ended by a signal that it does not wait for.
    EXPECT_EQ(docker("stop has").status, 0);
    EXPECT_EQ(docker("inspect -f '{{.State.ExitCode}}' has").out, "143\n");
    EXPECT_THAT(docker("top has").out, HasSubstr("is not running"));
}

TEST_F(Docker, AnOrdinaryUserHasADaemonOfTheirOwn) {
    if (!OrdinaryUser::possible()) {
        GTEST_SKIP() << "only root can become another user";
    }
    namespace fs = std::filesystem;
    const OrdinaryUser user;
    const char* given = std::getenv("HULL_TEST_BINARY");
    const fs::path hull = given == nullptr ? HULL_SOURCE_DIR "/build/release/hull" : given;
    for (const char* program : {"hulld", "hull-supervisor"}) {
        fs::copy_file(hull.parent_path() / program, user.path(program));
    }
    fs::create_directories(user.path("guest/small"));
    fs::copy_file(guest_file("small/bzImage"), user.path("guest/small/bzImage"));
    fs::create_directory(user.path("run"));
    const fs::path root = user.path("home/.local/share/hull");
    {
        container::Store store{root, container::Store::Use::shared};
        store_image(store, "box", {busybox_layer()}, R"("config":{"Env":["PATH=/bin"]})");
    }
    user.give("run");
    user.give("home");
    // A host that gives this user the ids from 200,000 on, as adduser does.
    user.folder().file("passwd", "root:x:0:0::/root:/bin/sh\nuser:x:1234:1234::/:/bin/sh\n");
    user.folder().file("ids", "user:200000:65536\n");
    user.folder().file("with-ids",
                       "#!/bin/sh\ncd '" + user.folder().path().string() +
                           "' && mount --bind passwd /etc/passwd && touch /etc/subuid /etc/subgid && "
                           "mount --bind ids /etc/subuid && mount --bind ids /etc/subgid && "
                           "exec ./as-user \"$@\"\n");
    Program daemon{{"env", "HOME=" + user.path("home"), "XDG_RUNTIME_DIR=" + user.path("run"),
                    "HULL_CACHE=" + user.folder().path().string(), "unshare", "--mount", "sh",
                    user.path("with-ids"), "daemon", "--rootless"}};
    const std::string socket = user.path("run/hull.sock");
    for (int tries = 0; tries < 2000 && !connect_unix(socket).valid() && !daemon.has_ended(); ++tries) {
        std::this_thread::sleep_for(10ms);
    }
    const std::string docker = "docker -H unix://" + socket + " ";
    EXPECT_EQ(shell(docker + "run --rm -v kept:/v box sh -c 'id -u; echo kept >/v/file'").out, "0\n");
    EXPECT_EQ(contents_of(root / "volumes/kept/_data/file"), "kept\n");
    // Its root is the user, and its other users are the host's further ones.
    EXPECT_EQ(shell(docker + "run --rm -v kept:/v box sh -c 'mkdir -p -m 700 /v/own/deep; echo x "
                             ">/v/own/deep/file; chown -R 999:33 /v/own; stat -c %u:%g /v/own/deep/file'")
                  .out,
              "999:33\n");
    EXPECT_EQ(shell(docker + "run --rm -u 999:33 -v kept:/v box sh -c 'cat /v/own/deep/file; echo y "
                             ">/v/own/new; touch /v/x'")
                  .out,
              "x\ntouch: /v/x: Permission denied\n");
    struct stat own {};
    EXPECT_EQ(stat((root / "volumes/kept/_data/own/new").c_str(), &own), 0);
    EXPECT_EQ(own.st_uid, 200'998U);
    EXPECT_EQ(own.st_gid, 200'032U);
    EXPECT_EQ(stat((root / "volumes/kept/_data/file").c_str(), &own), 0);
    EXPECT_EQ(own.st_uid, 1234U);
    EXPECT_EQ(shell(docker + "volume rm kept").out, "kept\n");
    EXPECT_TRUE(fs::is_empty(root / "volumes"));
    EXPECT_EQ(
        shell(docker + "run -d -p 127.0.0.1:18082:80 --name web box sh -c 'while :; do echo answer | nc -l "
                       "-p 80; done'")
            .status,
        0);
    std::string answer;
    for (int tries = 0; tries < 100 && answer.empty(); ++tries) {
        std::this_thread::sleep_for(100ms);
        answer = fetch("127.0.0.1", 18082);
    }
    EXPECT_EQ(answer, "answer\n");
    struct stat status {};
    EXPECT_EQ(stat((root / "containers").c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, 1234U);
    EXPECT_EQ(shell(docker + "rm -f web").status, 0);
    daemon.end(SIGTERM);
}

}  // namespace
}  // namespace hull::test
