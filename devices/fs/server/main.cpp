// hull-file-server FOLDER
//
// Shows a machine one folder of the host's, in a process of its own: it takes a guest's requests apart.
// Started by the keeper alone (vmm/main/file_server.h) in a mount namespace of its own, with the link to the
// machine's device (devices/fs/file_share.h) as descriptor 3. FOLDER is a mount, and all that is left of the
// namespace.
#include <fcntl.h>
#include <linux/capability.h>
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

#include "base/confinement.h"
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
    leave_for(path);
    UniqueFd folder{open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    require(folder.valid(), "cannot open the folder");
    return folder;
}

/// What is left: to take requests and answer them, to look at files and read them, and to have memory.
constexpr AllowedCall kCalls[] = {
    {SYS_read},       {SYS_write},   {SYS_openat2}, {SYS_newfstatat}, {SYS_fstat},     {SYS_fstatfs},
    {SYS_readlinkat}, {SYS_pread64}, {SYS_lseek},   {SYS_getdents64}, {SYS_close},     {SYS_brk},
    {SYS_mmap},       {SYS_munmap},  {SYS_mremap},  {SYS_madvise},    {SYS_exit_group}};

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
        // To read what belongs to others, as its user may, where there is that right.
        give_up_rights(uint32_t{1} << CAP_DAC_READ_SEARCH);
        allow_only(kCalls);
        serve(server);
        _exit(0);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hull-file-server: %s\n", error.what());
        return 1;
    }
}
