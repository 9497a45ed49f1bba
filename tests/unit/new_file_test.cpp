// A file that replaces another, which stays as it was until then.
#include "vmm/main/new_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>

#include "tests/support/errors.h"
#include "tests/support/files.h"

namespace hull {
namespace {

namespace fs = std::filesystem;

TEST(NewFile, ReplacesTheOldOneWhenItIsWhole) {
    const test::TemporaryFolder folder;
    const fs::path path = folder.file("state", "old");
    NewFile made{path};
    test::write_all(made.fd(), "new");
    EXPECT_EQ(test::contents_of(path), "old");
    made.commit();
    EXPECT_EQ(test::contents_of(path), "new");
    EXPECT_FALSE(fs::exists(path.string() + ".new"));
}

TEST(NewFile, LeavesTheOldOneWhereItIsGivenUp) {
    const test::TemporaryFolder folder;
    const fs::path path = folder.file("state", "old");
    {
        NewFile made{path};
        test::write_all(made.fd(), "half");
    }
    EXPECT_EQ(test::contents_of(path), "old");
    EXPECT_FALSE(fs::exists(path.string() + ".new"));
}

TEST(NewFile, BeginsAfreshWhereSomebodyWasKilled) {
    const test::TemporaryFolder folder;
    folder.file("state.new", "what a killed one has left");
    NewFile made{folder.path() / "state"};
    test::write_all(made.fd(), "x");
    made.commit();
    EXPECT_EQ(test::contents_of(folder.path() / "state"), "x");
}

TEST(NewFile, IsWrittenByOneAtATime) {
    const test::TemporaryFolder folder;
    const fs::path path = folder.path() / "state";
    std::optional<NewFile> first{std::in_place, path};
    test::expect_error([&] { NewFile{path}; }, ExitStatus::bad_file, {"state", "another process"});
    test::write_all(first->fd(), "first");
    first->commit();
    EXPECT_EQ(test::contents_of(path), "first");
    NewFile next{path};
    EXPECT_EQ(test::contents_of(path), "first");
}

TEST(NewFile, SaysWhereItCannotBe) {
    const test::TemporaryFolder folder;
    test::expect_error([&] { NewFile{folder.path() / "no" / "state"}; }, ExitStatus::bad_file,
                       {"no/state", "No such file"});
}

}  // namespace
}  // namespace hull
