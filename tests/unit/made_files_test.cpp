// Sockets and pipes in the host's file system, and what is left of them.
#include "vmm/main/made_files.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <optional>
#include <string>

#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"

namespace hull {
namespace {

namespace fs = std::filesystem;
using test::expect_error;

/// Whether somebody can connect there.
bool answers(const fs::path& path) {
    return test::connect_unix(path).valid();
}

class MadeFilesTest : public testing::Test {
  protected:
    const test::TemporaryFolder folder_;
    const fs::path path_ = folder_.path() / "x";
    std::optional<MadeFiles> made_{std::in_place};
};

TEST_F(MadeFilesTest, ASocketIsThereAsLongAsItsOwner) {
    const UniqueFd listener = made_->listen_at(path_);
    EXPECT_TRUE(answers(path_));
    made_.reset();
    EXPECT_FALSE(fs::exists(path_));
}

TEST_F(MadeFilesTest, ASocketThatNobodyListensAtIsReplacedAndAnotherOneIsNot) {
    UniqueFd killed = made_->listen_at(path_);
    expect_error([&] { MadeFiles{}.listen_at(path_); }, ExitStatus::bad_file,
                 {"cannot listen at '" + path_.string() + "'", "another program does"});
    killed.reset();
    EXPECT_FALSE(answers(path_));
    MadeFiles other;
    const UniqueFd listener = other.listen_at(path_);
    EXPECT_TRUE(answers(path_));
    made_.reset();
    EXPECT_TRUE(answers(path_)) << "the name is another's now";
}

TEST_F(MadeFilesTest, WhatIsSomethingElseStays) {
    folder_.file("x", "precious");
    expect_error([&] { made_->listen_at(path_); }, ExitStatus::bad_file, {"something else has that name"});
    expect_error([&] { made_->open_pipe(path_); }, ExitStatus::bad_file, {"it is no named pipe"});
    expect_error([&] { made_->listen_at(folder_.path() / std::string(200, 'y')); }, ExitStatus::bad_file,
                 {"1 to 107 bytes"});
    expect_error([&] { made_->listen_at("/nowhere/x"); }, ExitStatus::bad_file, {"No such file"});
    expect_error([&] { made_->open_pipe("/nowhere/x"); }, ExitStatus::bad_file, {"No such file"});
    made_.reset();
    EXPECT_TRUE(fs::exists(path_));
}

TEST_F(MadeFilesTest, APipeIsRemovedByItsMaker) {
    {
        const UniqueFd pipe = made_->open_pipe(path_);
        test::write_all(pipe.get(), "x");
        MadeFiles other;
        const UniqueFd again = other.open_pipe(path_);
        char byte = 0;
        EXPECT_EQ(read(again.get(), &byte, 1), 1);
        EXPECT_EQ(read(again.get(), &byte, 1), -1) << "it must not wait";
    }
    EXPECT_TRUE(fs::is_fifo(path_)) << "the other one found it";
    made_.reset();
    EXPECT_FALSE(fs::exists(path_));
}

}  // namespace
}  // namespace hull
