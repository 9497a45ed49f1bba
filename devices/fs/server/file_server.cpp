#include "devices/fs/server/file_server.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <optional>
#include <utility>

#include "devices/fs/fuse_request.h"

namespace hull::virtio {

namespace {

/// How long a guest may believe what it was told, in seconds. What is shown are programs and a user's input,
/// which hardly change meanwhile.
constexpr uint64_t kBelief = 60;
constexpr size_t kPageSize = 4096;
constexpr size_t kMostEntries = size_t{32} << 10;  // bytes of a folder's entries that are taken at once
constexpr uint32_t kOldestMinor = 31;              // Linux 5.4

template <typename T>
std::optional<T> read_front(std::span<const std::byte> bytes) {
    T value;
    if (bytes.size() < sizeof value) {
        return std::nullopt;
    }
    std::memcpy(&value, bytes.data(), sizeof value);
    return value;
}

/// Files of several of the host's file systems are in one of the guest's: their numbers must not meet.
uint64_t file_number(uint64_t number, dev_t device) {
    constexpr int kShift = 44;
    return number ^ uint64_t { device } << kShift;
}

fuse_attr attributes_of(const struct stat& status) {
    return {.ino = file_number(status.st_ino, status.st_dev),
            .size = static_cast<uint64_t>(status.st_size),
            .blocks = static_cast<uint64_t>(status.st_blocks),
            .atime = static_cast<uint64_t>(status.st_atim.tv_sec),
            .mtime = static_cast<uint64_t>(status.st_mtim.tv_sec),
            .ctime = static_cast<uint64_t>(status.st_ctim.tv_sec),
            .atimensec = static_cast<uint32_t>(status.st_atim.tv_nsec),
            .mtimensec = static_cast<uint32_t>(status.st_mtim.tv_nsec),
            .ctimensec = static_cast<uint32_t>(status.st_ctim.tv_nsec),
            .mode = status.st_mode,
            .nlink = static_cast<uint32_t>(status.st_nlink),
            .uid = status.st_uid,
            .gid = status.st_gid,
            .rdev = 0,  // a device of the host's is none of the guest's
            .blksize = static_cast<uint32_t>(status.st_blksize),
            .flags = 0};
}

/// The one name that a body holds, with a zero byte behind it and nothing else; empty where it holds none
/// that may be looked up.
std::string_view name_in(std::span<const std::byte> body) {
    const std::string_view text{reinterpret_cast<const char*>(body.data()), body.size()};
    const size_t end = text.find('\0');
    if (text.empty() || end != text.size() - 1) {
        return {};
    }
    const std::string_view name = text.substr(0, end);
    const bool is_plain =
        name.size() <= NAME_MAX && name != "." && name != ".." && name.find('/') == std::string_view::npos;
    return is_plain ? name : std::string_view{};
}

}  // namespace

FileServer::FileServer(UniqueFd folder, size_t most_answer)
    : folder_{std::move(folder)}, answer_(most_answer), entries_(kMostEntries) {
    nodes_[FUSE_ROOT_ID].path = ".";
}

std::span<const std::byte> FileServer::answer(std::span<const std::byte> request) {
    const auto header = read_front<fuse_in_header>(request);
    if (!header) {
        return {};
    }
    const auto body = request.subspan(sizeof *header);
    if (!is_answered(header->opcode)) {
        if (const auto one = read_front<fuse_forget_in>(body); header->opcode == FUSE_FORGET && one) {
            forget(header->nodeid, one->nlookup);
        } else if (header->opcode == FUSE_BATCH_FORGET) {
            forget_all(body);
        }
        return {};
    }
    const Done done = header->len == request.size() ? perform(*header, body) : Done{EINVAL};
    const size_t size = sizeof(fuse_out_header) + (done.error == 0 ? done.size : 0);
    const fuse_out_header answer{
        .len = static_cast<uint32_t>(size), .error = -done.error, .unique = header->unique};
    std::memcpy(answer_.data(), &answer, sizeof answer);
    return std::span{answer_}.first(size);
}

FileServer::Done FileServer::perform(const fuse_in_header& header, std::span<const std::byte> body) {
    if (header.opcode == FUSE_INIT) {
        return greet(body);
    }
    const auto found = nodes_.find(header.nodeid);
    if (found == nodes_.end()) {
        return {ESTALE};
    }
    const Node& node = found->second;
    switch (header.opcode) {
        case FUSE_LOOKUP:
            return look_up(node, body);
        case FUSE_GETATTR:
            return tell_attributes(node);
        case FUSE_READLINK:
            return read_link(node);
        case FUSE_READ:
            return read_file(node, body);
        case FUSE_READDIR:
            return read_folder(node, body);
        case FUSE_STATFS:
            return tell_space(node);
        case FUSE_DESTROY:
            return {};
        default:
            // Also of OPEN and OPENDIR: the driver then asks for neither again, and reads without.
            return {ENOSYS};
    }
}

template <typename T>
FileServer::Done FileServer::put(const T& value) {
    std::memcpy(room().data(), &value, sizeof value);
    return {.size = sizeof value};
}

FileServer::Done FileServer::greet(std::span<const std::byte> body) {
    struct Greeting {  // what every version begins with
        uint32_t major, minor, max_readahead, flags;
    };
    const auto greeting = read_front<Greeting>(body);
    if (!greeting || greeting->major < FUSE_KERNEL_VERSION ||
        (greeting->major == FUSE_KERNEL_VERSION && greeting->minor < kOldestMinor)) {
        return {EPROTO};
    }
    constexpr uint32_t kFlags = FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |
                                FUSE_CACHE_SYMLINKS | FUSE_AUTO_INVAL_DATA | FUSE_NO_OPEN_SUPPORT |
                                FUSE_NO_OPENDIR_SUPPORT;
    constexpr size_t kMostPages = 256;
    fuse_init_out answer{};
    answer.major = FUSE_KERNEL_VERSION;
    answer.minor = std::min<uint32_t>(greeting->minor, FUSE_KERNEL_MINOR_VERSION);
    answer.max_readahead = greeting->max_readahead;
    answer.flags = greeting->flags & kFlags;
    answer.max_write = kPageSize;
    answer.time_gran = 1;
    answer.max_pages = static_cast<uint16_t>(std::min(room().size() / kPageSize, kMostPages));
    return put(answer);
}

FileServer::Done FileServer::look_up(const Node& folder, std::span<const std::byte> body) {
    const std::string_view name = name_in(body);
    if (name.empty()) {
        return {EINVAL};
    }
    std::string path = folder.path == "." ? "" : folder.path + "/";
    path += name;
    fuse_entry_out entry{};
    entry.entry_valid = entry.attr_valid = kBelief;
    const UniqueFd file = open_node(path, O_PATH);
    struct stat status {};
    if (!file.valid() || fstat(file.get(), &status) != 0) {
        return errno == ENOENT ? put(entry) : Done{errno};  // that there is none may be believed, too
    }
    const auto known = numbers_.find(path);
    const uint64_t number = known == numbers_.end() ? next_number_++ : known->second;
    Node& node = nodes_[number];
    if (known == numbers_.end()) {
        node.path = std::move(path);
        numbers_[node.path] = number;
    }
    ++node.lookups;
    entry.nodeid = number;
    entry.attr = attributes_of(status);
    return put(entry);
}

void FileServer::forget(uint64_t number, uint64_t lookups) {
    const auto found = nodes_.find(number);
    if (found == nodes_.end() || number == FUSE_ROOT_ID) {
        return;
    }
    Node& node = found->second;
    node.lookups -= std::min(node.lookups, lookups);
    if (node.lookups == 0) {
        numbers_.erase(node.path);
        nodes_.erase(found);
    }
}

void FileServer::forget_all(std::span<const std::byte> body) {
    const auto batch = read_front<fuse_batch_forget_in>(body);
    if (!batch) {
        return;
    }
    body = body.subspan(sizeof *batch);
    for (uint32_t index = 0; index < batch->count; ++index) {
        const auto one = read_front<fuse_forget_one>(body);
        if (!one) {
            return;
        }
        forget(one->nodeid, one->nlookup);
        body = body.subspan(sizeof *one);
    }
}

UniqueFd FileServer::open_node(const std::string& path, int flags) const {
    // To be read, a named pipe is not waited for; with O_PATH nothing is, and the call refuses the flag.
    const int waiting = (flags & O_PATH) != 0 ? 0 : O_NONBLOCK;
    const open_how how{.flags = static_cast<uint64_t>(flags | waiting | O_NOFOLLOW | O_CLOEXEC),
                       .mode = 0,
                       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return UniqueFd{static_cast<int>(syscall(SYS_openat2, folder_.get(), path.c_str(), &how, sizeof how))};
}

FileServer::Done FileServer::tell_attributes(const Node& node) {
    const UniqueFd file = open_node(node.path, O_PATH);
    struct stat status {};
    if (!file.valid() || fstat(file.get(), &status) != 0) {
        return {errno};
    }
    return put(fuse_attr_out{
        .attr_valid = kBelief, .attr_valid_nsec = 0, .dummy = 0, .attr = attributes_of(status)});
}

FileServer::Done FileServer::read_link(const Node& node) {
    const UniqueFd file = open_node(node.path, O_PATH);
    const auto to = room();
    const ssize_t got =
        file.valid() ? readlinkat(file.get(), "", reinterpret_cast<char*>(to.data()), to.size()) : -1;
    if (got < 0) {
        return {errno};
    }
    return {.size = static_cast<size_t>(got)};
}

FileServer::Done FileServer::read_file(const Node& node, std::span<const std::byte> body) {
    const auto asked = read_front<fuse_read_in>(body);
    if (!asked || asked->offset > INT64_MAX) {
        return {EINVAL};
    }
    const UniqueFd file = open_node(node.path, O_RDONLY);
    struct stat status {};
    if (!file.valid() || fstat(file.get(), &status) != 0) {
        return {errno};
    }
    if (!S_ISREG(status.st_mode)) {
        return {EINVAL};
    }
    const auto to = room().first(std::min<size_t>(room().size(), asked->size));
    const ssize_t got = pread(file.get(), to.data(), to.size(), static_cast<off_t>(asked->offset));
    if (got < 0) {
        return {errno};
    }
    return {.size = static_cast<size_t>(got)};
}

FileServer::Done FileServer::read_folder(const Node& node, std::span<const std::byte> body) {
    const auto asked = read_front<fuse_read_in>(body);
    if (!asked) {
        return {EINVAL};
    }
    const UniqueFd folder = open_node(node.path, O_RDONLY | O_DIRECTORY);
    struct stat status {};
    if (!folder.valid() || fstat(folder.get(), &status) != 0 ||
        (asked->offset != 0 && lseek(folder.get(), static_cast<off_t>(asked->offset), SEEK_SET) < 0)) {
        return {errno};
    }
    const auto to = room().first(std::min<size_t>(room().size(), asked->size));
    // Ours take a little more room than the host's: some that were taken may be asked for again.
    constexpr size_t kOne = 512;
    const long got =
        syscall(SYS_getdents64, folder.get(), entries_.data(), std::clamp(to.size(), kOne, entries_.size()));
    if (got < 0) {
        return {errno};
    }
    size_t used = 0;
    for (size_t at = 0; at < static_cast<size_t>(got);) {
        const auto* entry = reinterpret_cast<const dirent64*>(entries_.data() + at);
        const size_t length = std::strlen(entry->d_name);
        const size_t size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + length);
        if (size > to.size() - used) {
            return used == 0 ? Done{EINVAL} : Done{.size = used};
        }
        const fuse_dirent told{.ino = file_number(entry->d_ino, status.st_dev),
                               .off = static_cast<uint64_t>(entry->d_off),
                               .namelen = static_cast<uint32_t>(length),
                               .type = entry->d_type};
        std::byte* place = to.data() + used;
        std::memset(place, 0, size);
        std::memcpy(place, &told, FUSE_NAME_OFFSET);
        std::memcpy(place + FUSE_NAME_OFFSET, entry->d_name, length);
        used += size;
        at += entry->d_reclen;
    }
    return {.size = used};
}

FileServer::Done FileServer::tell_space(const Node& node) {
    const UniqueFd file = open_node(node.path, O_PATH);
    struct statfs status {};
    if (!file.valid() || fstatfs(file.get(), &status) != 0) {
        return {errno};
    }
    fuse_statfs_out answer{};
    answer.st = {.blocks = status.f_blocks,
                 .bfree = 0,
                 .bavail = 0,
                 .files = status.f_files,
                 .ffree = 0,
                 .bsize = static_cast<uint32_t>(status.f_bsize),
                 .namelen = static_cast<uint32_t>(status.f_namelen),
                 .frsize = static_cast<uint32_t>(status.f_frsize),
                 .padding = 0,
                 .spare = {}};
    return put(answer);
}

}  // namespace hull::virtio
