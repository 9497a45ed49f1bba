// docker build: commands that run in machines, and what becomes of them.
#include <gmock/gmock.h>

#include "tests/support/docker.h"

namespace hull::test {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class DockerBuild : public Docker {
  protected:
    /// Runs a line of shell in a folder with such a Dockerfile, and a file "page".
    static Ran in_folder(const std::string& dockerfile, const std::string& line) {
        const std::filesystem::path place = folder->path() / "context";
        std::filesystem::create_directories(place / "site");
        std::ofstream{place / "Dockerfile"} << dockerfile;
        std::ofstream{place / "site/page"} << "a page\n";
        return shell("cd " + place.string() + "\n" + line);
    }
};

TEST_F(DockerBuild, MakesAnImageThatIsRun) {
    const std::string dockerfile =
        "FROM box\n"
        "RUN mkdir -p /usr/share/nginx/html && echo '<h1>Hello, Docker!</h1>' > "
        "/usr/share/nginx/html/index.html && busybox rm /etc/old\n"
        "CMD [\"sh\", \"-c\", \"cat /usr/share/nginx/html/index.html; ls /etc\"]\n";
    const Ran built = in_folder(dockerfile, "docker build . -t mynginx:v1");
    EXPECT_EQ(built.status, 0) << built.out;
    EXPECT_THAT(built.out,
                AllOf(HasSubstr("Step 1/3 : FROM box\n"), HasSubstr(" ---> Running in "),
                      HasSubstr("Removing intermediate container "), HasSubstr("Successfully built "),
                      HasSubstr("Successfully tagged mynginx:v1\n")));
    const Ran ran = docker("run --rm mynginx:v1");
    EXPECT_THAT(ran.out,
                AllOf(HasSubstr("<h1>Hello, Docker!</h1>\n"), HasSubstr("passwd"), Not(HasSubstr("old"))));
    // Nothing runs again, whichever daemon it is; steps are not shown among the images.
    daemon_->end(SIGTERM);
    start_daemon();
    const Ran again =
        in_folder(dockerfile, "docker build . -t mynginx:v2 && docker images -q | sort -u | wc -l");
    EXPECT_THAT(again.out, AllOf(HasSubstr("Using cache"), Not(HasSubstr("Running in")),
                                 HasSubstr("Successfully tagged mynginx:v2\n2\n")));
    EXPECT_EQ(docker("ps -aq").out, "");
    EXPECT_EQ(docker("rmi mynginx:v1 mynginx:v2 > /dev/null; docker images -aq | wc -l").out, "1\n");
}

TEST_F(DockerBuild, CopiesBetweenStages) {
    const Ran built = in_folder(
        "FROM box AS maker\nARG word\nWORKDIR /made\nCOPY site /in\n"
        "RUN cat /in/page > out && echo $word >> out && echo told 1>&2\n"
        "FROM box\nCOPY --from=maker --chown=7:8 --chmod=640 /made/out /data/\n"
        "CMD [\"sh\", \"-c\", \"ls -ln /data/out; cat /data/out\"]\n",
        "docker build --build-arg word=given -t made . && docker run --rm made && "
        "docker build --build-arg word=given -q . 2> /dev/null");
    EXPECT_THAT(built.out, AllOf(HasSubstr("told\n"), ContainsRegex("-rw-r----- +1 7 +8 "),
                                 ContainsRegex("a page\ngiven\nsha256:[0-9a-f]+\n$")));
}

TEST_F(DockerBuild, FailsAsDockerDoesAndLeavesNothingRunning) {
    const Ran failed = in_folder("FROM box\nRUN echo before; exit 7\n", "docker build --force-rm .");
    EXPECT_EQ(failed.status, 7);
    EXPECT_THAT(failed.out, AllOf(HasSubstr("before\n"),
                                  HasSubstr("The command '/bin/sh -c echo before; exit 7' returned a "
                                            "non-zero code: 7")));
    EXPECT_EQ(docker("ps -aq").out, "");
    EXPECT_THAT(in_folder("FROM box\n\nFOO\n", "docker build .").out,
                HasSubstr("dockerfile parse error line 3: unknown instruction: FOO"));
    // A client that goes takes its build along.
    in_folder(
        "FROM box\nRUN sleep 1000\n",
        "docker build . & for i in $(seq 300); do docker ps -q | grep -q . && break; sleep 0.1; done; kill "
        "-INT $!; wait $!; for i in $(seq 100); do docker ps -aq | grep -q . || break; sleep 0.1; done");
    EXPECT_EQ(docker("ps -aq").out, "");
}

TEST_F(DockerBuild, TwoAtOnceDoNotDisturbEachOther) {
    const Ran built = in_folder("FROM box\nARG n\nRUN echo number $n > /n && cat /n\n",
                                "docker build --build-arg n=1 -t one . > 1 2>&1 & docker build --build-arg "
                                "n=2 -t two . > 2 2>&1; wait\n"
                                "grep -h -e '^number' -e tagged 1 2");
    EXPECT_EQ(built.out,
              "number 1\nSuccessfully tagged one:latest\nnumber 2\nSuccessfully tagged two:latest\n");
}

}  // namespace
}  // namespace hull::test
