// hull-file-server FOLDER
//
// Shows a machine one folder of the host's, in a process of its own: it takes a guest's requests apart.
// Started by the keeper alone (vmm/main/file_server.h) in a mount namespace of its own, with the link to the
// machine's device (devices/fs/file_share.h) as descriptor 3. FOLDER is a mount, and all that is left of the
// namespace.
#include <fcntl.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/unique_fd.h"
#include "devices/fs/fuse_request.h"
#include "devices/fs/server/file_server.h"

namespace {

using namespace hull;

constexpr int kLink = 3;
/// Of an answer: 32 pages, as the driver asks for by default, and its header.
constexpr size_t kMostAnswer = (size_t{32} << 12) + sizeof(fuse_out_header);

void require(bool done, const char* tried) {
    if (!done) {
        throw Error{ExitStatus::internal_failure, tried, errno_text(errno)};
    }
}

/// An answer is one message; the host may allow smaller ones only.
size_t most_answer() {
    constexpr int kOverhead = 4096;
    int room = static_cast<int>(kMostAnswer) + kOverhead;
    socklen_t size = sizeof room;
    setsockopt(kLink, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    require(getsockopt(kLink, SOL_SOCKET, SO_SNDBUF, &room, &size) == 0 && room >= 4 * kOverhead,
            "cannot send answers over the link");
    return std::min(kMostAnswer, static_cast<size_t>(room - kOverhead));
}

/// Leaves nothing of the host's but the folder.
UniqueFd enter(const char* path) {
    require(chdir(path) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
                chdir("/") == 0,
            "cannot make a folder the only one");
    UniqueFd folder{open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    require(folder.valid(), "cannot open the folder");
    return folder;
}

/// Keeps one right, where there is any: to read what belongs to others, as its user may.
void give_up_rights() {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
    require(syscall(SYS_capget, &header, sets.data()) == 0, "cannot ask for the rights there are");
    const uint32_t kept = sets[0].permitted & (uint32_t{1} << CAP_DAC_READ_SEARCH);
    sets = {};
    sets[0].effective = sets[0].permitted = kept;
    require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && syscall(SYS_capset, &header, sets.data()) == 0,
            "cannot give up rights");
}

/// What is left: to take requests and answer them, to look at files and read them, and to have memory. All
/// else fails with EPERM.
void close_filter() {
    constexpr int kCalls[] = {SCMP_SYS(read),       SCMP_SYS(write),     SCMP_SYS(openat2),
                              SCMP_SYS(newfstatat), SCMP_SYS(fstat),     SCMP_SYS(fstatfs),
                              SCMP_SYS(readlinkat), SCMP_SYS(pread64),   SCMP_SYS(lseek),
                              SCMP_SYS(getdents64), SCMP_SYS(close),     SCMP_SYS(brk),
                              SCMP_SYS(mmap),       SCMP_SYS(munmap),    SCMP_SYS(mremap),
                              SCMP_SYS(madvise),    SCMP_SYS(exit_group)};
    const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    require(filter != nullptr, "cannot make a filter of system calls");
    for (const int call : kCalls) {
        require(seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0) == 0,
                "cannot make a filter of system calls");
    }
    require(seccomp_load(filter) == 0, "cannot close the filter of system calls");
    seccomp_release(filter);
}

void serve(virtio::FileServer& server) {
    std::array<std::byte, virtio::kMostFuseRequest> request{};
    for (;;) {
        const ssize_t got = read(kLink, request.data(), request.size());
        if (got <= 0) {
            return;  // the machine has ended
        }
        const auto answer = server.answer(std::span{request}.first(static_cast<size_t>(got)));
        if (!answer.empty() && write(kLink, answer.data(), answer.size()) < 0) {
            return;
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    try {
        if (argc != 2) {
            throw Error{ExitStatus::usage, "cannot tell which folder to show", "one is to be named",
                        "leave it to hull to start this program"};
        }
        virtio::FileServer server{enter(argv[1]), most_answer()};
        give_up_rights();
        close_filter();
        serve(server);
        _exit(0);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hull-file-server: %s\n", error.what());
        return 1;
    }
}
