// docker cp, export, diff and commit, of containers that run, have ended, or have not begun.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>
#include <thread>

#include "tests/support/docker.h"

namespace hull::test {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class DockerContents : public Docker {
  protected:
    void SetUp() override {
        Docker::SetUp();
        std::filesystem::remove_all(here());
        std::filesystem::create_directories(here());
    }
    /// A folder for the client's files.
    static std::filesystem::path here() { return folder->path() / "here"; }
    /// Runs a line of shell in there.
    static Ran in_here(const std::string& line) { return shell("cd " + here().string() + "\n" + line); }
    static void expect_output(const std::string& line, const std::string& output) {
        const Ran ran = in_here(line);
        EXPECT_EQ(ran.out, output) << line;
        EXPECT_EQ(ran.status, 0) << line;
    }
};

TEST_F(DockerContents, CopiesIntoARunningContainerAndOutOfIt) {
    ASSERT_EQ(docker("run -d --name one --network none box sleep 1000").status, 0);
    expect_output(
        "mkdir -p tree/deep && echo text > tree/deep/file && chmod 4750 tree/deep/file\n"
        "ln -s deep/file tree/link && head -c 5000000 /dev/urandom > tree/large && ln tree/large "
        "tree/second\n"
        "touch -d 2001-02-03T04:05:06Z tree/deep && docker cp -q tree one:/copied && docker cp -q "
        "one:/copied back\n"
        "diff -r tree back && stat -c '%a %Y' back/deep && stat -c %a back/deep/file && readlink back/link",
        "755 981173106\n4750\ndeep/file\n");
    expect_output("docker exec one stat -c '%a %u %s' /copied/deep/file /copied/large",
                  "4750 0 5\n644 0 5000000\n");
    // Streams, a link that is followed, and a file over another.
    expect_output("docker cp one:/copied/link - | tar -xOf - 2>&1 | wc -c", "0\n");
    expect_output("docker cp -q -L one:/copied/link followed && cat followed", "text\n");
    expect_output("tar -C tree -cf - deep | docker cp -q - one:/tmp && docker exec one cat /tmp/deep/file",
                  "text\n");
    expect_output(
        "echo new > tree/deep/file && docker cp -q tree/deep/file one:/copied/link && "
        "docker exec one cat /copied/deep/file",
        "new\n");
    expect_output("docker cp -q -a one:/etc/passwd . && head -n 1 passwd", "root:x:0:0::/root:/bin/sh\n");
    expect_output(
        "docker cp -q one:/dev/null null 2>&1; docker exec one sh -c 'echo x > /dev/shm/x' && docker cp -q "
        "one:/dev/shm/x x && cat x",
        "x\n");
    // What is not there, or leads out.
    EXPECT_THAT(in_here("docker cp one:/nosuch .").out,
                HasSubstr("Could not find the file /nosuch in container one"));
    EXPECT_THAT(in_here("docker cp tree one:/no/such/place").out, HasSubstr("Could not find the file"));
    ASSERT_EQ(
        docker("exec one sh -c 'busybox ln -s / /root-of-it; busybox ln -s ../../../../../l /up'").status, 0);
    EXPECT_THAT(in_here("docker cp one:/root-of-it/l/1 .").out, HasSubstr("Could not find the file"));
    expect_output("docker cp -q tree/deep/file one:/root-of-it/through && docker exec one cat /through",
                  "new\n");
    // A client that goes away ends the transfer, and harms nothing.
    in_here("timeout 0.5 sh -c 'docker cp one:/copied - | sleep 1000'");
    EXPECT_EQ(docker("exec one true").status, 0);
}

TEST_F(DockerContents, ExportsTellsChangesAndCommits) {
    ASSERT_EQ(docker("run -d --name two --network none -e A=b box sleep 1000").status, 0);
    expect_output("docker diff two", "");
    ASSERT_EQ(docker("exec two sh -c 'mkdir /made && echo x > /made/file && busybox rm /etc/old && echo y >> "
                     "/etc/group && busybox ln /made/file /made/again && busybox rm -r /tmp && mkdir /tmp'")
                  .status,
              0);
    const std::string changes = in_here("docker diff two").out;
    EXPECT_THAT(changes, AllOf(HasSubstr("C /etc\n"), HasSubstr("C /etc/group\n"), HasSubstr("D /etc/old\n"),
                               HasSubstr("A /made\n"), HasSubstr("A /made/file\n"), Not(HasSubstr("hosts"))));
    const std::string names = in_here("docker export two | tar -tf -").out;
    EXPECT_THAT(names, AllOf(HasSubstr("bin/busybox\n"), HasSubstr("made/file\n"), HasSubstr("dev/\n"),
                             Not(HasSubstr("etc/old")), Not(HasSubstr("dev/null"))));
    const Ran committed =
        in_here("docker commit -a me -m why -c 'CMD [\"cat\",\"/made/again\",\"/etc/group\"]' two made:1");
    EXPECT_EQ(committed.status, 0) << committed.out;
    EXPECT_THAT(committed.out, testing::StartsWith("sha256:"));
    expect_output("docker inspect -f '{{.State.Status}}' two", "running\n");
    const std::string printed = docker("run --rm --network none made:1").out;
    EXPECT_THAT(printed, AllOf(testing::StartsWith("x\n"), testing::EndsWith("y\n")));
    expect_output(
        "docker run --rm --network none made:1 sh -c 'ls /etc/old 2>&1; echo $A; stat -c %h /made/file'",
        "ls: /etc/old: No such file or directory\nb\n2\n");
    expect_output("docker history --format '{{.CreatedBy}}|{{.Comment}}' made:1 | head -n 1",
                  "sleep 1000|why\n");
    expect_output("docker inspect -f '{{.Author}} {{len .RootFS.Layers}}' made:1", "me 2\n");
}

TEST_F(DockerContents, ServesAContainerThatDoesNotRun) {
    const auto idle = look().programs;
    ASSERT_EQ(docker("create --name three --network none box sh -c 'cat /given; echo more > /made'").status,
              0);
    expect_output(
        "echo given > given && docker cp -q given three:/given && docker cp -q three:/given - | tar -xOf -",
        "given\n");
    expect_output("docker diff three", "A /given\n");
    expect_output("docker ps -q; docker inspect -f '{{.State.Status}}' three", "created\n");
    expect_output("docker start -a three", "given\n");  // while the machine for that is there still
    expect_output("docker cp -q three:/made - | tar -xOf - && docker diff three",
                  "more\nA /given\nA /made\n");
    expect_output("docker inspect -f '{{.State.Status}} {{.State.ExitCode}}' three", "exited 0\n");
    expect_output("docker commit three made:2 > id && docker run --rm --network none made:2 cat /made",
                  "more\n");
    EXPECT_THAT(in_here("docker export three | tar -tf -").out, HasSubstr("made\n"));
    EXPECT_THAT(in_here("docker cp three:/nosuch .").out, HasSubstr("Could not find the file"));
    ASSERT_EQ(docker("create --name four --read-only box true").status, 0);
    EXPECT_THAT(in_here("docker cp given four:/").out, HasSubstr("container rootfs is marked read-only"));
    // Whoever is killed, no machine stays.
    expect_output("docker cp -q given three:/again", "");
    daemon_->end(SIGKILL);
    start_daemon();
    for (int tries = 0; tries < 3000 && look().programs != idle; ++tries) {
        std::this_thread::sleep_for(10ms);
    }
    EXPECT_EQ(look().programs, idle);
    expect_output("docker cp -q three:/again - | tar -xOf -", "given\n");
}

}  // namespace
}  // namespace hull::test
