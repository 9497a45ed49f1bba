// What is in containers, from the agent in its guest to the archives of clients and of layers.
#include "guest/agent/contents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "container/api/contents_api.h"
#include "container/contents/archive_source.h"
#include "container/contents/guest_contents.h"
#include "container/contents/own_files.h"
#include "container/contents/put_archive.h"
#include "container/image/commit.h"
#include "container/layer/tar_entry.h"
#include "tests/support/files.h"
#include "tests/support/frames.h"
#include "tests/support/image_store.h"
#include "tests/support/sockets.h"
#include "tests/support/tar_builder.h"

namespace hull::container {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using Kind = TarEntry::Kind;
using test::frame;
using test::TarPart;
using testing::ElementsAre;
using testing::HasSubstr;

struct Pair {
    UniqueFd host;
    UniqueFd guest;
    Pair() {
        std::array<int, 2> ends{};
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        host = UniqueFd{ends[0]};
        guest = UniqueFd{ends[1]};
    }
};

/// What is thrown.
template <typename Call>
std::string why(Call call) {
    try {
        call();
    } catch (const std::exception& error) {
        return error.what();
    }
    return "nothing";
}

/// An archive's entries as lines: kind, path, link, content.
std::vector<std::string> listed(const std::string& archive) {
    TarReader reader{test::source_of(archive)};
    std::vector<std::string> all;
    while (auto entry = reader.next()) {
        std::string line = std::to_string(static_cast<int>(entry->kind)) + " " + entry->path;
        line += entry->link.empty() ? "" : " -> " + entry->link;
        std::string content(entry->size, '\0');
        for (size_t have = 0; have < content.size();) {
            have += reader.read(std::as_writable_bytes(std::span{content}).subspan(have));
        }
        all.push_back(line + (content.empty() ? "" : " = " + content));
    }
    return all;
}

std::string all_of(ArchiveSource archive) {
    std::string all;
    std::array<std::byte, 1000> room{};
    while (const size_t got = archive.read(room)) {
        all.append(reinterpret_cast<const char*>(room.data()), got);
    }
    return all;
}

// --- the agent's side

class ContentsTest : public testing::Test {
  protected:
    void SetUp() override {
        if (geteuid() != 0) {
            GTEST_SKIP() << "only root may enter another root";
        }
    }
    ~ContentsTest() override {
        for (const pid_t child : agents_) {
            kill(child, SIGKILL);
            waitpid(child, nullptr, 0);
        }
    }
    /// The agent's process does this in the folder `root`.
    std::unique_ptr<GuestContents> ask(agent::Type type, const std::string& path, uint64_t flags = 0,
                                       const char* root = nullptr, const char* user = nullptr) {
        Pair pair;
        const pid_t child = fork();
        if (child == 0) {
            pair.host.reset();
            agent::Request request;
            request.path = path.c_str();
            (type == agent::kCompare ? request.source : request.root) =
                root == nullptr ? root_.c_str() : root;
            request.flags = flags;
            request.user = user;
            agent::serve_contents(type, request, pair.guest.get());
            _exit(0);
        }
        agents_.push_back(child);
        return std::make_unique<GuestContents>(std::move(pair.host), nullptr);
    }
    [[nodiscard]] fs::path in_root(const std::string& path) const { return fs::path{root_ + path}; }
    void put(const std::string& path, const std::string& content) const {
        static_cast<void>(folder_.file("root" + path, content));
    }
    void unpack(const std::string& archive, const std::string& path, uint64_t flags = 0,
                const char* user = nullptr) {
        put_archive(test::source_of(archive), *ask(agent::kUnpack, path, flags, nullptr, user));
    }
    std::vector<std::string> copied(const std::string& path, const std::string& base) {
        const auto contents = ask(agent::kPack, path);
        GuestEntry first = contents->next().value();
        return listed(all_of(ArchiveSource{*contents, ArchiveSource::Kind::copy, base, std::move(first)}));
    }

    const test::TemporaryFolder folder_;
    const std::string root_ = [this] {
        fs::create_directory(folder_.path() / "root");
        return (folder_.path() / "root").string();
    }();
    std::vector<pid_t> agents_;
};

TEST_F(ContentsTest, SendsAFolderAsDockerNamesIt) {
    put("/a/b/file", "content");
    put("/a/empty", "");
    put("/a/b.txt", std::string(200'000, 'x'));
    fs::create_symlink("/etc/passwd", in_root("/a/link"));
    fs::create_hard_link(in_root("/a/b/file"), in_root("/a/b/second"));
    fs::create_hard_link(in_root("/a/b/file"), in_root("/a/third"));
    EXPECT_THAT(copied("/a", "a"),
                ElementsAre("5 a/", "5 a/b/", "0 a/b/file = content", "1 a/b/second -> a/b/file",
                            "0 a/b.txt = " + std::string(200'000, 'x'), "0 a/empty",
                            "2 a/link -> /etc/passwd", "0 a/third = content"))
        << "in the order of names, and with no link to another folder";
    EXPECT_THAT(copied("/a/b/file", "file"), ElementsAre("0 file = content"));
    EXPECT_THAT(copied("/a/link", "link"), ElementsAre("2 link -> /etc/passwd"));
    EXPECT_THAT(copied("/", "/"), testing::Contains("0 /a/b/file = content"));
}

TEST_F(ContentsTest, NoLinkLeadsOutOfTheRoot) {
    static_cast<void>(folder_.file("secret", "outside"));
    fs::create_symlink("../../../../../../../.." + folder_.path().string(), in_root("/up"));
    fs::create_symlink(folder_.path(), in_root("/out"));
    for (const char* path : {"/up/secret", "/out/secret", "/../secret", "/up/."}) {
        try {
            ask(agent::kPack, path)->next();
            ADD_FAILURE() << path << " is found";
        } catch (const GuestContentsError& error) {
            EXPECT_EQ(error.error(), ENOENT) << path;
        }
    }
    EXPECT_THROW(unpack(TarPart{.name = "new", .content = "x"}.bytes(), "/out"), GuestContentsError);
    EXPECT_FALSE(fs::exists(folder_.path() / "new"));
    // Nor one that the archive brings along.
    unpack(TarPart{.type = '2', .name = "way", .link = "/inside"}.bytes() +
               TarPart{.type = '5', .name = "inside"}.bytes() +
               TarPart{.name = "way/file", .content = "x"}.bytes(),
           "/");
    EXPECT_TRUE(fs::exists(in_root("/inside/file")));
}

TEST_F(ContentsTest, TellsOfAFileAndWhatALinkLeadsTo) {
    put("/real/file", "12345");
    fs::create_symlink("real", in_root("/link"));
    fs::create_symlink("/nowhere/else", in_root("/dangling"));
    GuestEntry entry = ask(agent::kLook, "/link")->next().value();
    EXPECT_EQ(entry.file.kind, Kind::symbolic_link);
    EXPECT_EQ(entry.resolved, "/real");
    EXPECT_EQ(ask(agent::kLook, "/dangling")->next()->resolved, "/nowhere/else");
    EXPECT_EQ(ask(agent::kLook, "/link/.")->next()->file.kind, Kind::folder);
    entry = ask(agent::kLook, "/link/file")->next().value();
    EXPECT_EQ(entry.file.kind, Kind::file);
    EXPECT_EQ(entry.file.size, 5U);
}

TEST_F(ContentsTest, TakesAnArchiveWithAllThatItSays) {
    std::string archive = TarPart{.type = '5', .name = "d", .mode = 01750, .uid = 7, .gid = 8}.bytes();
    archive += TarPart{.name = "d/run", .content = "#!", .mode = 04755, .uid = 1000, .gid = 1001}.bytes();
    archive += TarPart{.type = '1', .name = "d/again", .link = "d/run"}.bytes();
    archive += TarPart{.type = '2', .name = "./d/link", .link = "run"}.bytes();
    archive += TarPart{.type = '6', .name = "/d/pipe", .mode = 0600}.bytes();
    archive += TarPart{.type = '3', .name = "d/null", .mode = 0666, .major = 1, .minor = 3}.bytes();
    archive += TarPart{.name = "made/for/it", .content = std::string(600'000, 'y')}.bytes();
    archive +=
        TarPart{.type = 'x', .name = "x", .content = test::pax_record("SCHILY.xattr.user.key", "value")}
            .bytes();
    archive += TarPart{.name = "d/marked", .content = "m"}.bytes();
    fs::create_directory(in_root("/to"));
    unpack(archive, "/to");
    struct stat status {};
    ASSERT_EQ(lstat(in_root("/to/d").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 01750U);
    EXPECT_EQ(status.st_mtime, 1'000'000'000) << "though something was made in it afterwards";
    EXPECT_EQ(status.st_gid, 8U);
    ASSERT_EQ(lstat(in_root("/to/d/run").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, 04755U) << "which neither its owner nor its content takes away";
    EXPECT_EQ(status.st_uid, 1000U);
    EXPECT_EQ(status.st_nlink, 2U);
    EXPECT_EQ(fs::read_symlink(in_root("/to/d/link")), "run");
    EXPECT_TRUE(fs::is_fifo(in_root("/to/d/pipe")));
    ASSERT_EQ(lstat(in_root("/to/d/null").c_str(), &status), 0);
    EXPECT_EQ(status.st_rdev, makedev(1, 3));
    EXPECT_EQ(fs::file_size(in_root("/to/made/for/it")), 600'000U);
    std::array<char, 10> value{};
    const ssize_t size = getxattr(in_root("/to/d/marked").c_str(), "user.key", value.data(), value.size());
    if (size >= 0 || errno != ENOTSUP) {
        EXPECT_EQ((std::string{value.data(), static_cast<size_t>(std::max<ssize_t>(size, 0))}), "value");
    }
    // Again, over what is there: files are replaced, folders keep what is in them.
    put("/to/d/mine", "mine");
    unpack(archive, "/to");
    EXPECT_TRUE(fs::exists(in_root("/to/d/mine")));
}

TEST_F(ContentsTest, ChangesOwnersAndKindsAsItIsAsked) {
    put("/etc/passwd", "worker:x:1000:1001::/:/bin/sh\n");
    put("/folder/x", "");
    put("/file", "old");
    unpack(TarPart{.name = "mine", .content = "x", .uid = 5}.bytes(), "/", agent::kUsersFiles, "worker");
    struct stat status {};
    ASSERT_EQ(lstat(in_root("/mine").c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, 1000U);
    EXPECT_EQ(status.st_gid, 1001U);
    const auto error_of = [&](const std::string& archive) {
        try {
            unpack(archive, "/", agent::kKeepKind);
            return 0;
        } catch (const GuestContentsError& error) {
            return error.error();
        }
    };
    EXPECT_EQ(error_of(TarPart{.name = "folder", .content = "x"}.bytes()), EISDIR);
    EXPECT_EQ(error_of(TarPart{.type = '5', .name = "file"}.bytes()), ENOTDIR);
    EXPECT_EQ(error_of(TarPart{.name = "file", .content = "new"}.bytes()), 0);
    unpack(TarPart{.name = "folder", .content = "now a file"}.bytes(), "/");
    EXPECT_EQ(test::contents_of(in_root("/folder")), "now a file");
    EXPECT_THROW(unpack("", "/file"), GuestContentsError);
    EXPECT_THROW(unpack("", "/nosuch"), GuestContentsError);
}

TEST_F(ContentsTest, RefusesArchivesThatLeadOut) {
    for (const std::string& archive : {TarPart{.name = "../x", .content = "x"}.bytes(),
                                       TarPart{.name = "a/../../x", .content = "x"}.bytes(),
                                       TarPart{.name = "x", .content = "x"}.bytes() +
                                           TarPart{.type = '1', .name = "y", .link = "../../x"}.bytes()}) {
        EXPECT_THAT(why([&] { unpack(archive, "/"); }), HasSubstr("leads out"));
    }
    EXPECT_THAT(why([&] {
                    unpack(TarPart{.name = "x", .content = std::string(1000, 'x')}.bytes().substr(0, 900),
                           "/");
                }),
                HasSubstr("ends in the middle"));
}

TEST_F(ContentsTest, ComparesWhatWasWrittenWithWhatWasThere) {
    const std::string base = folder_.path() / "base";
    for (const char* path : {"/kept/file", "/gone/x", "/etc/hosts", "/etc/old", "/opaque/below"}) {
        static_cast<void>(folder_.file("base" + std::string{path}, "before"));
    }
    fs::create_directories(in_root("/kept"));
    fs::create_directories(in_root("/etc"));
    fs::create_directories(in_root("/dev"));
    fs::create_directories(in_root("/opaque"));
    put("/kept/file", "after");
    put("/kept/new", "");
    put("/etc/hosts", "Hull's");
    ASSERT_EQ(mknod(in_root("/gone").c_str(), S_IFCHR, 0), 0);
    ASSERT_EQ(setxattr(in_root("/opaque").c_str(), "trusted.overlay.opaque", "y", 1, 0), 0);
    struct stat status {};
    ASSERT_EQ(stat((base + "/kept").c_str(), &status), 0);
    const std::array<timespec, 2> times{status.st_mtim, status.st_mtim};
    utimensat(AT_FDCWD, in_root("/kept").c_str(), times.data(), 0);
    const auto changes = [&] {
        const auto contents = ask(agent::kCompare, root_, 0, base.c_str());
        ChangedEntries changed{*contents, ChangedEntries::Kind::comparison};
        std::vector<std::string> all;
        while (auto entry = changed.next()) {
            all.push_back(std::to_string(*entry->change) + " " + entry->file.path);
        }
        return all;
    };
    EXPECT_THAT(changes(), ElementsAre("2 gone", "0 kept/file", "1 kept/new", "0 opaque", "2 opaque/below"))
        << "without what Hull writes itself";
    put("/etc/mine", "");
    EXPECT_THAT(changes(), testing::IsSupersetOf({"0 etc", "1 etc/mine"}));

    const auto upper = ask(agent::kPack, "/", agent::kAllLinks);
    EXPECT_THAT(listed(all_of(ArchiveSource{*upper, ArchiveSource::Kind::layer})),
                ElementsAre("5 etc/", "0 etc/mine", "0 .wh.gone", "5 kept/", "0 kept/file = after",
                            "0 kept/new", "5 opaque/", "0 opaque/.wh..wh..opq"));
    const auto again = ask(agent::kPack, "/", agent::kAllLinks);
    constexpr int64_t kEarlier = 1'000'000'000;
    const std::string archive =
        all_of(ArchiveSource{*again, ArchiveSource::Kind::layer, {}, std::nullopt, kEarlier});
    TarReader reader{test::source_of(archive)};
    while (const auto entry = reader.next()) {
        EXPECT_LE(entry->mtime, kEarlier) << entry->path;
        EXPECT_EQ(entry->mtime_ns, 0U) << entry->path;
    }
    const auto whole = ask(agent::kPack, "/", agent::kAllLinks | agent::kBare);
    EXPECT_THAT(listed(all_of(ArchiveSource{*whole, ArchiveSource::Kind::whole})),
                testing::IsSupersetOf({"5 dev/", "5 etc/", "0 kept/file = after"}));
}

TEST_F(ContentsTest, EndsWhenNobodyReads) {
    put("/large", std::string(4'000'000, 'x'));
    auto contents = ask(agent::kPack, "/large");
    contents->next();
    contents.reset();
    int status = 0;
    for (int tries = 0; tries < 2000 && waitpid(agents_.back(), &status, WNOHANG) == 0; ++tries) {
        usleep(10'000);
    }
    EXPECT_EQ(kill(agents_.back(), 0), -1) << "its process is there still";
    agents_.pop_back();
}

// --- a guest that lies

std::string entry(
    const std::string& path, uint32_t mode, uint64_t size = 0,
    const test::FillFrame& more = [](agent::FrameWriter&) {}) {
    return frame(agent::kEntry, 0, [&](agent::FrameWriter& writer) {
        writer.add_text(agent::kPath, path.c_str());
        writer.add_number(agent::kMode, mode);
        writer.add_number(agent::kOwner, 0);
        writer.add_number(agent::kOwnersGroup, 0);
        writer.add_number(agent::kSeconds, 0);
        writer.add_number(agent::kNanoseconds, 0);
        writer.add_number(agent::kSize, size);
        more(writer);
    });
}
std::string link_to(const std::string& path, agent::Tag tag, const char* target) {
    return entry(path, tag == agent::kTarget ? S_IFLNK | 0777 : S_IFREG | 0644, 0,
                 [&](agent::FrameWriter& writer) { writer.add_text(tag, target); });
}
const std::string kRootEntry = entry("", S_IFDIR | 0755);
const std::string kEnds = frame(agent::kEnd, 0);

/// What comes of an archive that a guest has sent so; what is wrong with it where something is.
std::string sent(const std::string& frames, ArchiveSource::Kind kind = ArchiveSource::Kind::copy) {
    Pair pair;
    test::write_all(pair.guest.get(), frames);
    pair.guest.reset();
    GuestContents contents{std::move(pair.host), nullptr};
    try {
        std::optional<GuestEntry> first;
        if (kind == ArchiveSource::Kind::copy) {
            first = contents.next();
        }
        std::string lines;
        for (const std::string& line : listed(all_of(ArchiveSource{contents, kind, "base", first}))) {
            lines += line + "\n";
        }
        return lines;
    } catch (const std::exception& error) {
        return error.what();
    }
}

TEST(HostileContents, NamesAreOfTheWalkThatWasAskedFor) {
    const std::string folder = entry("d", S_IFDIR | 0755);
    EXPECT_EQ(sent(kRootEntry + folder + entry("d/x", S_IFREG) + entry("e", S_IFREG) + kEnds),
              "5 base/\n5 base/d/\n0 base/d/x\n0 base/e\n");
    const auto is_refused = [](const std::string& frames) {
        EXPECT_THAT(sent(frames), HasSubstr("cannot take what the container's guest sends"));
    };
    is_refused(kRootEntry + entry("../x", S_IFREG) + kEnds);
    is_refused(kRootEntry + entry("/etc/passwd", S_IFREG) + kEnds);
    is_refused(kRootEntry + entry("d/../../x", S_IFREG) + kEnds);
    is_refused(kRootEntry + entry("d//x", S_IFREG) + kEnds);
    is_refused(kRootEntry + entry("d/x", S_IFREG) + kEnds);
    is_refused(kRootEntry + folder + folder + kEnds);
    is_refused(kRootEntry + entry("z", S_IFREG) + entry("a", S_IFREG) + kEnds);
    is_refused(kRootEntry + kRootEntry + kEnds);
    is_refused(entry("x", S_IFREG) + kEnds);
    // Through a link that came before, a client would write elsewhere.
    is_refused(kRootEntry + link_to("l", agent::kTarget, "/etc") + entry("l/passwd", S_IFREG) + kEnds);
    is_refused(kRootEntry + link_to("h", agent::kHardLink, "../../etc/passwd") + kEnds);
    is_refused(kRootEntry + link_to("l", agent::kTarget, "/etc") +
               link_to("m", agent::kHardLink, "l/shadow") + kEnds);
    is_refused(entry("", S_IFREG) + entry("x", S_IFREG) + kEnds);
}

TEST(HostileContents, SizesAreThoseThatWereSaid) {
    const auto data = [](size_t size) { return test::raw_frame(agent::kData, 0, std::string(size, 'x')); };
    EXPECT_EQ(sent(entry("", S_IFREG, 4) + data(3) + data(1) + kEnds), "0 base = xxxx\n");
    for (const std::string& frames :
         {entry("", S_IFREG, 4) + data(5) + kEnds, entry("", S_IFREG, 4) + data(3) + kEnds,
          entry("", S_IFREG, 4) + data(3), entry("", S_IFREG, 0) + data(1) + kEnds,
          entry("", S_IFREG, 4) + data(0) + data(4) + kEnds, entry("", S_IFREG, UINT64_MAX) + kEnds,
          entry("", S_IFDIR, 4) + data(4) + kEnds, data(1), std::string{},
          test::raw_frame(agent::kEntry, 0, "nonsense"), entry("", 0) + kEnds, frame(agent::kFailed, 0)}) {
        EXPECT_THAT(sent(frames), HasSubstr("cannot take what the container's guest sends"));
    }
    std::string large(agent::kHeaderSize, '\0');
    agent::store_word(reinterpret_cast<uint8_t*>(large.data()), agent::kEntry);
    agent::store_word(reinterpret_cast<uint8_t*>(large.data()) + 8, 1 << 30);
    EXPECT_THAT(sent(large), HasSubstr("too large"));
}

TEST(HostileContents, ItsFailureIsALineOfText) {
    EXPECT_EQ(sent(frame(agent::kFailed, 0,
                         [](agent::FrameWriter& writer) {
                             writer.add_number(agent::kError, ENOENT);
                             writer.add_text(agent::kText, "to \x1b[31mread");
                             writer.add_text(agent::kPath, "a\nb");
                         })),
              "the guest fails to ?[31mread 'a?b': No such file or directory");
}

// --- archives

TEST(TarEntryTest, WhatIsWrittenIsRead) {
    TarEntry entry;
    entry.path = std::string(90, 'd') + "/" + std::string(200, 'f');
    entry.kind = Kind::file;
    entry.mode = 04755;
    entry.uid = 3'000'000'000;
    entry.gid = 7;
    entry.mtime = -5;
    entry.size = uint64_t{9} << 30U;
    entry.attributes = {{"security.capability", std::string{"\0\1=\n", 4}}};
    TarReader reader{test::source_of(tar_entry(entry))};
    const TarEntry read = reader.next().value();
    EXPECT_EQ(read.path, entry.path);
    EXPECT_EQ(read.mode, entry.mode);
    EXPECT_EQ(read.uid, entry.uid);
    EXPECT_EQ(read.gid, entry.gid);
    EXPECT_EQ(read.mtime, entry.mtime);
    EXPECT_EQ(read.size, entry.size);
    EXPECT_EQ(read.attributes, entry.attributes);
    for (size_t length = 1; length < 1200; ++length) {  // pax's lengths count themselves
        TarEntry link;
        link.kind = Kind::symbolic_link;
        link.path = "l";
        link.link = std::string(length, 't');
        TarReader again{test::source_of(tar_entry(link))};
        ASSERT_EQ(again.next()->link, link.link);
    }
}

TEST(GoMode, IsWhatGosProgramsExpect) {
    EXPECT_EQ(go_mode(S_IFREG | 0644), 0644U);
    EXPECT_EQ(go_mode(S_IFDIR | 01777), 1U << 31U | 1U << 20U | 0777U);
    EXPECT_EQ(go_mode(S_IFLNK | 0777), 1U << 27U | 0777U);
    EXPECT_EQ(go_mode(S_IFREG | 06755), 1U << 23U | 1U << 22U | 0755U);
    EXPECT_EQ(go_mode(S_IFCHR | 0600), 1U << 26U | 1U << 21U | 0600U);
}

TEST(CommitTest, PutsALayerOverTheImages) {
    const test::TemporaryFolder folder;
    Store store{folder.path() / "root", Store::Use::alone};
    const std::string end(1024, '\0');
    test::store_image(store, "box", {TarPart{.name = "below", .content = "x"}.bytes() + end},
                      R"("config":{"Cmd":["sh"],"Env":["A=b"]})");
    const StoredImage base = store.find("box").value();
    const auto commit = [&](const std::string& layer, std::vector<std::string> changes = {}) {
        return commit_image(store, base, test::source_of(layer),
                            {.name = Reference::parse("made:1"),
                             .author = "me",
                             .comment = "why",
                             .changes = std::move(changes),
                             .config = {{"Cmd", {"sleep", "5"}}, {"Env", {"A=c"}}, {"Tty", true}}});
    };
    const Digest id =
        commit(TarPart{.name = "above", .content = "y"}.bytes() + end, {"CMD [\"new\"]", "EXPOSE 80"});
    const StoredImage made = store.find("made:1").value();
    EXPECT_EQ(made.id, id);
    EXPECT_EQ(made.layers.size(), 2U);
    EXPECT_EQ(made.layers.front(), base.layers.front());
    EXPECT_THAT(made.config.command, ElementsAre("new"));
    EXPECT_THAT(made.config.environment, ElementsAre("A=c"));
    EXPECT_EQ(made.config.author, "me");
    EXPECT_EQ(made.config.history.back().created_by, "sleep 5");
    EXPECT_EQ(made.config.history.back().comment, "why");
    EXPECT_THAT(why([&] { commit("no archive, but long enough to be a header" + std::string(512, 'x')); }),
                HasSubstr("cannot read the layer"));
    EXPECT_THAT(why([&] { commit(TarPart{.name = "../out", .content = "y"}.bytes() + end); }),
                HasSubstr("leads out"));
    EXPECT_THAT(why([&] { commit(end, {"RUN true"}); }), HasSubstr("cannot change the image"));
}

TEST(CommitTest, MergesAConfigurationWithTheContainers) {
    const auto merged = [](const char* given) {
        const json::value container = json::parse(
            R"({"User":"1","Cmd":["sleep"],"Entrypoint":["e"],"Env":["A=b","C=d"],"Labels":{"x":"1","y":"2"},
                "ExposedPorts":{"80/tcp":{}},"Tty":true})");
        return json::serialize(merge_config(json::parse(given).as_object(), container.as_object()));
    };
    EXPECT_EQ(
        merged("{}"),
        R"({"User":"1","Cmd":["sleep"],"Entrypoint":["e"],"Env":["A=b","C=d"],"Labels":{"x":"1","y":"2"},)"
        R"("ExposedPorts":{"80/tcp":{}},"Tty":true})");
    EXPECT_EQ(merged(R"({"User":"2","Cmd":["c"],"Env":["C=e","F="],"Labels":{"y":"3","z":"4"},
                         "ExposedPorts":{"81/tcp":{}},"Volumes":{"/v":{}},"repo":"elsewhere","Healthcheck":null})"),
              R"({"User":"2","Cmd":["c"],"Entrypoint":["e"],"Env":["C=e","F=","A=b"],)"
              R"("Labels":{"x":"1","y":"3","z":"4"},"ExposedPorts":{"80/tcp":{},"81/tcp":{}},"Tty":true,)"
              R"("Volumes":{"/v":{}}})");
    EXPECT_THAT(merged(R"({"Entrypoint":["f"],"Healthcheck":{"Test":["NONE"]}})"),
                testing::AllOf(HasSubstr(R"("Cmd":[])"), HasSubstr(R"("Entrypoint":["f"])"),
                               HasSubstr(R"("Healthcheck":{"Test":["NONE"]})")));
    for (const char* given : {R"({"Env":"A"})", R"({"Labels":[]})", R"({"Cmd":[1]})", R"({"User":1})"}) {
        EXPECT_THAT(why([&] { merged(given); }), HasSubstr("cannot use the configuration in the body"))
            << given;
    }
}

}  // namespace
}  // namespace hull::container
