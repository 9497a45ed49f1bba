// `hull run` with real kernels: what a container's command gets and sees, how it ends, and what it leaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/small_file.h"
#include "tests/support/files.h"
#include "tests/support/hull_process.h"
#include "tests/support/image_store.h"
#include "tests/support/sandbox_rig.h"
#include "tests/support/sockets.h"

namespace hull::test {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

class Run : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder = std::make_unique<TemporaryFolder>();
        container::Store store{folder->path() / "store", container::Store::Use::shared};
        const std::string end(1024, '\0');
        const std::string second = TarPart{.name = "data/new", .content = "of the second layer\n"}.bytes() +
                                   TarPart{.name = "etc/.wh.old"}.bytes() + end;
        store_image(store, "box", {busybox_layer(), second},
                    R"("config":{"Env":["PATH=/bin","OF_IMAGE=yes","GIVEN=by image"],)"
                    R"("Cmd":["echo","default"],"WorkingDir":"/job/deep"})");
        std::vector<std::string> many{busybox_layer()};
        while (many.size() < 127) {
            many.push_back(TarPart{.name = "many/" + std::to_string(many.size()), .content = "x"}.bytes() +
                           TarPart{.name = "last", .content = std::to_string(many.size() + 1)}.bytes() + end);
        }
        store_image(store, "many", many, R"("config":{"Entrypoint":["sh","-c"]})");
        setenv("XDG_RUNTIME_DIR", folder->path().c_str(), 1);
    }
    static void TearDownTestSuite() {
        unsetenv("XDG_RUNTIME_DIR");
        before.reset();
        folder.reset();
    }
    void SetUp() override {
        before = std::make_unique<Remains>(look());
        files_before_ = files();
    }
    void TearDown() override {
        Remains after = look();
        for (int tries = 0; tries < 500 && after != *before; ++tries) {
            std::this_thread::sleep_for(10ms);
            after = look();
        }
        EXPECT_EQ(after.programs, before->programs);
        EXPECT_EQ(after.sockets, before->sockets);
        EXPECT_EQ(files(), files_before_);
        EXPECT_EQ(after.mounts, before->mounts);
        EXPECT_EQ(after.cgroups, before->cgroups);
    }

    /// Without the folders in /tmp, which are other programs'.
    static Remains look() {
        Remains found = Remains::look();
        found.folders.clear();
        return found;
    }
    /// All that is in the store and where containers meet their machines.
    static std::set<std::string> files() {
        std::set<std::string> found;
        for (const auto& entry : std::filesystem::recursive_directory_iterator{folder->path()}) {
            found.insert(entry.path());
        }
        // Which are made once.
        found.erase(folder->path() / "store/empty-10G.ext4");
        found.erase(folder->path() / "script");
        return found;
    }

    static std::vector<std::string> words(std::vector<std::string> more) {
        more.insert(more.begin(), {"run", "--data-root", folder->path() / "store", "--kernel",
                                   guest_file("small/bzImage")});
        return more;
    }
    /// Runs a line of shell, in which $R stands for `hull run …`, $B for `hull build …`, $H for hull, and $O
    /// for where it has its images.
    static Ended shell(const std::string& line) {
        const char* given = std::getenv("HULL_TEST_BINARY");
        const std::string hull = given == nullptr ? HULL_SOURCE_DIR "/build/release/hull" : given;
        std::string options;
        for (const std::string& word : words({})) {
            options += word == "run" ? "" : " " + word;
        }
        const std::filesystem::path script = folder->path() / "script";
        std::ofstream{script} << ("cd " + folder->path().string() + "; H='" + hull + "' R='" + hull + " run" +
                                  options + "' B='" + hull + " build" + options +
                                  "' O='--data-root store'\n" + line + "\n");
        const std::unique_ptr<FILE, void (*)(FILE*)> pipe{popen(("sh " + script.string()).c_str(), "re"),
                                                          [](FILE*) {}};
        Ended ended;
        ended.out = read_all(fileno(pipe.get()));
        const int status = pclose(pipe.get());
        ended.status = WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
        return ended;
    }

    static std::unique_ptr<TemporaryFolder> folder;
    static std::unique_ptr<Remains> before;
    std::set<std::string> files_before_;
};

std::unique_ptr<TemporaryFolder> Run::folder;
std::unique_ptr<Remains> Run::before;

TEST_F(Run, EndsWithTheCommandsStatus) {
    Ended ended = shell("$R --network none box");
    EXPECT_EQ(ended.status, 0);
    EXPECT_EQ(ended.out, "default\n");
    EXPECT_EQ(shell("$R --network none box sh -c 'exit 3'").status, 3);
    ended = shell("$R --network none box no-such-program 2>&1");
    EXPECT_EQ(ended.status, 127);
    EXPECT_EQ(ended.out, "hull: cannot run 'no-such-program' in the container: No such file or directory\n");
    ended = shell("$R --network none --entrypoint /etc/passwd box 2>&1");
    EXPECT_EQ(ended.status, 126);
    EXPECT_EQ(ended.out, "hull: cannot run '/etc/passwd' in the container: Permission denied\n");
    EXPECT_EQ(shell("$R --network none -m 24m box tail /dev/zero").status, 137) << "out of memory";
    ended = shell("$R --network none -u nobody-known box 2>&1");
    EXPECT_EQ(ended.status, 125);
    EXPECT_THAT(ended.out, HasSubstr("to find the user in /etc/passwd"));
}

TEST_F(Run, TheImageAndTheOptionsSayWhatTheCommandGets) {
    const Ended ended = shell(
        "export MINE=own; $R -h named -e GIVEN='by option' -e MINE -e PATH --ulimit nofile=99:100 "
        "--cpus 0.5 -m 64m --pids-limit 50 box sh -c 'pwd; hostname; echo $$ $OF_IMAGE:$GIVEN:$MINE:$HOME; "
        "cat /data/new; ls /etc/old; ulimit -n; ulimit -Hn; cat /etc/hostname /sys/fs/cgroup/memory.max "
        "/sys/fs/cgroup/cpu.max /sys/fs/cgroup/pids.max; grep named /etc/hosts; cat /etc/resolv.conf' 2>&1");
    EXPECT_EQ(ended.out,
              "/job/deep\nnamed\n1 yes:by option:own:/root\nof the second layer\n"
              "ls: /etc/old: No such file or directory\n99\n100\nnamed\n67108864\n50000 100000\n50\n"
              "10.0.2.15\tnamed\nnameserver 10.0.2.3\n");
}

TEST_F(Run, WhatIsBuiltWithoutADaemonIsRun) {
    const Ended ended = shell(
        "mkdir c; echo page >c/page; printf 'FROM box\\nCOPY page /\\nRUN cat /page /page >/two; echo told "
        ">&2; "
        "ip link | grep -c eth0\\nRUN wc -l </two >/lines; rm /page\\nCMD cat /lines /two; ls /page\\n' "
        ">c/Dockerfile; $B -t made c 2>err; echo $? $(cat err); $R --network none made 2>&1; "
        "$B -t again c | grep -c 'Using cache'; printf 'FROM box\\nRUN exit 7\\n' | $B -q - 2>&1; echo $?; "
        "printf 'FROM box\\nRUN ! ip link | grep eth\\n' | $B -t third --network none - 2>&1 | tail -n 1; "
        "$H rmi $O made again third >out; grep -c Deleted out; rm -r c err out");
    EXPECT_THAT(ended.out, testing::ContainsRegex(
                               "Step 1/5 : FROM box\n.*\n1\nRemoving.*Successfully tagged made:latest\n"
                               "0 told\n2\npage\npage\nls: /page: No such file or directory\n"
                               "4\n"));
    EXPECT_THAT(ended.out,
                HasSubstr("hull: cannot build '-': The command '/bin/sh -c exit 7' returned a non-zero "
                          "code: 7\n7\nSuccessfully tagged third:latest\n2\n"));
}

TEST_F(Run, ABuildThatIsKilledTakesItsMachineAlong) {
    const Ended ended = shell(
        "printf 'FROM box\\nRUN echo begun; sleep 1000\\n' >file; $B - <file >out 2>&1 & "
        "for i in $(seq 600); do grep -q ^begun out && break; sleep 0.1; done; kill -KILL $!; wait $!; "
        "grep -c ^begun out; printf 'FROM scratch\\nLABEL a=b\\n' | $B -q -t b - >out; $H rmi $O b >out; ls "
        "store/tmp; "
        "rm file out");
    EXPECT_EQ(ended.out, "1\n") << "and the next one sweeps";
}

TEST_F(Run, ItSeesItselfOnly) {
    const Ended ended = shell(
        "$R --network none box sh -c 'ls -d /proc/[0-9]* | head -n 1; cat /proc/1/comm; echo $(ls /dev); "
        "ls /sys/class/net; ls /proc/acpi /sys/firmware; (echo 1 >/proc/sys/kernel/sysrq) 2>&1; "
        "grep -c . /proc/self/mountinfo >/dev/null && grep -E \" (/w|/l/1|/c|/p) \" /proc/self/mountinfo; "
        "grep CapEff /proc/self/status; head -c 3 /dev/zero | wc -c; touch /dev/shm/x /w2 && echo written; "
        "mount -t tmpfs x /tmp || echo refused; cat /proc/keys; echo end' 2>&1");
    EXPECT_THAT(ended.out, HasSubstr("/proc/1\nsh\n"));
    EXPECT_THAT(ended.out, HasSubstr("core fd full mqueue null ptmx pts random shm stderr stdin stdout tty "
                                     "urandom zero\nlo\n/proc/acpi:\n\n/sys/firmware:\n"));
    EXPECT_THAT(ended.out, HasSubstr("Read-only file system"));
    EXPECT_THAT(ended.out, HasSubstr("CapEff:\t00000000a80425fb\n3\nwritten\n"));
    EXPECT_THAT(ended.out, HasSubstr("refused\nend\n"));
    EXPECT_THAT(ended.out, Not(HasSubstr(" /w ")));
}

TEST_F(Run, NoOpenFolderOfTheAgentsLeadsOutOfTheRoot) {
    // The number of the root that the agent has open is among these; the others are no folders.
    for (const char* number : {"4", "5", "6"}) {
        const Ended ended =
            shell("$R --network none -w /proc/self/fd/" + std::string{number} + " box ls .. 2>&1");
        EXPECT_EQ(ended.status, 125) << ended.out;
        EXPECT_THAT(ended.out, HasSubstr("the working folder")) << number;
    }
}

// The guest's pages lie apart after a while, so that requests have as many segments as the disk takes.
TEST_F(Run, LargeFilesAreWrittenAndReadAgain) {
    const Ended ended = shell(
        "$R --network none --shm-size 100m box sh -c 'cd /dev/shm; head -c 96000000 /dev/urandom >f; "
        "for i in 1 2; do cat f >/one; rm -f /two; cat f >/two; done; sync; cmp f /one && cmp f /two && "
        "echo same' 2>&1");
    EXPECT_EQ(ended.out, "same\n");
}

TEST_F(Run, AUserHasTheRightsThatTheImageGives) {
    EXPECT_EQ(
        shell(
            "$R --network none -u worker box sh -c 'id; echo $HOME; grep CapEff /proc/self/status; touch /x "
            "2>&1; touch /tmp/x && echo written'")
            .out,
        "uid=1000(worker) gid=1001(workers) groups=50(staff),1001(workers)\n/home/worker\n"
        "CapEff:\t0000000000000000\ntouch: /x: Permission denied\nwritten\n");
    EXPECT_EQ(shell("$R --network none -u 77:staff --cap-drop ALL --cap-add KILL --security-opt "
                    "no-new-privileges box sh -c 'id; grep -E \"CapBnd|NoNew\" /proc/self/status'")
                  .out,
              "uid=77 gid=50(staff) groups=50(staff)\nCapBnd:\t0000000000000020\nNoNewPrivs:\t1\n");
}

TEST_F(Run, ARootThatIsReadOnly) {
    const Ended ended = shell(
        "$R --network none --read-only --tmpfs /job:size=1m,exec box sh -c 'touch /x; touch /job/x && "
        "mount | grep -c \" /job .*size=1024k\"; touch /dev/shm/x && echo written; pwd' 2>&1");
    EXPECT_EQ(ended.out, "touch: /x: Read-only file system\n1\nwritten\n/job/deep\n");
}

TEST_F(Run, CarriesStreamsAndSignals) {
    EXPECT_EQ(
        shell("head -c 300001 /dev/urandom >in; $R --network none -i box sh -c 'cat; echo e >&2' <in >out "
              "2>err; cmp in out && cat err; echo x | $R --network none box cat && echo empty; rm in out err")
            .out,
        "e\nempty\n");
    HullProcess hull{words({"--network", "none", "box", "sh", "-c",
                            "trap 'echo caught; exit 9' TERM; echo up; while :; do sleep 0.1; done"})};
    ASSERT_TRUE(hull.wait_for("up\n"));
    kill(hull.keeper(), SIGTERM);
    EXPECT_EQ(hull.wait(), 9) << hull.err();
    EXPECT_EQ(hull.out(), "up\ncaught\n");
}

TEST_F(Run, GivesATerminal) {
    HullProcess hull{words({"--network", "none", "-it", "box", "sh", "-c",
                            "tty; stty size; echo $TERM; read line; echo got $line; read more"}),
                     HullProcess::Input::terminal};
    ASSERT_TRUE(hull.wait_for("xterm"));
    EXPECT_THAT(hull.out(), HasSubstr("/dev/pts/0"));
    EXPECT_THAT(hull.out(), HasSubstr("31 97"));
    hull.type("a line\r");
    ASSERT_TRUE(hull.wait_for("got a line"));
    hull.type("\x04");
    EXPECT_EQ(hull.wait(), 1) << hull.err();
    EXPECT_EQ(shell("$R -it box </dev/null 2>&1").status, 125);
}

TEST_F(Run, AnImageOf127Layers) {
    EXPECT_EQ(shell("$R --network none many 'ls /many | wc -l; cat /last'").out, "126\n127");
}

TEST_F(Run, DebiansKernelServesWithItsModules) {
    EXPECT_EQ(shell("${R%--kernel*} --kernel " + guest_file("debian/vmlinuz") + " --initramfs " +
                    guest_file("initramfs-debian") +
                    " -m 64m box sh -c 'cat /data/new /sys/fs/cgroup/memory.max; exit 9' 2>&1")
                  .out,
              "of the second layer\n67108864\n");
}

TEST_F(Run, APublishedPortLeadsIntoTheContainer) {
    HullProcess hull{words(
        {"-p", "127.0.0.1:18080:80", "box", "sh", "-c", "echo up; echo answer | nc -l -p 80; echo done"})};
    ASSERT_TRUE(hull.wait_for("up\n"));
    std::string answer;
    for (int tries = 0; tries < 50 && answer.empty(); ++tries) {
        std::this_thread::sleep_for(100ms);  // the guest's program may not listen yet
        answer = fetch("127.0.0.1", 18080);
    }
    EXPECT_EQ(answer, "answer\n");
    EXPECT_EQ(hull.wait(), 0) << hull.err();
}

TEST_F(Run, WhatIsKilledLeavesNothingRunning) {
    {
        HullProcess hull{
            words({"--network", "none", "--name", "same", "box", "sh", "-c", "echo up; sleep 1000"})};
        ASSERT_TRUE(hull.wait_for("up\n"));
        const Ended other = shell("$R --name same box 2>&1");
        EXPECT_EQ(other.status, 125);
        EXPECT_THAT(other.out, HasSubstr("one of this name is running"));
        kill(hull.keeper(), SIGKILL);
        EXPECT_EQ(hull.wait(), 1000 + SIGKILL);
        EXPECT_TRUE(std::filesystem::exists(folder->path() / "hull/same"));
    }
    // The next one sweeps what it left.
    EXPECT_EQ(shell("$R --network none --name same box").out, "default\n");
}

TEST_F(Run, SaysWhatIsWrong) {
    EXPECT_EQ(shell("$R 2>&1").status, 125);
    EXPECT_THAT(shell("$R --device /dev/x box 2>&1").out, HasSubstr("hull: "));
    EXPECT_EQ(shell("$R --network none -w /etc/passwd box 2>&1").status, 125);
}

}  // namespace
}  // namespace hull::test
