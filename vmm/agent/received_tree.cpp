#include "vmm/agent/received_tree.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace hull {

namespace {

constexpr size_t kMostPath = 4095;
constexpr size_t kMostName = 255;

std::vector<std::string_view> names_of(std::string_view path) {
    std::vector<std::string_view> names;
    for (size_t begin = 0; begin <= path.size();) {
        const size_t end = std::min(path.find('/', begin), path.size());
        names.push_back(path.substr(begin, end - begin));
        begin = end + 1;
    }
    return names;
}

/// Opens what is beneath `folder`, through no link. No descriptor, with errno, where that is not possible.
UniqueFd open_beneath(int folder, const std::string& path, uint64_t flags, uint64_t mode = 0) {
    const open_how how{.flags = flags | O_CLOEXEC | O_NOFOLLOW,
                       .mode = mode,
                       .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    return UniqueFd{static_cast<int>(syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how))};
}

tl::unexpected<std::string> fault(const std::string& why) {
    return tl::unexpected{why};
}

}  // namespace

bool is_plain_path(const std::string& path) {
    return path.size() <= kMostPath && std::ranges::all_of(names_of(path), [](std::string_view name) {
               return !name.empty() && name != "." && name != ".." && name.size() <= kMostName;
           });
}

bool link_stays_inside(const std::string& path, const std::string& target) {
    if (target.empty() || target.front() == '/' || target.size() > kMostPath) {
        return false;
    }
    auto depth = std::ranges::count(path, '/');
    bool is_at_beginning = true;
    for (const std::string_view name : names_of(target)) {
        if (name == "..") {
            if (!is_at_beginning || --depth < 0) {
                return false;
            }
        } else if (!name.empty() && name != ".") {
            is_at_beginning = false;
        }
    }
    return true;
}

tl::expected<void, std::string> ReceivedTree::take(const agent::Frame& frame) {
    if (is_whole_) {
        return fault("the agent sends more behind the end");
    }
    switch (frame.type) {
        case agent::kEntry:
            return take_entry(frame);
        case agent::kData:
            return take_data(frame);
        case agent::kEnd:
            is_whole_ = true;
            file_.reset();
            return {};
        default:
            return fault("the agent sends what is no part of a tree");
    }
}

tl::expected<void, std::string> ReceivedTree::take_entry(const agent::Frame& frame) {
    std::string path;
    uint64_t mode = 0;
    const char* target = nullptr;
    agent::FieldReader fields{frame};
    for (agent::Field field; fields.next(field);) {
        const char* text = field.text();
        if (field.tag == agent::kPath && text != nullptr) {
            path = text;
        } else if (field.tag == agent::kTarget && text != nullptr) {
            target = text;
        } else if (field.tag != agent::kMode || !field.number(mode)) {
            return fault("the agent sends a malformed entry");
        }
    }
    if (fields.is_bad() || !is_plain_path(path)) {
        return fault("the agent sends a malformed entry");
    }
    if (limits_.entries == 0) {
        return fault("there are too many files");
    }
    if (limits_.bytes < kEntryCost) {
        return fault("it is more than the limit");
    }
    --limits_.entries;
    limits_.bytes -= kEntryCost;
    file_.reset();
    path_ = path;
    return make(path, static_cast<uint32_t>(mode), target);
}

tl::expected<void, std::string> ReceivedTree::make(const std::string& path, uint32_t mode,
                                                   const char* target) {
    constexpr mode_t kRights = 0777;
    const auto cannot = [&] { return fault("'" + path + "' cannot be made: " + errno_text(errno)); };
    const size_t slash = path.rfind('/');
    const std::string name = path.substr(slash + 1);
    // Nothing that is there is opened: each name is a new one.
    const UniqueFd parent = open_beneath(
        folder_.get(), slash == std::string::npos ? "." : path.substr(0, slash), O_PATH | O_DIRECTORY);
    if (!parent.valid()) {
        return cannot();
    }
    if (S_ISLNK(mode)) {
        if (target == nullptr || !link_stays_inside(path, target)) {
            ++links_left_out_;
            return {};
        }
        if (symlinkat(target, parent.get(), name.c_str()) != 0) {
            return cannot();
        }
    } else if (S_ISDIR(mode)) {
        // The owner can always fill and remove it.
        if (mkdirat(parent.get(), name.c_str(), (mode & kRights) | S_IRWXU) != 0) {
            return cannot();
        }
    } else if (S_ISREG(mode)) {
        file_ = UniqueFd{openat(parent.get(), name.c_str(),
                                O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode & kRights)};
        if (!file_.valid()) {
            return cannot();
        }
    } else {
        return fault("the agent sends a file of a kind that is none");
    }
    return {};
}

tl::expected<void, std::string> ReceivedTree::take_data(const agent::Frame& frame) {
    if (!file_.valid()) {
        return fault("the agent sends data that belong to no file");
    }
    if (frame.size > limits_.bytes) {
        return fault("it is more than the limit");
    }
    limits_.bytes -= frame.size;
    for (uint32_t done = 0; done < frame.size;) {
        const ssize_t written = write(file_.get(), frame.payload + done, frame.size - done);
        if (written < 0 && errno != EINTR) {
            return fault("'" + path_ + "' cannot be written: " + errno_text(errno));
        }
        done += static_cast<uint32_t>(std::max<ssize_t>(written, 0));
    }
    return {};
}

}  // namespace hull
