#include "container/contents/guest_contents.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "container/layer/entry_kind.h"
#include "container/layer/layer_tree.h"

namespace hull::container {

namespace {

constexpr int kPatienceMs = 60'000;
constexpr int kForTheDiskMs = 300'000;
constexpr uint64_t kMostOwner = UINT32_MAX - 1;
constexpr uint32_t kNanosecondsASecond = 1'000'000'000;

/// The fields of a kEntry frame.
struct Fields {
    std::optional<std::string> path;
    std::string target;
    std::string hard_link;
    std::string resolved;
    uint64_t mode = 0;
    uint64_t owner = 0;
    uint64_t group = 0;
    uint64_t seconds = 0;
    uint64_t nanoseconds = 0;
    uint64_t size = 0;
    uint64_t device = 0;
    std::optional<uint64_t> change;
    std::map<std::string, std::string> attributes;

    bool take(const agent::Field& field) {
        const auto take_text = [&field](std::string& text) {
            const char* const given = field.text();
            text = given == nullptr ? "" : given;
            return given != nullptr && text.size() <= TarReader::kMostPath;
        };
        switch (field.tag) {
            case agent::kPath:
                return take_text(path.emplace());
            case agent::kTarget:
                return take_text(target);
            case agent::kHardLink:
                return take_text(hard_link);
            case agent::kResolved:
                return take_text(resolved);
            case agent::kMode:
                return field.number(mode);
            case agent::kOwner:
                return field.number(owner) && owner <= UINT32_MAX;
            case agent::kOwnersGroup:
                return field.number(group) && group <= UINT32_MAX;
            case agent::kSeconds:
                return field.number(seconds);
            case agent::kNanoseconds:
                return field.number(nanoseconds) && nanoseconds < kNanosecondsASecond;
            case agent::kSize:
                return field.number(size) && size <= INT64_MAX;
            case agent::kDevice:
                return field.number(device);
            case agent::kChange:
                return field.number(change.emplace()) && *change <= agent::kDeleted;
            case agent::kAttribute: {
                const std::string_view both{reinterpret_cast<const char*>(field.bytes), field.size};
                const size_t zero = both.find('\0');
                if (zero == std::string_view::npos || zero == 0 ||
                    both.substr(0, zero).find('=') != std::string_view::npos) {
                    return false;
                }
                attributes.insert_or_assign(std::string{both.substr(0, zero)},
                                            std::string{both.substr(zero + 1)});
                return true;
            }
            default:
                return false;
        }
    }
};

/// Whether it is a name behind a name, none of which is ".." or ".".
bool is_below(std::string_view path) {
    for (;;) {
        const std::string_view name = path.substr(0, path.find('/'));
        if (name.empty() || name == "." || name == "..") {
            return false;
        }
        if (name.size() == path.size()) {
            return true;
        }
        path.remove_prefix(name.size() + 1);
    }
}

/// None where they make no sense.
std::optional<GuestEntry> entry_of(Fields&& fields) {
    const auto kind = kind_of_mode(fields.mode);
    if (!kind || !fields.path) {
        return std::nullopt;
    }
    GuestEntry entry{.file = {}, .type = static_cast<uint32_t>(fields.mode & S_IFMT), .change = std::nullopt};
    TarEntry& file = entry.file;
    file.kind = *kind;
    file.path = *std::move(fields.path);
    file.mode = static_cast<uint32_t>(fields.mode & 07777);
    file.uid = static_cast<uint32_t>(std::min(fields.owner, kMostOwner));
    file.gid = static_cast<uint32_t>(std::min(fields.group, kMostOwner));
    file.mtime = static_cast<int64_t>(fields.seconds);
    file.mtime_ns = static_cast<uint32_t>(fields.nanoseconds);
    file.size = fields.size;
    file.major = major(fields.device);
    file.minor = minor(fields.device);
    file.attributes = std::move(fields.attributes);
    entry.resolved = std::move(fields.resolved);
    if (fields.change) {
        entry.change = static_cast<agent::Change>(*fields.change);
    }
    if (!fields.hard_link.empty()) {
        file.kind = TarEntry::Kind::hard_link;
        file.link = std::move(fields.hard_link);
    } else if (*kind == TarEntry::Kind::symbolic_link) {
        file.link = std::move(fields.target);
    }
    if (!file.path.empty() && !is_below(file.path)) {
        return std::nullopt;
    }
    if (file.kind == TarEntry::Kind::hard_link && (*kind == TarEntry::Kind::folder || !is_below(file.link))) {
        return std::nullopt;
    }
    return entry;
}

}  // namespace

GuestContentsError::GuestContentsError(int error, std::string what, const std::string& path)
    : std::runtime_error{"the guest fails " + what + (path.empty() ? "" : " '" + printable(path) + "'") +
                         ": " + errno_text(error)},
      error_{error},
      what_{std::move(what)},
      path_{path} {}

GuestContents::GuestContents(UniqueFd connection, std::shared_ptr<void> keeper)
    : connection_{std::move(connection)},
      keeper_{std::move(keeper)},
      room_(agent::kHeaderSize + agent::kMostReport),
      reader_{room_.data(), room_.size()} {
    fcntl(connection_.get(), F_SETFL, fcntl(connection_.get(), F_GETFL) | O_NONBLOCK);
}

void GuestContents::refuse(const std::string& why) {
    throw Error{ExitStatus::bad_file, "cannot take what the container's guest sends", why};
}

void GuestContents::wait_for(short events) const {
    pollfd entry{connection_.get(), events, 0};
    int ready = 0;
    do {
        ready = poll(&entry, 1, is_finishing_ ? kForTheDiskMs : kPatienceMs);
    } while (ready < 0 && errno == EINTR);
    if (ready != 1) {
        refuse("it does nothing any more");
    }
}

agent::Frame GuestContents::next_frame() {
    agent::Frame frame;
    while (!reader_.next(frame)) {
        if (reader_.is_bad()) {
            refuse("a frame is too large");
        }
        const ssize_t got = recv(connection_.get(), reader_.space(), reader_.space_size(), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            refuse("it ends early");
        }
        if (got < 0) {
            wait_for(POLLIN);
        }
        reader_.add(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    }
    if (frame.type == agent::kFailed) {
        take_failure(frame);
    }
    return frame;
}

void GuestContents::take_failure(const agent::Frame& frame) {
    constexpr uint64_t kMostError = 4095;
    uint64_t error = 0;
    std::string what;
    std::string path;
    agent::FieldReader fields{frame};
    for (agent::Field field; fields.next(field);) {
        const char* const text = field.text();
        if (field.tag == agent::kError) {
            field.number(error);
        } else if (text != nullptr) {
            (field.tag == agent::kText ? what : path) = text;
        }
    }
    if (error == 0 || error > kMostError || what.empty()) {
        refuse("it fails for no reason");
    }
    throw GuestContentsError{static_cast<int>(error), printable(what), path};
}

std::optional<GuestEntry> GuestContents::take_entry() {
    while (left_ > 0 || data_.size > 0) {
        std::array<std::byte, 16'384> dropped;
        read(dropped);
    }
    if (has_ended_) {
        return std::nullopt;
    }
    const agent::Frame frame = next_frame();
    if (frame.type == agent::kEnd) {
        has_ended_ = true;
        return std::nullopt;
    }
    Fields fields;
    agent::FieldReader reader{frame};
    bool is_fine = frame.type == agent::kEntry;
    for (agent::Field field; is_fine && reader.next(field);) {
        is_fine = fields.take(field);
    }
    std::optional<GuestEntry> entry =
        is_fine && !reader.is_bad() ? entry_of(std::move(fields)) : std::nullopt;
    if (!entry) {
        refuse("what it tells of a file makes no sense");
    }
    if (++entries_ > LayerTree::kMostEntries) {
        refuse("there are more than " + std::to_string(LayerTree::kMostEntries) + " files");
    }
    return entry;
}

std::optional<GuestEntry> GuestContents::next_change() {
    std::optional<GuestEntry> entry = take_entry();
    if (entry && (!entry->change || entry->file.path.empty())) {
        refuse("a change is none");
    }
    return entry;
}

std::optional<GuestEntry> GuestContents::next() {
    std::optional<GuestEntry> entry = take_entry();
    if (!entry) {
        return std::nullopt;
    }
    if (entry->file.path.empty() != std::exchange(is_first_, false)) {
        refuse("what it sends is not what was asked for");
    }
    if (entry->file.kind == TarEntry::Kind::symbolic_link && entry->file.link.empty()) {
        refuse("a link leads nowhere");
    }
    check_place(*entry);
    left_ = entry->file.kind == TarEntry::Kind::file ? entry->file.size : 0;
    entry->file.size = left_;
    return entry;
}

/// Where others extract what comes, a name must not lead through a link that came before it.
void GuestContents::check_place(const GuestEntry& entry) {
    const std::string& path = entry.file.path;
    if (path.empty()) {
        way_.clear();
    } else {
        const size_t slash = path.rfind('/');
        const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash);
        const std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
        while (!way_.empty() && way_.back().path != folder) {
            way_.pop_back();
        }
        if (way_.empty() || name <= way_.back().last) {
            refuse("the file '" + printable(path) + "' is out of its place");
        }
        way_.back().last = name;
    }
    if (entry.file.kind == TarEntry::Kind::folder) {
        way_.push_back({.path = path, .last = ""});
    }
}

size_t GuestContents::read(std::span<std::byte> room) {
    while (data_.size == 0 && left_ > 0) {
        data_ = next_frame();
        if (data_.type != agent::kData || data_.size == 0 || data_.size > left_) {
            data_ = {};
            refuse("a file has another size than it says");
        }
        left_ -= data_.size;
    }
    const size_t size = std::min<size_t>(room.size(), data_.size);
    if (size > 0) {
        std::memcpy(room.data(), data_.payload, size);
        data_.payload += size;
        data_.size -= static_cast<uint32_t>(size);
    }
    return size;
}

/// Who has ended has said why before.
void GuestContents::send(const uint8_t* bytes, size_t size) {
    while (size > 0) {
        const ssize_t sent = ::send(connection_.get(), bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            wait_for(POLLOUT);
        } else if (sent < 0 && errno != EINTR) {
            next_frame();
            refuse("it ends early");
        }
        bytes += std::max<ssize_t>(sent, 0);
        size -= static_cast<size_t>(std::max<ssize_t>(sent, 0));
    }
}

void GuestContents::put(const TarEntry& entry) {
    sent_.resize(agent::kHeaderSize + agent::kMostRequest);
    agent::FrameWriter frame{sent_.data(), sent_.size(), agent::kEntry, 0};
    frame.add_text(agent::kPath, entry.path.c_str());
    frame.add_number(agent::kMode, type_bits(entry.kind) | entry.mode);
    frame.add_number(agent::kOwner, entry.uid);
    frame.add_number(agent::kOwnersGroup, entry.gid);
    frame.add_number(agent::kSeconds, static_cast<uint64_t>(entry.mtime));
    frame.add_number(agent::kNanoseconds, entry.mtime_ns);
    frame.add_number(agent::kSize, entry.size);
    frame.add_number(agent::kDevice, makedev(entry.major, entry.minor));
    if (entry.kind == TarEntry::Kind::symbolic_link) {
        frame.add_text(agent::kTarget, entry.link.c_str());
    } else if (entry.kind == TarEntry::Kind::hard_link) {
        frame.add_text(agent::kHardLink, entry.link.c_str());
    }
    for (const auto& [name, value] : entry.attributes) {
        std::string both = name;
        both += '\0';
        both += value;
        frame.add_bytes(agent::kAttribute, both.data(), both.size());
    }
    if (frame.size() == 0) {
        throw Error{ExitStatus::bad_file, "cannot take the archive",
                    "what it says of '" + printable(entry.path) + "' is more than " +
                        std::to_string(agent::kMostRequest >> 10) + " KiB"};
    }
    send(sent_.data(), frame.size());
}

void GuestContents::write(std::span<const std::byte> bytes) {
    sent_.resize(agent::kHeaderSize + agent::kMostRequest);
    while (!bytes.empty()) {
        const auto part = bytes.first(std::min<size_t>(bytes.size(), agent::kMostReport));
        agent::store_word(sent_.data(), agent::kData);
        agent::store_word(&sent_[4], 0);
        agent::store_word(&sent_[8], static_cast<uint32_t>(part.size()));
        std::memcpy(&sent_[agent::kHeaderSize], part.data(), part.size());
        send(sent_.data(), agent::kHeaderSize + part.size());  // at once: the guest gets a packet less
        bytes = bytes.subspan(part.size());
    }
}

void GuestContents::finish() {
    std::array<uint8_t, agent::kHeaderSize> header{};
    const agent::FrameWriter end{header.data(), header.size(), agent::kEnd, 0};
    send(header.data(), end.size());
    is_finishing_ = true;
    if (next_frame().type != agent::kEnd) {
        refuse("it does not say that it is done");
    }
}

}  // namespace hull::container
