// kill -9 of the daemon, of supervisors and of machines, at any moment of what a docker client wants.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/debians_registry.h"
#include "tests/support/docker.h"

namespace hull::test {
namespace {

using namespace std::chrono_literals;

class DockerKills : public Docker {
  protected:
    /// This daemon's supervisors, and all that they have started: machines, keepers and their helpers.
    static std::vector<pid_t> supervisors_and_below() {
        std::vector<pid_t> all;
        for (const auto& entry : std::filesystem::directory_iterator{"/proc"}) {
            const std::string name = entry.path().filename();
            pid_t process = 0;
            if (std::from_chars(name.data(), name.data() + name.size(), process).ec != std::errc{}) {
                continue;
            }
            std::ifstream file{entry.path() / "cmdline"};
            const std::string words{std::istreambuf_iterator<char>{file}, {}};
            if (words.find(std::string{"hull-supervisor"} + '\0' + root().string()) != std::string::npos) {
                all.push_back(process);
            }
        }
        for (size_t at = 0; at < all.size(); ++at) {
            const std::string process = std::to_string(all[at]);
            std::ifstream children{"/proc/" + process + "/task/" + process + "/children"};
            for (pid_t child = 0; children >> child;) {
                all.push_back(child);
            }
        }
        return all;
    }
};

/// HULL_DAEMON_KILLS rounds (3), each with a row of commands under way, one of which is cut off.
TEST_F(DockerKills, LoseNothingAndLeaveNothing) {
    const unsigned seed = number_from("HULL_DAEMON_KILLS_SEED", std::random_device{}());
    std::cout << "HULL_DAEMON_KILLS_SEED=" << seed << "\n";
    std::minstd_rand random{seed};
    const auto below = [&](size_t end) { return std::uniform_int_distribution<size_t>{0, end - 1}(random); };
    const DebiansRegistry registry;
    const std::string image = registry.host() + "/library/box:latest";
    ASSERT_EQ(
        shell("docker tag box " + image + " && docker push -q " + image + " && docker rmi " + image).status,
        0);
    const std::vector<std::string> rows{
        "docker pull -q " + image + "; docker run --rm " + image + " true; docker rmi " + image,
        "docker save box | docker load; docker pull -q " + image + "; docker rmi " + image,
        "docker run --rm box true; docker run --rm box echo",
        "docker create --name made box true; docker start -a made; docker rm made",
        "docker run -d --name back -p 127.0.0.1:18082:80 box sleep 1000; docker stop -t 1 back; docker rm "
        "back",
        "docker run -d --name back box sleep 1000; docker exec back true; docker rm -f back",
        "docker run -d --name back box sleep 1000; docker restart -t 0 back; docker kill back; docker start "
        "back",
        "docker run --rm -v kept:/v -v disk:/d box sh -c 'echo x >/v/new; echo x >/d/new; sync; rm /v/new "
        "/d/new'; docker volume create other; docker volume rm other",
        "docker create --name made -v disk:/d box true; docker cp /etc/passwd made:/d/copy; docker cp "
        "made:/d/copy - >copy; docker diff made; docker rm made",
        "docker run -d --name back -v kept:/v box sleep 1000; docker cp /etc/passwd back:/v/copy; docker "
        "commit back made:1; docker export back | tar -t; docker rm -f back; docker rmi made:1",
        "mkdir -p context; printf 'FROM box\\nCOPY . /context\\nRUN echo x >/x\\n' >context/Dockerfile; "
        "docker build --no-cache -q -t built context; docker run --rm built cat /x; docker rmi built"};
    ASSERT_EQ(docker("volume create --opt type=block disk").status, 0);
    ASSERT_EQ(
        docker("run --rm -v kept:/v -v disk:/d box sh -c 'echo kept >/v/file; echo disk >/d/file'").status,
        0);
    ASSERT_EQ(
        docker("run -d --name stays --restart always box sh -c 'echo up; while :; do sleep 1; done'").status,
        0);
    for (unsigned round = 0; round < number_from("HULL_DAEMON_KILLS", 3); ++round) {
        const std::string& row = rows[below(rows.size())];
        const auto moment = std::chrono::milliseconds{below(4000)};
        const size_t victim = below(3);
        SCOPED_TRACE("round " + std::to_string(round) + ": " + row + ", after " +
                     std::to_string(moment.count()) + " ms, victim " + std::to_string(victim));
        std::thread client{[&] { shell("(" + row + ") >/dev/null 2>&1"); }};
        std::this_thread::sleep_for(moment);
        if (victim == 0) {
            daemon_->end(SIGKILL);
            start_daemon();
        } else if (const auto processes = supervisors_and_below(); !processes.empty()) {
            kill(processes[below(processes.size())], SIGKILL);
        }
        client.join();
        // The daemon answers, what was to run runs again, and what a client was cut off from can be removed.
        EXPECT_EQ(docker("ps -a").status, 0);
        EXPECT_TRUE(comes_true("docker exec stays true")) << docker("ps -a").out << docker("logs stays").out;
        const Ran removed =
            shell("for n in $(docker ps -a --format '{{.Names}}' | grep -v stays); do docker rm -f $n; done");
        EXPECT_EQ(removed.status, 0) << removed.out;
        EXPECT_TRUE(comes_true("[ \"$(docker ps -aq | wc -l)\" = 1 ]")) << docker("ps -a").out;
        docker("rmi -f made:1 built");
        EXPECT_EQ(docker("run --rm -v kept:/v -v disk:/d box cat /v/file /d/file").out, "kept\ndisk\n");
        const Ran pulled = shell("docker pull -q " + image + " && docker run --rm " + image +
                                 " echo whole && docker rmi -f " + image + " >/dev/null");
        EXPECT_EQ(pulled.out, image + "\nwhole\n");
        if (HasFailure()) {
            break;
        }
    }
    EXPECT_EQ(docker("rm -f stays").status, 0);
    EXPECT_EQ(docker("volume rm kept disk").out, "kept\ndisk\n");
    docker("volume rm other");
}

}  // namespace
}  // namespace hull::test
