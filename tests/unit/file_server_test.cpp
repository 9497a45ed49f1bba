// What hull-file-server shows of a folder, and what a hostile guest's requests come to.
#include "devices/fs/server/file_server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cerrno>
#include <map>
#include <string>

#include "devices/fs/fuse_request.h"
#include "tests/support/files.h"
#include "tests/support/fuse_messages.h"

namespace hull::virtio {
namespace {

using test::bytes_in;
using test::fuse_forget;
using test::fuse_init;
using test::fuse_lookup;
using test::fuse_read;
using test::fuse_request;
using test::FuseAnswer;

constexpr size_t kMostAnswer = 64 << 10;

class FileServerTest : public testing::Test {
  protected:
    FileServerTest() {
        folder_.file("outside", "a secret");
        folder_.file("shown/file", "content");
        folder_.file("shown/sub/deep/file", "deeper");
        std::filesystem::create_symlink("sub/deep", folder_.path() / "shown/link");
        std::filesystem::create_symlink("../outside", folder_.path() / "shown/away");
        mkfifo((folder_.path() / "shown/pipe").c_str(), 0644);
    }
    FuseAnswer ask(const std::string& request) {
        const auto answer = server_.answer(std::as_bytes(std::span{request}));
        EXPECT_GE(answer.size(), sizeof(fuse_out_header));
        EXPECT_LE(answer.size(), kMostAnswer);
        auto told = FuseAnswer::of({reinterpret_cast<const char*>(answer.data()), answer.size()});
        EXPECT_EQ(told.header.len, answer.size());
        EXPECT_EQ(told.header.unique, 7U);
        return told;
    }
    void tell(const std::string& request) {
        EXPECT_TRUE(server_.answer(std::as_bytes(std::span{request})).empty());
    }
    int error_of(const std::string& request) { return -ask(request).header.error; }
    uint64_t node(uint64_t folder, std::string_view name) {
        const FuseAnswer answer = ask(fuse_lookup(folder, name));
        EXPECT_EQ(answer.header.error, 0) << name;
        return answer.as<fuse_entry_out>().nodeid;
    }
    uint64_t node(std::initializer_list<std::string_view> names) {
        uint64_t at = FUSE_ROOT_ID;
        for (const std::string_view name : names) {
            at = node(at, name);
        }
        return at;
    }

    const test::TemporaryFolder folder_;
    const bool made_ = std::filesystem::create_directory(folder_.path() / "shown");
    FileServer server_{UniqueFd{open((folder_.path() / "shown").c_str(), O_PATH | O_CLOEXEC)}, kMostAnswer};
};

TEST_F(FileServerTest, GreetsAndTellsWhatItCan) {
    const auto init = ask(fuse_init()).as<fuse_init_out>();
    EXPECT_EQ(init.major, 7U);
    EXPECT_EQ(init.max_pages, 15) << "what fits into an answer";
    EXPECT_NE(init.flags & FUSE_NO_OPEN_SUPPORT, 0U);
    EXPECT_EQ(error_of(fuse_init(12)), EPROTO);
    EXPECT_EQ(error_of(fuse_request(FUSE_INIT, 0, "short")), EPROTO);
}

TEST_F(FileServerTest, ShowsFilesFoldersAndLinks) {
    const uint64_t file = node({"sub", "deep", "file"});
    EXPECT_EQ(ask(fuse_read(file, 0, 100)).body, "deeper");
    EXPECT_EQ(ask(fuse_read(file, 2, 3)).body, "epe");
    EXPECT_EQ(ask(fuse_read(file, 100, 3)).body, "");
    const auto told = ask(fuse_request(FUSE_GETATTR, file, bytes_in(fuse_getattr_in{}))).as<fuse_attr_out>();
    EXPECT_EQ(told.attr.size, 6U);
    EXPECT_TRUE(S_ISREG(told.attr.mode));
    EXPECT_EQ(ask(fuse_request(FUSE_READLINK, node({"link"}))).body, "sub/deep");
    EXPECT_EQ(ask(fuse_request(FUSE_STATFS, FUSE_ROOT_ID)).body.size(), sizeof(fuse_statfs_out));
    const FuseAnswer missing = ask(fuse_lookup(FUSE_ROOT_ID, "missing"));
    EXPECT_EQ(missing.header.error, 0) << "that there is none can be believed for a while";
    EXPECT_EQ(missing.as<fuse_entry_out>().nodeid, 0U);
}

TEST_F(FileServerTest, ListsALargeFolderInParts) {
    for (int number = 0; number < 500; ++number) {
        folder_.file("shown/many/file with a name of some length " + std::to_string(number), "");
    }
    const uint64_t many = node({"many"});
    std::map<std::string, int> seen;
    uint64_t offset = 0;
    for (int parts = 0; parts < 500; ++parts) {
        const std::string body = ask(fuse_read(many, offset, 4096, FUSE_READDIR)).body;
        ASSERT_LE(body.size(), 4096U);
        if (body.empty()) {
            EXPECT_GT(parts, 5);
            break;
        }
        for (size_t at = 0; at < body.size();) {
            fuse_dirent entry{};
            std::memcpy(&entry, body.data() + at, FUSE_NAME_OFFSET);
            ++seen[body.substr(at + FUSE_NAME_OFFSET, entry.namelen)];
            offset = entry.off;
            at += FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + entry.namelen);
        }
    }
    EXPECT_EQ(seen.size(), 502U);
    for (const auto& [name, times] : seen) {
        EXPECT_EQ(times, 1) << name;
    }
}

TEST_F(FileServerTest, ForgetsWhatTheGuestForgets) {
    const uint64_t file = node({"file"});
    EXPECT_EQ(node({"file"}), file);
    EXPECT_EQ(server_.known(), 1U);
    tell(fuse_forget(file, 1));
    EXPECT_EQ(ask(fuse_read(file, 0, 100)).body, "content");
    tell(fuse_forget(file, 1000));
    EXPECT_EQ(server_.known(), 0U);
    EXPECT_EQ(error_of(fuse_read(file, 0, 100)), ESTALE);
    EXPECT_NE(node({"file"}), file) << "a number is never used again";
    const uint64_t sub = node({"sub"});
    const uint64_t deep = node(sub, "deep");
    const fuse_forget_one both[] = {{.nodeid = sub, .nlookup = 1}, {.nodeid = FUSE_ROOT_ID, .nlookup = 9}};
    tell(fuse_request(FUSE_BATCH_FORGET, 0,
                      bytes_in(fuse_batch_forget_in{.count = 1000, .dummy = 0}) + bytes_in(both)));
    EXPECT_EQ(error_of(fuse_lookup(sub, "deep")), ESTALE);
    EXPECT_NE(node(deep, "file"), 0U) << "what is below can be had as before";
}

TEST_F(FileServerTest, AHostileGuestGetsErrorsAndNothingElse) {
    const uint64_t file = node({"file"});
    const uint64_t away = node({"away"});
    const uint64_t link = node({"link"});
    std::string wrong_length = fuse_lookup(1, "file");
    wrong_length[0] = static_cast<char>(wrong_length[0] + 1);
    const struct {
        const char* what;
        std::string request;
        int error;
    } rows[] = {
        {"upwards", fuse_lookup(1, ".."), EINVAL},
        {"itself", fuse_lookup(1, "."), EINVAL},
        {"a path", fuse_lookup(1, "sub/deep"), EINVAL},
        {"an absolute path", fuse_lookup(1, "/etc/passwd"), EINVAL},
        {"a path upwards", fuse_lookup(1, "../outside"), EINVAL},
        {"no name", fuse_lookup(1, ""), EINVAL},
        {"no body", fuse_request(FUSE_LOOKUP, 1), EINVAL},
        {"a name without an end", fuse_request(FUSE_LOOKUP, 1, "file"), EINVAL},
        {"two names", fuse_request(FUSE_LOOKUP, 1, std::string{"file\0file\0", 10}), EINVAL},
        {"a name that is too long", fuse_lookup(1, std::string(256, 'x')), EINVAL},
        {"a name below a file", fuse_lookup(file, "x"), ENOTDIR},
        {"a name below a link", fuse_lookup(link, "file"), ELOOP},
        {"a folder that was never told of", fuse_lookup(99, "file"), ESTALE},
        {"folder 0", fuse_lookup(0, "file"), ESTALE},
        {"the largest number", fuse_read(~uint64_t{0}, 0, 100), ESTALE},
        {"a length that is not the message's", wrong_length, EINVAL},
        {"a cut off read", fuse_request(FUSE_READ, file, "x"), EINVAL},
        {"a read behind all ends", fuse_read(file, ~uint64_t{0}, 100), EINVAL},
        {"a read of a folder", fuse_read(1, 0, 100), EINVAL},
        {"a read of a pipe, which waits for nobody", fuse_read(node({"pipe"}), 0, 100), EINVAL},
        {"a read through a link", fuse_read(away, 0, 100), ELOOP},
        {"a list of a file", fuse_read(file, 0, 4096, FUSE_READDIR), ENOTDIR},
        {"a list from nowhere", fuse_read(1, ~uint64_t{0}, 4096, FUSE_READDIR), EINVAL},
        {"a list into no room", fuse_read(1, 0, 10, FUSE_READDIR), EINVAL},
        {"a cut off list", fuse_request(FUSE_READDIR, 1), EINVAL},
        {"the target of a file", fuse_request(FUSE_READLINK, file), ENOENT},
        {"to write", fuse_request(FUSE_WRITE, file, std::string(80, 'x')), ENOSYS},
        {"to make a folder", fuse_request(FUSE_MKDIR, 1, std::string(16, '\0')), ENOSYS},
        {"to remove", fuse_request(FUSE_UNLINK, 1, std::string{"file\0", 5}), ENOSYS},
        {"to change a mode", fuse_request(FUSE_SETATTR, file, std::string(88, '\0')), ENOSYS},
        {"what nobody knows", fuse_request(4711, 1), ENOSYS},
    };
    for (const auto& row : rows) {
        EXPECT_EQ(error_of(row.request), row.error) << row.what;
    }
    tell(fuse_request(FUSE_FORGET, file, "x"));
    tell(fuse_request(FUSE_BATCH_FORGET, 0, "x"));
    tell(fuse_request(FUSE_INTERRUPT, 0));
    tell("shorter than a header");
    EXPECT_EQ(ask(fuse_read(file, 0, ~0U)).body, "content") << "and it works on";
}

TEST_F(FileServerTest, WhatBecomesALinkMeanwhileLeadsNowhere) {
    const uint64_t file = node({"sub", "deep", "file"});
    const std::filesystem::path deep = folder_.path() / "shown/sub/deep";
    std::filesystem::remove_all(deep);
    std::filesystem::create_directory(folder_.path() / "elsewhere");
    folder_.file("elsewhere/file", "a secret");
    std::filesystem::create_symlink(folder_.path() / "elsewhere", deep);
    EXPECT_EQ(error_of(fuse_read(file, 0, 100)), ELOOP);
    std::filesystem::remove(deep);
    EXPECT_EQ(error_of(fuse_read(file, 0, 100)), ENOENT);
}

}  // namespace
}  // namespace hull::virtio
