// The host's folders, files and volumes in containers, by the stock docker client.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/docker.h"

namespace hull::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::MatchesRegex;

/// With an image that has a folder on a volume.
class DockerVolumes : public Docker {
  protected:
    static void SetUpTestSuite() {
        Docker::SetUpTestSuite();
        container::Store store{root(), container::Store::Use::shared};
        std::string layer =
            TarPart{.type = '5', .name = "srv/data", .mode = 0750, .uid = 1000, .gid = 1001}.bytes();
        layer +=
            TarPart{.name = "srv/data/file", .content = "the image's\n", .mode = 0640, .uid = 1000}.bytes();
        layer += TarPart{.type = '2', .name = "srv/data/link", .link = "file"}.bytes();
        layer += std::string(1024, '\0');
        store_image(store, "data", {busybox_layer(), layer},
                    R"("config":{"Env":["PATH=/bin"],"Cmd":["sh","-c","stat -c '%u:%g %a' /srv/data; )"
                    R"(stat -c '%u %a' /srv/data/file; cat /srv/data/link"],"Volumes":{"/srv/data":{}}})");
    }
    void TearDown() override {
        docker("volume rm $(docker volume ls -q)");
        Docker::TearDown();
    }
    static fs::path place(const std::string& name) {
        const fs::path made = folder->path() / name;
        fs::create_directories(made);
        return made;
    }
};

TEST_F(DockerVolumes, MountFoldersAndFilesOfTheHosts) {
    const fs::path shared = place("shared");
    std::ofstream{shared / "in"} << "from the host\n";
    std::ofstream{shared / "one,file"} << "one\n";
    fs::create_directories(shared / "fixed");
    const std::string mounts = " -v " + shared.string() + ":/data -v '" + shared.string() +
                               "/one,file:/etc/made/one' -v " + shared.string() + "/fixed:/fixed:ro -v " +
                               folder->path().string() + "/missing/deep:/deep ";
    ASSERT_EQ(docker("run -d --name both" + mounts + "box sleep 1000").status, 0);
    EXPECT_TRUE(fs::is_directory(folder->path() / "missing/deep")) << "as Docker makes it";
    EXPECT_EQ(docker("exec both sh -c 'cat /data/in /etc/made/one; echo two >>/etc/made/one; "
                     "echo from the guest >/data/out; mkdir -p /data/sub; touch /fixed/x; ls /deep'")
                  .out,
              "from the host\none\ntouch: /fixed/x: Read-only file system\n");
    EXPECT_EQ(contents_of(shared / "out"), "from the guest\n");
    EXPECT_EQ(contents_of(shared / "one,file"), "one\ntwo\n");
    EXPECT_TRUE(fs::is_directory(shared / "sub"));
    std::ofstream{shared / "later"} << "later\n";
    EXPECT_EQ(docker("exec both cat /data/later").out, "later\n");
    // What the guest has just looked at is looked at again.
    EXPECT_EQ(shell("cd " + folder->path().string() +
                    " && mkfifo lines && exec 3<>lines && "
                    "docker exec -i both sh -c 'cat /data/later; read x; cat /data/later' <lines | "
                    "{ read -r line; echo at once >>shared/later; echo >&3; cat; }")
                  .out,
              "later\nat once\n");
    // The client gives them in an order by chance.
    EXPECT_EQ(
        docker("inspect -f '{{range .Mounts}}{{println .Type .Destination .RW}}{{end}}' both | sort").out,
        "\nbind /data true\nbind /deep true\nbind /etc/made/one true\nbind /fixed false\n");
    // What its machine's guest thinks of it keeps nobody from writing: the host does.
    EXPECT_EQ(
        docker(
            "run --rm --privileged -v " + shared.string() +
            "/fixed:/fixed:ro box sh -c 'mount -o remount,rw,bind /fixed && echo remounted; touch /fixed/x'")
            .out,
        "remounted\ntouch: /fixed/x: Read-only file system\n");
    EXPECT_TRUE(fs::is_empty(shared / "fixed"));
    // Those that its guest may believe something of for a moment have a server of their own.
    EXPECT_EQ(docker("run --rm -v " + shared.string() + ":/1 -v alone:/2 -v " + shared.string() +
                     "/later:/3:ro,cached -v " + shared.string() +
                     "/in:/4:ro,consistent box sh -c 'echo new >/2/new; cat /1/out /2/new /3 /4; "
                     "grep -c virtiofs /proc/self/mounts'")
                  .out,
              "from the guest\nnew\nlater\nat once\nfrom the host\n4\n");
    // With its supervisor goes all that served it: the fixture looks for mounts and programs.
    EXPECT_EQ(shell("kill -9 $(docker inspect -f '{{.State.Pid}}' both); docker wait both").out, "137\n");
    EXPECT_EQ(docker("start both").status, 0);
    EXPECT_EQ(docker("exec both cat /data/out").out, "from the guest\n");
}

TEST_F(DockerVolumes, KeepWhatContainersShare) {
    ASSERT_EQ(docker("volume create --label of=test kept").out, "kept\n");
    ASSERT_EQ(docker("run -d --name one -v kept:/v box sleep 1000").status, 0);
    ASSERT_EQ(docker("run -d --name two --volumes-from one box sleep 1000").status, 0);
    EXPECT_EQ(docker("exec one sh -c 'echo first >/v/file; mkdir /v/folder'").out, "");
    EXPECT_EQ(docker("exec two sh -c 'cat /v/file; ls -d /v/folder; echo second >>/v/file'").out,
              "first\n/v/folder\n");
    EXPECT_EQ(docker("exec one cat /v/file").out, "first\nsecond\n");
    EXPECT_THAT(docker("volume rm kept").out,
                MatchesRegex(".*remove kept: volume is in use - \\[[0-9a-f]+, [0-9a-f]+\\]\n"));
    // One of them dies; the other goes on, and nothing is lost.
    EXPECT_EQ(shell("kill -9 $(docker inspect -f '{{.State.Pid}}' one); docker wait one").out, "137\n");
    EXPECT_EQ(docker("exec two sh -c 'echo third >>/v/file; cat /v/file'").out, "first\nsecond\nthird\n");
    EXPECT_EQ(docker("rm -f -v one two").out, "one\ntwo\n");
    EXPECT_EQ(
        docker("run --rm --mount type=volume,src=kept,dst=/v,readonly box sh -c 'cat /v/file; touch /v/x'")
            .out,
        "first\nsecond\nthird\ntouch: /v/x: Read-only file system\n");
    EXPECT_EQ(docker("volume ls -q --filter label=of=test").out, "kept\n");
    EXPECT_THAT(docker("volume prune -f").out, HasSubstr("Total reclaimed space: 0B"));
    EXPECT_THAT(docker("volume prune -f -a").out, HasSubstr("kept\n"));
}

TEST_F(DockerVolumes, MayBeADiskOfOneContainerAtATime) {
    ASSERT_EQ(docker("volume create --opt type=block --opt size=100m disk").out, "disk\n");
    EXPECT_EQ(docker("run --rm -v disk:/srv/data data").out, "1000:1001 750\n1000 640\nthe image's\n");
    ASSERT_EQ(docker("run -d --name one -v disk:/v box sleep 1000").status, 0);
    EXPECT_EQ(docker("exec one sh -c 'ls -A /v; echo first >/v/own; chown 7:8 /v/own'").out, "file\nlink\n");
    EXPECT_THAT(docker("run --rm -v disk:/v box true").out,
                HasSubstr("the volume disk is a disk (type=block), which one container has at a time: stop "
                          "one first"));
    // However it ends, what it has written is there, though it has synced nothing.
    EXPECT_EQ(docker("rm -f one").out, "one\n");
    EXPECT_EQ(docker("run --rm -v disk:/v:ro box sh -c 'cat /v/own; stat -c %u:%g /v/own; touch /v/x'").out,
              "first\n7:8\ntouch: /v/x: Read-only file system\n");
    EXPECT_EQ(docker("run --rm -v disk:/v box sh -c 'echo second >/v/own; dd if=/dev/zero of=/v/large "
                     "bs=1M count=200 2>&1 | grep -o No.space.*; rm /v/large'")
                  .out,
              "No space left on device\n");
    // One that was killed leaves it whole, and one that never ran shows it.
    ASSERT_EQ(docker("run -d --name two -v disk:/v box sh -c 'while echo x >>/v/grows; do :; done'").status,
              0);
    EXPECT_EQ(shell("kill -9 $(docker inspect -f '{{.State.Pid}}' two); docker wait two").out, "137\n");
    ASSERT_EQ(docker("create --name three -v disk:/v box").status, 0);
    EXPECT_EQ(docker("cp three:/v/own - | tar -x -O").out, "second\n");
    EXPECT_EQ(docker("run --rm -v disk:/v box cat /v/own").out, "second\n");
    EXPECT_EQ(docker("rm two three").status, 0);
    EXPECT_EQ(docker("volume rm disk").out, "disk\n");
}

TEST_F(DockerVolumes, BeginWithWhatTheImageHas) {
    const std::string whole = "1000:1001 750\n1000 640\nthe image's\n";
    EXPECT_EQ(docker("run --rm data").out, whole);
    EXPECT_EQ(docker("volume ls -q").out, "") << "an anonymous one goes with --rm";
    EXPECT_EQ(docker("run --name one -v filled:/srv/data data").out, whole);
    EXPECT_EQ(docker("run --rm -v filled:/v box sh -c 'stat -c %a /v; ls -A /v; echo new >/v/file'").out,
              "750\nfile\nlink\n");
    EXPECT_EQ(docker("start -a one").out, "1000:1001 750\n1000 640\nnew\n");
    EXPECT_EQ(
        docker("run --rm --mount type=volume,src=empty,dst=/srv/data,volume-nocopy box ls -A /srv/data").out,
        "");
    EXPECT_EQ(docker("run --name two data").out, whole);
    EXPECT_EQ(docker("rm one two").status, 0);
    EXPECT_EQ(shell("docker volume ls -q | wc -l").out, "3\n") << "without -v anonymous ones stay";
    EXPECT_THAT(docker("volume prune -f").out, HasSubstr("Deleted Volumes:"));
    EXPECT_EQ(docker("volume ls -q").out, "empty\nfilled\n");
    // The host's socket, here the daemon's own, for a client in a container.
    EXPECT_EQ(docker("run --rm -v " + socket() +
                     ":/var/run/docker.sock -v $(command -v docker):/bin/docker:ro box docker volume ls -q")
                  .out,
              "empty\nfilled\n");
    EXPECT_THAT(docker("run --rm -v /dev/null:/x box true").out, HasSubstr("is not supported: it is"));
    EXPECT_THAT(docker("run --rm --mount type=bind,src=/no/such,dst=/x box true").out,
                HasSubstr("bind source path does not exist: /no/such"));
}

}  // namespace
}  // namespace hull::test
