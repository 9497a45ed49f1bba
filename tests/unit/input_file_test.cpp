#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "base/unique_fd.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"

namespace hull {
namespace {

namespace fs = std::filesystem;
using test::expect_error;

class InputFileTest : public testing::Test {
  protected:
    const test::TemporaryFolder folder_;
};

TEST_F(InputFileTest, OpensAndReads) {
    const InputFile file = open_input_file(folder_.file("kernel", "0123456789"), "kernel");
    EXPECT_EQ(file.size, 10U);
    std::string middle(4, ' ');
    read_exactly(file, "kernel", 3, middle.data(), middle.size());
    EXPECT_EQ(middle, "3456");
}

TEST_F(InputFileTest, TellsWhatIsWrongWithAFile) {
    const fs::path missing = folder_.path() / "none";
    expect_error(
        [&] { open_input_file(missing, "kernel"); }, ExitStatus::bad_file,
        {"cannot open kernel '" + missing.string() + "'", "No such file or directory", "check the path"});
    expect_error([&] { open_input_file(folder_.path(), "initramfs"); }, ExitStatus::bad_file,
                 {"initramfs", folder_.path().string(), "it is a folder"});
    const fs::path empty = folder_.file("empty", "");
    expect_error([&] { open_input_file(empty, "kernel"); }, ExitStatus::bad_file,
                 {empty.string(), "the file is empty"});
    const fs::path below_file = folder_.file("plain", "x") / "kernel";
    expect_error([&] { open_input_file(below_file, "kernel"); }, ExitStatus::bad_file, {"Not a directory"});
}

TEST_F(InputFileTest, DoesNotWaitForAFifo) {
    const fs::path fifo = folder_.path() / "fifo";
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    expect_error([&] { open_input_file(fifo, "kernel"); }, ExitStatus::bad_file,
                 {fifo.string(), "it is not a regular file"});
}

TEST_F(InputFileTest, RefusesDevicesAndSockets) {
    expect_error([] { open_input_file("/dev/zero", "kernel"); }, ExitStatus::bad_file,
                 {"it is not a regular file"});
    const fs::path path = folder_.path() / "s";
    const UniqueFd listener = test::listen_unix(path);
    expect_error([&] { open_input_file(path, "kernel"); }, ExitStatus::bad_file, {path.string()});
}

TEST_F(InputFileTest, TellsWhoMayNotRead) {
    if (geteuid() == 0) {
        GTEST_SKIP() << "root may read everything";
    }
    const fs::path secret = folder_.file("secret", "x");
    ASSERT_EQ(chmod(secret.c_str(), 0), 0);
    expect_error([&] { open_input_file(secret, "kernel"); }, ExitStatus::bad_file,
                 {"Permission denied", "make it readable for this user"});
}

TEST_F(InputFileTest, NoticesAFileThatShrinks) {
    const fs::path path = folder_.file("kernel", "0123456789");
    const InputFile file = open_input_file(path, "kernel");
    ASSERT_EQ(truncate(path.c_str(), 5), 0);
    std::string target(10, ' ');
    expect_error([&] { read_exactly(file, "kernel", 0, target.data(), target.size()); }, ExitStatus::bad_file,
                 {"cannot read kernel", path.string(), "ends too early"});
}

TEST(UniqueFd, ClosesOnceAndMoves) {
    const auto is_open = [](int fd) { return fcntl(fd, F_GETFD) >= 0; };
    UniqueFd first = make_eventfd();
    const int number = first.get();
    EXPECT_EQ(fcntl(number, F_GETFD), FD_CLOEXEC);
    UniqueFd second = std::move(first);
    EXPECT_FALSE(first.valid());  // NOLINT(bugprone-use-after-move): that it is empty is the point
    EXPECT_TRUE(is_open(number));
    second = make_eventfd();
    EXPECT_FALSE(is_open(number));
    second.reset();
    second.reset();
    EXPECT_FALSE(second.valid());
}

}  // namespace
}  // namespace hull
