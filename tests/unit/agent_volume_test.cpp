// How the host's files come into a container's root: the agent's part, without a guest.
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "guest/agent/requests.h"
#include "tests/support/files.h"

namespace hull::agent {
namespace {

namespace fs = std::filesystem;

/// A folder that is shared, with parts 1 and 2, and a root.
class AgentVolumes : public testing::Test {
  protected:
    void SetUp() override {
        if (geteuid() != 0) {
            GTEST_SKIP() << "only root may enter another root";
        }
        fs::create_directories(shared_ / "1");
        fs::create_directories(root_);
    }

    /// In a process with mounts of its own, all of which end with it. False where they are refused here.
    static int in_another(const std::function<bool()>& work) {
        const pid_t child = fork();
        if (child == 0) {
            if (unshare(CLONE_NEWNS) != 0 ||
                mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
                _exit(2);
            }
            _exit(work() ? 0 : 1);
        }
        int status = 0;
        waitpid(child, &status, 0);
        return WEXITSTATUS(status);
    }
    [[nodiscard]] Failure ask(uint32_t type, const std::string& source, const std::string& path,
                              uint64_t flags = 0) const {
        Request request;
        const std::string from = shared_ / source;
        request.source = from.c_str();
        request.path = path.c_str();
        request.root = root_.c_str();
        request.flags = flags;
        return perform(type, request);
    }
    void make(const fs::path& path, const std::string& content, mode_t mode = 0644, uid_t owner = 0) const {
        fs::create_directories(path.parent_path());
        std::ofstream{path} << content;
        EXPECT_EQ(chown(path.c_str(), owner, owner), 0);
        chmod(path.c_str(), mode);
    }
    static struct stat status_of(const fs::path& path) {
        struct stat status {};
        EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
        return status;
    }

    const test::TemporaryFolder folder_;
    const fs::path shared_ = folder_.path() / "shared";
    const fs::path root_ = folder_.path() / "root";
};

TEST_F(AgentVolumes, AreMountedWhereTheRootsLinksLeadTo) {
    make(shared_ / "1/file", "shared");
    make(shared_ / "2", "one file");
    fs::create_directories(root_ / "real");
    fs::create_directory_symlink("/real", root_ / "link");
    const int status = in_another([&] {
        const bool all =
            ask(kBind, "1", "/link/deep/er").error == 0 && ask(kBind, "2", "/new/file").error == 0;
        std::ofstream{root_ / "real/deep/er/made"} << "in the guest";
        return all && test::contents_of(root_ / "real/deep/er/file") == "shared" &&
               test::contents_of(root_ / "new/file") == "one file" &&
               fs::exists("/proc/self/root/proc/version");  // and the agent is back in its own root
    });
    if (status == 2) {
        GTEST_SKIP() << "namespaces may not be made here";
    }
    EXPECT_EQ(status, 0);
    EXPECT_EQ(test::contents_of(shared_ / "1/made"), "in the guest");
    EXPECT_EQ(test::contents_of(root_ / "new/file"), "") << "the place that was made for it";
}

TEST_F(AgentVolumes, CannotBeWrittenToWhereTheyAreReadOnly) {
    make(shared_ / "1/file", "kept");
    const int status = in_another([&] {
        const bool is_mounted = ask(kBind, "1", "/data", MS_RDONLY).error == 0;
        return is_mounted && truncate((root_ / "data/file").c_str(), 0) != 0 && errno == EROFS;
    });
    if (status == 2) {
        GTEST_SKIP() << "namespaces may not be made here";
    }
    EXPECT_EQ(status, 0);
    EXPECT_EQ(test::contents_of(shared_ / "1/file"), "kept");
}

TEST_F(AgentVolumes, TellWhatCannotBeMounted) {
    make(root_ / "file", "no folder");
    const int status = in_another([&] {
        return ask(kBind, "nosuch", "/data").error == ENOENT && ask(kBind, "1", "/file").error == ENOTDIR &&
               ask(kBind, "1", "/file/below").error == ENOTDIR;
    });
    if (status == 2) {
        GTEST_SKIP() << "namespaces may not be made here";
    }
    EXPECT_EQ(status, 0);
}

TEST_F(AgentVolumes, GetWhatTheImageHasWithItsOwners) {
    make(root_ / "data/sub/deep", "content", 0640, 33);
    make(root_ / "data/program", "run", 04755);
    fs::create_symlink("/etc/passwd", root_ / "data/link");
    ASSERT_EQ(mkfifo((root_ / "data/pipe").c_str(), 0600), 0);
    ASSERT_EQ(chown((root_ / "data").c_str(), 7, 8), 0);
    fs::permissions(root_ / "data", fs::perms{0711});
    fs::create_directory_symlink("/data", root_ / "alias");
    ASSERT_EQ(ask(kCopyUp, "1", "/alias").error, 0);
    EXPECT_EQ(test::contents_of(shared_ / "1/sub/deep"), "content");
    EXPECT_EQ(status_of(shared_ / "1/sub/deep").st_uid, 33U);
    EXPECT_EQ(status_of(shared_ / "1/sub/deep").st_mode, S_IFREG | 0640U);
    EXPECT_EQ(status_of(shared_ / "1/program").st_mode, S_IFREG | 04755U);
    EXPECT_EQ(fs::read_symlink(shared_ / "1/link"), "/etc/passwd");
    EXPECT_TRUE(S_ISFIFO(status_of(shared_ / "1/pipe").st_mode));
    EXPECT_EQ(status_of(shared_ / "1").st_uid, 7U);
    EXPECT_EQ(status_of(shared_ / "1").st_mode, S_IFDIR | 0711U);
    EXPECT_FALSE(fs::exists(shared_ / "1/.hull-copy-up"));
    EXPECT_EQ(status_of(shared_ / "1/program").st_mtim.tv_sec,
              status_of(root_ / "data/program").st_mtim.tv_sec);
}

TEST_F(AgentVolumes, KeepWhatIsInThem) {
    make(root_ / "data/file", "the image's");
    make(shared_ / "1/own", "the volume's");
    ASSERT_EQ(ask(kCopyUp, "1", "/data").error, 0);
    EXPECT_FALSE(fs::exists(shared_ / "1/file"));
    ASSERT_EQ(ask(kCopyUp, "1", "/nosuch").error, 0);
    ASSERT_EQ(ask(kCopyUp, "1", "/data/file").error, 0) << "which is no folder";
    EXPECT_EQ(ask(kCopyUp, "nosuch", "/data").error, ENOENT);
}

TEST_F(AgentVolumes, AreFilledToTheEndWhereThatWasInterrupted) {
    make(root_ / "data/first", "first");
    make(root_ / "data/sub/second", "second");
    make(shared_ / "1/first", "changed meanwhile");
    make(shared_ / "1/.hull-copy-up/99-1", "half a fi");
    ASSERT_EQ(ask(kCopyUp, "1", "/data").error, 0);
    EXPECT_EQ(test::contents_of(shared_ / "1/first"), "changed meanwhile");
    EXPECT_EQ(test::contents_of(shared_ / "1/sub/second"), "second");
}

TEST_F(AgentVolumes, NoLinkInThemLeadsOut) {
    // What a volume has in place of a folder of the image's, where another container was quick.
    make(root_ / "data/sub/file", "content");
    fs::create_directories(folder_.path() / "victim");
    fs::create_directories(shared_ / "1/.hull-copy-up");
    fs::create_directory_symlink(folder_.path() / "victim", shared_ / "1/sub");
    ASSERT_EQ(ask(kCopyUp, "1", "/data").error, 0);
    EXPECT_TRUE(fs::is_empty(folder_.path() / "victim"));
}

}  // namespace
}  // namespace hull::agent
