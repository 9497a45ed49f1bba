// The folders that outlive containers.
#include "container/life/volumes.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>

#include "container/api/api_error.h"
#include "container/life/file_tree.h"
#include "tests/support/files.h"

namespace hull::container {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class VolumesTest : public testing::Test {
  protected:
    VolumesTest() { begin(); }

    /// As another daemon finds what was left.
    void begin() { volumes_.emplace(folder_.path(), events_); }

    static std::string refusal_of(const std::function<void()>& call, unsigned status) {
        try {
            call();
            ADD_FAILURE() << "not refused";
            return "";
        } catch (const ApiError& error) {
            EXPECT_EQ(error.status(), status) << error.what();
            return error.what();
        }
    }
    std::vector<std::string> names() const {
        std::vector<std::string> all;
        for (const Volume& volume : volumes_->list()) {
            all.push_back(volume.name);
        }
        return all;
    }
    fs::path place() const { return folder_.path() / "volumes"; }

    const test::TemporaryFolder folder_;
    Events events_;
    std::shared_ptr<Events::Listener> listener_ = events_.listen();
    std::optional<Volumes> volumes_;
};

TEST_F(VolumesTest, AreThereForTheNextDaemon) {
    const mode_t before = umask(0077);
    const Volume made = volumes_->create({.name = "one", .labels = {{"a", "b"}}});
    umask(before);
    EXPECT_EQ(made.folder, place() / "one/_data");
    EXPECT_EQ(fs::status(made.folder).permissions(), fs::perms{0755}) << "whatever the umask is";
    std::ofstream{made.folder / "file"} << "kept";
    EXPECT_EQ(volumes_->create({.name = "one", .labels = {{"x", "y"}}}).labels.count("a"), 1U)
        << "the one that is there";
    begin();
    EXPECT_THAT(names(), ElementsAre("one"));
    const Volume found = volumes_->find("one");
    EXPECT_EQ(found.labels, (std::map<std::string, std::string>{{"a", "b"}}));
    EXPECT_EQ(found.created, made.created);
    EXPECT_EQ(test::contents_of(found.folder / "file"), "kept");
    const std::vector<Event> events = listener_->take();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].type + " " + events[0].action + " " + events[0].id, "volume create one");
}

TEST_F(VolumesTest, WithoutANameHaveOneByChance) {
    const Volume made = volumes_->create({});
    EXPECT_EQ(made.name.size(), 64U);
    EXPECT_TRUE(made.is_anonymous());
    begin();
    EXPECT_TRUE(volumes_->find(made.name).is_anonymous());
}

TEST_F(VolumesTest, AreNotRemovedWhileSomebodyUsesThem) {
    volumes_->use({.name = "one"}, "first");
    volumes_->use({.name = "one"}, "second");
    EXPECT_EQ(refusal_of([&] { volumes_->remove("one"); }, 409),
              "remove one: volume is in use - [first, second]");
    volumes_->release("first");
    EXPECT_THAT(volumes_->users("one"), ElementsAre("second"));
    volumes_->release("second");
    std::ofstream{volumes_->find("one").folder / "file"} << std::string(100'000, 'x');
    EXPECT_GE(volumes_->remove("one"), 100'000U);
    EXPECT_EQ(refusal_of([&] { volumes_->remove("one"); }, 404), "get one: no such volume");
    EXPECT_TRUE(fs::is_empty(place()));
    EXPECT_EQ(listener_->take().back().action, "destroy");
}

TEST_F(VolumesTest, ThoseThatWereNotFinishedAreSwept) {
    volumes_->create({.name = "whole"});
    fs::create_directories(place() / ".new-half/_data/x");
    fs::create_directories(place() / ".removed-1/_data/x");
    fs::create_directories(place() / "foreign");
    std::ofstream{place() / "foreign/volume.json"} << "{";
    begin();
    EXPECT_THAT(names(), ElementsAre("whole"));
    EXPECT_FALSE(fs::exists(place() / ".new-half"));
    EXPECT_FALSE(fs::exists(place() / ".removed-1"));
    EXPECT_TRUE(fs::exists(place() / "foreign")) << "whose it is nobody knows";
    EXPECT_THROW(volumes_->create({.name = "foreign"}), Error);
    EXPECT_TRUE(fs::exists(place() / "foreign/volume.json"));
}

TEST_F(VolumesTest, HaveNamesAsDockersHave) {
    for (const std::string name : {"../x", "a/b", ".x", "a b", "-x", "a\n", "\xc3\xa4\xc3\xb6"}) {
        EXPECT_THAT(refusal_of([&] { volumes_->create({.name = name}); }, 400),
                    HasSubstr("includes invalid characters for a local volume name, only "
                              "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed."))
            << name;
    }
    EXPECT_THAT(refusal_of([&] { volumes_->create({.name = "a"}); }, 400), HasSubstr("too short"));
    EXPECT_THAT(refusal_of([&] { volumes_->create({.name = std::string(256, 'a')}); }, 400),
                HasSubstr("invalid characters"));
    EXPECT_EQ(refusal_of(
                  [&] {
                      volumes_->create({.name = "one", .options = {{"mode", "x"}}});
                  },
                  400),
              "create one: invalid option: \"mode\"");
    EXPECT_THAT(refusal_of(
                    [&] {
                        volumes_->create({.name = "one", .options = {{"type", "nfs"}, {"device", ":/x"}}});
                    },
                    501),
                HasSubstr("--opt"));
    EXPECT_THAT(refusal_of(
                    [&] {
                        volumes_->create({.name = "one", .options = {{"type", "tmpfs"}}});
                    },
                    501),
                HasSubstr("--opt"));
    EXPECT_TRUE(names().empty());
}

TEST_F(VolumesTest, MayBeDisks) {
    const Volume volume =
        volumes_->create({.name = "disk", .options = {{"type", "block"}, {"size", "100m"}}});
    EXPECT_TRUE(volume.is_disk());
    EXPECT_EQ(fs::file_size(volume.folder), 100U << 20);
    begin();
    EXPECT_EQ(volumes_->find("disk").folder, volume.folder);
    volumes_->remove("disk");
    EXPECT_FALSE(fs::exists(volume.folder));
    struct Row {
        const char* size;
        const char* why;
    };
    for (const Row& row : {Row{"63m", "may have from 64m to 16384g, not 63m"},
                           {"16385g", "may have from 64m"},
                           {"large", "invalid size: 'large'"},
                           {"", "invalid size"}}) {
        const VolumeSpec wanted{.name = "disk", .options = {{"type", "block"}, {"size", row.size}}};
        EXPECT_THAT(refusal_of([&] { volumes_->create(wanted); }, 400), HasSubstr(row.why));
    }
    EXPECT_THAT(refusal_of(
                    [&] {
                        volumes_->create({.name = "disk", .options = {{"type", "block"}, {"o", "noatime"}}});
                    },
                    501),
                HasSubstr("type=block with size=SIZE"));
}

TEST_F(VolumesTest, MayBeAFolderOfTheHosts) {
    const fs::path own = folder_.path() / "own";
    fs::create_directories(own);
    std::ofstream{own / "file"} << "kept";
    const VolumeSpec wanted{.name = "bound",
                            .options = {{"type", "none"}, {"o", "bind"}, {"device", own.string()}}};
    EXPECT_EQ(volumes_->create(wanted).folder, own);
    begin();
    EXPECT_EQ(volumes_->find("bound").folder, own);
    volumes_->remove("bound");
    EXPECT_EQ(test::contents_of(own / "file"), "kept");
}

TEST_F(VolumesTest, GoHoweverDeepAGuestHasMadeThem) {
    const Volume deep = volumes_->create({.name = "deep"});
    constexpr int kLevels = 300;  // far more than there are descriptors below
    UniqueFd at{open(deep.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    for (int level = 0; level < kLevels; ++level) {
        ASSERT_EQ(mkdirat(at.get(), "1", 0755), 0);
        ASSERT_TRUE(UniqueFd(openat(at.get(), "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0644)).valid());
        at = UniqueFd{openat(at.get(), "1", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
        ASSERT_TRUE(at.valid());
    }
    const fs::path victim = folder_.path() / "victim";
    std::ofstream{victim} << "kept";
    fs::create_symlink(victim, deep.folder / "link");
    fs::create_directory_symlink(folder_.path(), deep.folder / "folder");
    EXPECT_GT(tree_size(deep.folder), 0U);
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const rlimit few{.rlim_cur = 64, .rlim_max = limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    EXPECT_NO_THROW(volumes_->remove("deep"));
    setrlimit(RLIMIT_NOFILE, &limit);
    EXPECT_TRUE(fs::is_empty(place()));
    EXPECT_EQ(test::contents_of(victim), "kept");
}

}  // namespace
}  // namespace hull::container
