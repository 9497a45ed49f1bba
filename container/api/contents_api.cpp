#include "container/api/contents_api.h"

#include <sys/stat.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <utility>
#include <vector>

#include "base/printable.h"
#include "container/api/base64.h"
#include "container/api/transfer_api.h"
#include "container/contents/archive_source.h"
#include "container/contents/guest_contents.h"
#include "container/contents/own_files.h"
#include "container/contents/put_archive.h"
#include "container/image/commit.h"
#include "container/image/manifest.h"
#include "container/layer/decompress.h"

namespace hull::container {

namespace json = boost::json;
using What = ContentsQuestion::What;

namespace {

/// The parameter "path", which is taken from the root on.
std::string path_of(const ApiCall& call) {
    std::string path = call.target().find("path").value_or("");
    if (path.empty()) {
        throw ApiError{400, "bad parameter: path cannot be empty"};
    }
    if (path.size() > TarReader::kMostPath || path.find('\0') != std::string::npos) {
        throw ApiError{400, "bad parameter: path is too long, or broken by a NUL"};
    }
    return path.starts_with('/') ? path : "/" + path;
}

[[noreturn]] void refuse_missing(const ApiCall& call, const std::string& name) {
    throw ApiError{404, "Could not find the file " + printable(call.target().find("path").value_or("")) +
                            " in container " + name};
}

/// Of what the agent cannot do, as dockerd words it.
[[noreturn]] void refuse(const ApiCall& call, const std::string& name, const GuestContentsError& error) {
    if (error.error() == ENOENT && error.path().empty()) {
        refuse_missing(call, name);
    }
    if (error.error() == ENOTDIR && error.what_failed() == "to enter a folder") {
        throw ApiError{500, "extraction point is not a directory"};
    }
    const std::string place = path_of(call) + (path_of(call).ends_with('/') ? "" : "/") + error.path();
    if (error.what_failed() == "to take the place of" && error.error() == EISDIR) {
        throw ApiError{500, "cannot overwrite directory \"" + printable(place) + "\" with non-directory \"" +
                                printable(path_of(call)) + "\""};
    }
    if (error.what_failed() == "to take the place of" && error.error() == ENOTDIR) {
        throw ApiError{500, "cannot overwrite non-directory \"" + printable(place) + "\" with directory \"" +
                                printable(path_of(call)) + "\""};
    }
    throw ApiError{500, error.what()};
}

/// What a path is called: Go's path.Base.
std::string base_of(std::string path) {
    while (path.size() > 1 && path.ends_with('/')) {
        path.pop_back();
    }
    return path.size() == 1 ? path : path.substr(path.rfind('/') + 1);
}

std::string time_of(const TarEntry& file) {
    constexpr int64_t kMost = 9'000'000'000;  // seconds that nanoseconds of 64 bits can tell
    const std::chrono::seconds seconds{std::clamp<int64_t>(file.mtime, -kMost, kMost)};
    return time_text(std::chrono::system_clock::time_point{std::chrono::nanoseconds{seconds} +
                                                           std::chrono::nanoseconds{file.mtime_ns}});
}

/// The header field X-Docker-Container-Path-Stat.
void set_status(ApiCall& call, const GuestEntry& entry) {
    const json::object status{{"name", base_of(path_of(call))},
                              {"size", entry.file.size},
                              {"mode", go_mode(entry.type | entry.file.mode)},
                              {"mtime", time_of(entry.file)},
                              {"linkTarget", entry.resolved}};
    call.set_field("X-Docker-Container-Path-Stat", base64(json::serialize(status)));
}

/// The first entry, which is the path that was asked for.
GuestEntry look(GuestContents& contents) {
    std::optional<GuestEntry> entry = contents.next();
    if (!entry) {
        throw ApiError{500, "cannot look into the container: its guest tells nothing"};
    }
    return *std::move(entry);
}

/// False where the client has gone.
bool send_archive(ApiCall& call, ArchiveSource archive) {
    std::vector<std::byte> room(size_t{256} << 10);
    size_t have = 0;
    for (;;) {
        const size_t got = archive.read(std::span{room}.subspan(have));
        have += got;
        if (have == room.size() || (got == 0 && have > 0)) {
            if (!call.write({reinterpret_cast<const char*>(room.data()), have})) {
                return false;
            }
            have = 0;
        }
        if (got == 0) {
            return true;
        }
    }
}

/// As long as it is there, the container's processes stand still, if they would not anyway.
class Pause {
  public:
    Pause(Containers& containers, const ContainerView& container, bool is_wanted)
        : containers_{containers}, id_{container.id} {
        if (is_wanted && container.stage == ContainerView::Stage::running) {
            containers_.pause(id_);
            is_on_ = true;
        }
    }
    Pause(const Pause&) = delete;
    Pause& operator=(const Pause&) = delete;
    ~Pause() {
        try {
            if (is_on_) {
                containers_.resume(id_);
            }
        } catch (const std::exception&) {
            // It has ended, or its user was quicker.
        }
    }

  private:
    Containers& containers_;
    std::string id_;
    bool is_on_ = false;
};

std::optional<Reference> name_of(const ApiCall& call) {
    std::string name = call.target().find("repo").value_or("");
    if (const std::string tag = call.target().find("tag").value_or(""); !tag.empty() && !name.empty()) {
        name += ":" + tag;
    }
    if (name.empty()) {
        return std::nullopt;
    }
    Reference reference = Reference::parse(name);
    if (reference.digest) {
        throw ApiError{400, "refusing to create a tag with a digest reference"};
    }
    return reference;
}

}  // namespace

bool ContentsApi::is_stream(std::string_view method, const RequestTarget& target) {
    return method == "PUT" && target.between("/containers/", "/archive");
}

bool ContentsApi::answer(ApiCall& call) {
    const RequestTarget& target = call.target();
    if (const auto name = target.between("/containers/", "/archive")) {
        if (call.is("PUT")) {
            take_files(call, *name);
        } else if (call.is("HEAD")) {
            show_status(call, *name);
        } else if (call.is("GET")) {
            send_files(call, *name);
        } else {
            return false;
        }
        return true;
    }
    const bool is_get = call.is("GET") && !call.is("HEAD");
    if (const auto name = target.between("/containers/", "/export"); name && is_get) {
        send_all(call, *name);
    } else if (const auto changed = target.between("/containers/", "/changes"); changed && is_get) {
        show_changes(call, *changed);
    } else if (target.path == "/commit" && call.is("POST")) {
        commit(call);
    } else {
        return false;
    }
    return true;
}

void ContentsApi::show_status(ApiCall& call, const std::string& name) {
    const auto contents =
        containers_.open_contents(name, {.what = What::status, .path = path_of(call), .user = {}});
    try {
        set_status(call, look(*contents));
    } catch (const GuestContentsError& error) {
        refuse(call, name, error);
    }
    call.send_nothing(200);
}

void ContentsApi::send_files(ApiCall& call, const std::string& name) {
    const std::string path = path_of(call);
    const auto contents = containers_.open_contents(name, {.what = What::files, .path = path, .user = {}});
    try {
        GuestEntry first = look(*contents);
        if (S_ISSOCK(first.type)) {
            throw ApiError{500, "archive/tar: sockets not supported"};
        }
        set_status(call, first);
        call.begin("application/x-tar");
        ArchiveSource archive{*contents, ArchiveSource::Kind::copy, base_of(path), std::move(first)};
        if (send_archive(call, std::move(archive))) {
            containers_.tell_of(name, "archive-path");
        }
    } catch (const GuestContentsError& error) {
        refuse(call, name, error);
    }
}

void ContentsApi::take_files(ApiCall& call, const std::string& name) {
    const std::string path = path_of(call);
    const ContainerView container = containers_.find(name);
    const ContainerConfig& config = container.spec->run.config;
    ContentsQuestion question{.what = What::unpack, .path = path, .user = {}};
    if (call.target().is_set("noOverwriteDirNonDir")) {
        question.flags |= agent::kKeepKind;
    }
    if (call.target().is_set("copyUIDGID") && !config.user.empty()) {
        question.flags |= agent::kUsersFiles;
        question.user = config.user;
    }
    try {
        if (config.is_read_only) {
            // What is wrong with the path is told first.
            const auto place =
                containers_.open_contents(name, {.what = What::status, .path = path + "/.", .user = {}});
            look(*place);
            throw ApiError{500, "container rootfs is marked read-only"};
        }
        const auto contents = containers_.open_contents(name, question);
        put_archive(unpack([&](std::span<std::byte> room) { return call.read_body(room); },
                           Manifest::kMostLayerBytes),
                    *contents);
    } catch (const GuestContentsError& error) {
        refuse(call, name, error);
    } catch (const Error& error) {
        throw ApiError{error.status() == ExitStatus::bad_file ? 400U : 500U, error.what()};
    }
    containers_.tell_of(name, "extract-to-dir");
    call.send_nothing(200);
}

void ContentsApi::send_all(ApiCall& call, const std::string& name) {
    const auto contents = containers_.open_contents(
        name, {.what = What::files, .path = "/", .flags = agent::kBare | agent::kAllLinks, .user = {}});
    look(*contents);
    call.begin("application/octet-stream");
    if (send_archive(call, ArchiveSource{*contents, ArchiveSource::Kind::whole})) {
        containers_.tell_of(name, "export");
    }
}

void ContentsApi::show_changes(ApiCall& call, const std::string& name) {
    constexpr size_t kPiece = size_t{32} << 10;
    const auto contents = containers_.open_contents(name, {.what = What::changes, .path = "/", .user = {}});
    ChangedEntries changed{*contents, ChangedEntries::Kind::comparison};
    std::string piece{"["};
    std::optional<GuestEntry> entry = changed.next();
    call.begin("application/json");
    for (bool is_first = true; entry; entry = changed.next(), is_first = false) {
        piece += is_first ? "" : ",";
        piece += json::serialize(
            json::object{{"Path", "/" + entry->file.path}, {"Kind", static_cast<int>(*entry->change)}});
        if (piece.size() > kPiece && !call.write(std::exchange(piece, {}))) {
            return;
        }
    }
    call.write(piece + "]\n");
}

void ContentsApi::commit(ApiCall& call) {
    const RequestTarget& target = call.target();
    const std::string name = target.find("container").value_or("");
    const ContainerView container = containers_.find(name);
    json::object config = container.spec->config;
    if (const json::value body = call.has_body() ? call.body() : json::value{}; body.is_object()) {
        try {
            config = merge_config(body.get_object(), config);
        } catch (const Error& error) {
            throw ApiError{400, error.what()};
        }
    }
    const bool is_paused = !target.find("pause") || target.is_set("pause");
    const Commit asked{.name = name_of(call),
                       .author = target.find("author").value_or(""),
                       .comment = target.find("comment").value_or(""),
                       .changes = target.find_all("changes"),
                       .config = std::move(config)};
    const Store::Hold hold = store_.hold();
    const auto base = store_.find(container.spec->image);
    if (!base) {
        throw ApiError{404, "No such image: " + container.spec->image_name};
    }
    Digest id = base->id;
    try {
        const Pause pause{containers_, container, is_paused};
        const auto contents =
            containers_.open_contents(container.id, {.what = What::upper, .path = "/", .user = {}});
        ArchiveSource archive{*contents, ArchiveSource::Kind::layer};
        id = commit_image(
            store_, *base, [&](std::span<std::byte> room) { return archive.read(room); }, asked);
    } catch (const Error& error) {
        throw ApiError{error.status() == ExitStatus::usage ? 400U : 500U, error.what()};
    }
    containers_.tell_of(container.id, "commit",
                        {{"comment", asked.comment},
                         {"imageID", id.text()},
                         {"imageRef", asked.name ? asked.name->text() : ""}});
    call.send({{"Id", id.text()}}, 201);
}

uint32_t go_mode(uint32_t mode) {
    // Of io/fs, which are none of POSIX's.
    constexpr uint32_t kFolder = 1U << 31U;
    constexpr uint32_t kSymbolicLink = 1U << 27U;
    constexpr uint32_t kDevice = 1U << 26U;
    constexpr uint32_t kPipe = 1U << 25U;
    constexpr uint32_t kSocket = 1U << 24U;
    constexpr uint32_t kSetUser = 1U << 23U;
    constexpr uint32_t kSetGroup = 1U << 22U;
    constexpr uint32_t kCharacters = 1U << 21U;
    constexpr uint32_t kSticky = 1U << 20U;
    uint32_t go = mode & 0777U;
    go |= S_ISDIR(mode) ? kFolder : 0;
    go |= S_ISLNK(mode) ? kSymbolicLink : 0;
    go |= S_ISBLK(mode) ? kDevice : 0;
    go |= S_ISCHR(mode) ? kDevice | kCharacters : 0;
    go |= S_ISFIFO(mode) ? kPipe : 0;
    go |= S_ISSOCK(mode) ? kSocket : 0;
    go |= (mode & S_ISUID) != 0 ? kSetUser : 0;
    go |= (mode & S_ISGID) != 0 ? kSetGroup : 0;
    go |= (mode & S_ISVTX) != 0 ? kSticky : 0;
    return go;
}

}  // namespace hull::container
