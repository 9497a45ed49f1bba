// `hull sandbox` with real kernels: what a command gets and does not get, how it ends, and what it leaves.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <termios.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/echo_server.h"
#include "tests/support/hull_process.h"
#include "tests/support/sandbox_rig.h"

namespace hull::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

class Sandbox : public SandboxRig {};

TEST_P(Sandbox, EndsWithTheCommandsStatus) {
    EXPECT_EQ(shell("$S -- true").status, 0);
    EXPECT_EQ(shell("$S -- sh -c 'exit 7'").status, 7);
    EXPECT_EQ(shell("$S -- sh -c 'kill -9 $$'").status, 137);
    Ended ended = shell("$S -- no-such-program 2>&1");
    EXPECT_EQ(ended.status, 127);
    EXPECT_EQ(ended.out, "hull: cannot run 'no-such-program' in the sandbox: No such file or directory\n");
    ended = shell("echo text >plain; $S -- ./plain 2>&1");
    EXPECT_EQ(ended.status, 126);
    EXPECT_EQ(ended.out, "hull: cannot run '/in/plain' in the sandbox: Permission denied\n");
    // What it leaves running ends with it.
    ended = shell("$S -- sh -c '(sleep 1000; echo late) & echo soon; exit 3'");
    EXPECT_EQ(ended.status, 3);
    EXPECT_EQ(ended.out, "soon\n");
}

TEST_P(Sandbox, CarriesStreamsApartAndUnchanged) {
    const Ended ended = shell(
        "head -c 3000001 /dev/urandom >in; $S -- sh -c 'cat; echo to errors >&2' <in >out 2>errors; echo $?;"
        "cmp in out && cat errors; $S -- sh -c 'head -c 5000000 /dev/zero | wc -c; cat | wc -c' </dev/null;"
        "$S -- yes | head -n 2; $S -- cat <&- && echo empty");
    EXPECT_EQ(ended.out, "0\nto errors\n5000000\n0\ny\ny\nempty\n");
}

TEST_P(Sandbox, EndsAtTheTimeLimit) {
    const auto begin = std::chrono::steady_clock::now();
    const Ended ended = shell("$S --timeout 4 -- sh -c 'trap \"\" TERM INT; echo up; sleep 1000; echo late'");
    EXPECT_EQ(ended.status, 124);
    EXPECT_EQ(ended.out, "up\n");
    EXPECT_GE(std::chrono::steady_clock::now() - begin, 4s);
    // Also where nobody reads what it prints.
    EXPECT_EQ(shell("$S --timeout 4 -- yes | (sleep 15; cat >/dev/null); true").status, 0);
}

TEST_P(Sandbox, CarriesSignals) {
    {
        const auto hull =
            start({"--", "sh", "-c", "trap 'echo caught; exit 9' INT; echo up; sleep 1000 & wait"});
        ASSERT_TRUE(hull->wait_for("up\n"));
        kill(hull->keeper(), SIGINT);
        EXPECT_EQ(hull->wait(), 9) << hull->err();
        EXPECT_EQ(hull->out(), "up\ncaught\n");
    }
    {
        const auto hull = start({"--", "sh", "-c", "echo up; exec sleep 1000"});
        ASSERT_TRUE(hull->wait_for("up\n"));
        kill(hull->keeper(), SIGTERM);
        EXPECT_EQ(hull->wait(), 128 + SIGTERM) << hull->err();
    }
    // One that does not listen is ended by the second.
    const auto hull = start({"--", "sh", "-c", "trap '' INT; echo up; sleep 1000; sleep 1000"});
    ASSERT_TRUE(hull->wait_for("up\n"));
    kill(hull->keeper(), SIGINT);
    std::this_thread::sleep_for(500ms);
    EXPECT_EQ(hull->out(), "up\n");
    kill(hull->keeper(), SIGINT);
    EXPECT_EQ(hull->wait(), 128 + SIGINT) << hull->err();
}

TEST_P(Sandbox, GivesATerminal) {
    const auto hull =
        start({"--tty", "--", "sh", "-c",
               "tty; stty size; trap 'echo stopped; exit 5' INT; read line; echo got $line; read more"},
              HullProcess::Input::terminal);
    termios before{};
    tcgetattr(hull->terminal(), &before);
    ASSERT_TRUE(hull->wait_for("31 97"));
    EXPECT_THAT(hull->out(), HasSubstr("/dev/pts/"));
    hull->type("a line\r");
    ASSERT_TRUE(hull->wait_for("got a line"));
    hull->type("\x03");
    EXPECT_EQ(hull->wait(), 5) << hull->err();
    EXPECT_THAT(hull->out(), HasSubstr("stopped"));
    termios after{};
    tcgetattr(hull->terminal(), &after);
    EXPECT_EQ(after.c_lflag, before.c_lflag) << "the terminal is left as it was";
    const Ended ended = shell("$S --tty -- true </dev/null 2>&1");
    EXPECT_EQ(ended.status, 125);
    EXPECT_THAT(ended.out, HasSubstr("standard input is none"));
}

TEST_P(Sandbox, ShowsProgramsAndNothingOfAnybodys) {
    const std::string secret = folder() / "secret";
    std::ofstream{secret} << "a secret";
    const Ended ended = shell(
        "$S -- sh -c 'ls -m /; ls -m /var; echo \"kept: $(ls -A /root /tmp 2>/dev/null | tr -d \":/\\n\")\"; "
        "echo \"read: $(cat " +
        secret +
        " /etc/shadow /etc/gshadow /etc/sudoers /etc/ssh/* /etc/ssl/private/*)\"; "
        "echo over >/usr/bin/id; cat /usr/bin/id; rm /usr/bin/env; touch /usr/made && echo wrote' "
        "2>/dev/null; ls -d /usr/bin/env; id -u; test -e /usr/made || echo unchanged");
    EXPECT_THAT(ended.out, testing::MatchesRegex(
                               "bin, [a-z0-9, \n]*\ntmp\nkept: roottmp\nread: \nover\nwrote\n/usr/bin/env\n"
                               "[0-9]+\nunchanged\n"));
    const std::string listed = ended.out.substr(0, ended.out.find("kept"));
    for (const char* shown : {"usr", "etc", "lib", "in", "out", "tmp", "dev", "proc"}) {
        EXPECT_THAT(listed, testing::ContainsRegex(std::string{"[ \n]"} + shown + "[,\n]")) << shown;
    }
    for (const char* hidden : {"home", "mnt", "srv", "boot", "opt", "media"}) {
        EXPECT_THAT(listed, Not(HasSubstr(hidden)));
    }
}

TEST_P(Sandbox, IsNotRightlessButReachesNothingOfTheGuestsKernel) {
    const Ended ended = shell(
        "$S -- sh -c 'id -u; mount -t tmpfs x /tmp; reboot -f; echo 1 >/proc/sys/kernel/sysrq; "
        "head -c 1 /dev/mem; echo still here' 2>/dev/null");
    EXPECT_EQ(ended.out, "0\nstill here\n");
    EXPECT_EQ(ended.status, 0);
}

TEST_P(Sandbox, HasNoNetworkUnlessAskedFor) {
    EXPECT_EQ(shell("$S -- sh -c 'ls /sys/class/net | grep -v dummy; cat /etc/resolv.conf' 2>/dev/null").out,
              "lo\n");
    EXPECT_EQ(shell("$S --net user -- sh -c 'ls /sys/class/net | grep -v dummy; cat /etc/resolv.conf; "
                    "grep -c 10.0.2.15 /proc/net/fib_trie >/dev/null && echo addressed'")
                  .out,
              "eth0\nlo\nnameserver 10.0.2.3\naddressed\n");
}

TEST_P(Sandbox, ReachesThoseWhoAreAllowedAndNobodyElse) {
    if (std::system("ip addr replace 192.0.2.77/32 dev lo") != 0) {
        GTEST_SKIP() << "only root can give the host an address";
    }
    {
        const EchoServer local{"127.0.0.1"};
        const EchoServer far{"192.0.2.77"};
        const Ended ended = shell(
            "$S --allow localhost:7007 --allow 192.0.2.77:7007 --allow 192.0.2.77:7008 -- bash -c '"
            "for place in localhost 192.0.2.77; do exec 3<>/dev/tcp/$place/7007; echo to $place >&3; "
            "head -n 1 <&3; exec 3>&-; done; "
            "for place in localhost/22 192.0.2.77/7008 192.0.2.78/7007; do "
            "(exec 3<>/dev/tcp/$place && head -n 1 <&3 | grep . || echo nobody at $place); done' "
            "2>/dev/null");
        EXPECT_EQ(ended.out,
                  "to localhost\nto 192.0.2.77\n"
                  "nobody at localhost/22\nnobody at 192.0.2.77/7008\nnobody at 192.0.2.78/7007\n");
        EXPECT_EQ(ended.status, 0);
    }
    EXPECT_EQ(std::system("ip addr del 192.0.2.77/32 dev lo"), 0);
}

TEST_P(Sandbox, BringsFilesInAndBack) {
    const Ended ended = shell(
        "umask 077; mkdir -p dir/sub; echo one >dir/sub/file; echo two >single; printf '#!/bin/sh\\npwd; cat "
        "\"$@\"; "
        "cp -r /in/dir /out; ln -s dir/sub/file /out/good; ln -s /etc/passwd /out/bad; mkfifo /out/pipe; "
        "chmod u+s /out/dir/sub/file; echo changed >/in/single\\n' >program; chmod 700 program;"
        "$S --in dir --in single --out back -- ./program /in/dir/sub/file single 2>&1; echo $?;"
        "cat single back/good; ls -A back; stat -c '%a %u' back/dir/sub/file; id -u");
    std::istringstream lines{ended.out};
    std::vector<std::string> all;
    for (std::string line; std::getline(lines, line);) {
        all.push_back(line);
    }
    ASSERT_EQ(all.size(), 11U) << ended.out;
    EXPECT_EQ(
        ended.out.substr(0, ended.out.find("600")),
        "/in\none\ntwo\nhull: left out 1 symbolic links that lead out of /out\n0\ntwo\none\ndir\ngood\n");
    EXPECT_EQ(all[9], "600 " + all[10]);
    EXPECT_FALSE(fs::is_symlink(own("back/bad")));
}

TEST_P(Sandbox, BringsBackNoMoreThanItMay) {
    Ended ended = shell(
        "$S --out back --out-limit 2M -- sh -c 'head -c 3000000 /dev/zero >/out/f' 2>&1; echo $?; "
        "test $(du -sm back | cut -f1) -le 3 && echo little");
    EXPECT_THAT(ended.out, HasSubstr("more than the limit"));
    EXPECT_THAT(ended.out, HasSubstr("125\nlittle\n"));
    ended = shell("mkdir full; echo x >full/f; $S --out full -- true 2>&1; echo $?; ls full");
    EXPECT_THAT(ended.out, HasSubstr("it is not empty"));
    EXPECT_THAT(ended.out, HasSubstr("125\nf\n"));
}

TEST_P(Sandbox, SeesAnImageInsteadOfTheHostsPrograms) {
    const std::string made =
        shell(
            "mkdir -p r/bin r/etc; cp $(command -v busybox) r/bin; echo IMAGE >r/etc/os-release;"
            "for name in sh cat ls id grep; do ln -s busybox r/bin/$name; done;"
            "ln -s /etc/shadow r/etc/away; echo input >input;"
            "printf '#!/bin/sh\\necho brought in\\n' >program; chmod 755 program;"
            "tar -C r -cf r.tar . && gzip -k r.tar && xz -k r.tar && "
            "truncate -s 16M r.ext4 && /sbin/mkfs.ext4 -q -d r r.ext4 && "
            "/usr/bin/mkfs.erofs r.erofs r >/dev/null 2>&1 && echo made")
            .out;
    ASSERT_EQ(made, "made\n");
    for (const char* image : {"r.tar", "r.tar.gz", "r.tar.xz", "r.ext4", "r.erofs"}) {
        SCOPED_TRACE(image);
        const std::string option = std::string{"$S --image "} + image;
        const Ended ended =
            shell(option +
                  " --in input -- /bin/sh -c 'cat /etc/os-release /in/input; id -u; ls /usr /etc/passwd "
                  "2>/dev/null; cat /etc/away 2>/dev/null; echo over >/etc/os-release; cat /etc/os-release; "
                  "echo over >/in/input && cat /in/input; grep -c . /proc/self/stat; exit 6'; "
                  "echo $?; cat input");
        EXPECT_EQ(ended.out, "IMAGE\ninput\n0\nover\nover\n1\n6\ninput\n");
        EXPECT_EQ(shell(option + " -- ./program").out, "brought in\n");
        EXPECT_EQ(shell(option + " -- /usr/bin/env 2>/dev/null").status, 127) << "the host's";
    }
}

TEST_P(Sandbox, SaysWhatIsWrongWithAnImage) {
    shell(
        "echo text >text; : >empty; mkdir folder;"
        "head -c 5000 $(command -v busybox) >part; gzip -k part; head -c 1000 part.gz >cut.gz;"
        "mkdir r; /usr/bin/mksquashfs r r.squash -quiet >/dev/null");
    const std::pair<const char*, const char*> rows[] = {
        {"nothing", "No such file or directory"},
        {"folder", "it is a folder"},
        {"empty", "the file is empty"},
        {"text", "neither a tar archive nor"},
        {"cut.gz", "cannot be unpacked"},
        {"r.squash", "does not know the image's file system (squashfs)"},
    };
    for (const auto& [image, told] : rows) {
        SCOPED_TRACE(image);
        const Ended ended = shell(std::string{"$S --image "} + image + " -- true 2>&1");
        EXPECT_EQ(ended.status, 125);
        EXPECT_THAT(ended.out, HasSubstr(told));
        EXPECT_EQ(std::ranges::count(ended.out.substr(ended.out.find("hull:")), '\n'), 1) << ended.out;
    }
}

TEST_P(Sandbox, EndsAtCtrlAX) {
    const auto hull =
        start({"--tty", "--", "sh", "-c", "stty raw; echo up; sleep 1000"}, HullProcess::Input::terminal);
    ASSERT_TRUE(hull->wait_for("up"));
    hull->type(std::string(10'000, 'y'));  // which nobody reads
    hull->type("\x01x");
    EXPECT_EQ(hull->wait(), 128 + SIGKILL) << hull->err();
}

TEST_P(Sandbox, SaysInOneLineWhatIsWrong) {
    const std::pair<const char*, const char*> rows[] = {
        {"--in nothing-there -- true", "No such file or directory"},
        {"--out nowhere/at/all -- true", "No such file or directory"},
        {"--kernel nothing -- true", "nothing"},
        {"--memory 100T -- true", "100T"},
        {"--initramfs nothing -- true", "nothing"},
        {"true", "belongs to no option"},
    };
    for (const auto& [words, told] : rows) {
        SCOPED_TRACE(words);
        const std::string line = std::string{words}.starts_with("--kernel") ? hull_ + " sandbox " + words
                                                                            : "$S " + std::string{words};
        const Ended ended = shell(line + " 2>&1");
        EXPECT_EQ(ended.status, 125);
        EXPECT_THAT(ended.out, HasSubstr(told));
        EXPECT_EQ(std::count(ended.out.begin(), ended.out.end(), '\n'), 1) << ended.out;
    }
    const Ended ended = shell("echo a >a; mkdir b; echo a >b/a; $S --in a --in b/a -- true 2>&1");
    EXPECT_EQ(ended.status, 125);
    EXPECT_THAT(ended.out, HasSubstr("the same name"));
}

TEST_P(Sandbox, LeavesNothingWhoeverIsKilled) {
    for (const bool session : {true, false}) {
        const auto hull = start({"--net", "user", "--", "sh", "-c", "echo up; sleep 1000"});
        ASSERT_TRUE(hull->wait_for("up\n"));
        // The child of hull's that keeps the machine, or the one that the user started.
        kill(session ? hull->keeper() : hull->machine(), SIGKILL);
        EXPECT_EQ(hull->wait(), session ? 1000 + SIGKILL : 125) << hull->err();
        // TearDown() looks for the rest.
    }
}

INSTANTIATE_TEST_SUITE_P(Users, Sandbox, testing::Values(Who::root, Who::ordinary),
                         [](const auto& who) { return who.param == Who::root ? "root" : "ordinary_user"; });

TEST(SandboxKernels, DebiansKernelWorksWithItsModules) {
    HullProcess hull{{"sandbox", "--kernel", guest_file("debian/vmlinuz"), "--initramfs",
                      guest_file("initramfs-debian"), "--net", "user", "--", "sh", "-c",
                      "uname -r; ls /sys/class/net; exit 6"}};
    EXPECT_EQ(hull.wait(), 6) << hull.err();
    EXPECT_THAT(hull.out(), testing::MatchesRegex("6\\.1.*amd64\neth0\nlo\n"));
    EXPECT_EQ(hull.err(), "");
}

TEST(SandboxKernels, AGuestThatDoesNotComeUpIsTold) {
    // Debian's kernel without the modules that it needs.
    HullProcess hull{{"sandbox", "--kernel", guest_file("debian/vmlinuz"), "--", "true"}};
    EXPECT_EQ(hull.wait(), 125);
    EXPECT_THAT(hull.err(), HasSubstr("hull-agent: cannot serve the host"));
    EXPECT_THAT(hull.err(), HasSubstr("the guest has ended by itself"));
}

}  // namespace
}  // namespace hull::test
