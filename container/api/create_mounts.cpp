#include "container/api/create_mounts.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <set>
#include <string_view>

#include "base/printable.h"
#include "container/api/api_error.h"
#include "container/api/unsupported.h"
#include "container/life/volumes.h"

namespace hull::container {

namespace {

using Kind = ContainerMount::Kind;

constexpr size_t kMostPath = 4095;
constexpr size_t kMostMounts = 256;

[[noreturn]] void refuse(const std::string& message) {
    throw ApiError{400, message};
}

/// Without what a path may have that says nothing: "/a//b/./c/../" is "/a/b".
std::string clean(const std::string& path) {
    std::string text = std::filesystem::path{path}.lexically_normal();
    while (text.size() > 1 && text.ends_with('/')) {
        text.pop_back();
    }
    return text;
}

/// What is wrong with a place in the container; empty where nothing is.
std::string why_no_target(const std::string& target) {
    if (target.empty()) {
        return "field Target must not be empty";
    }
    if (!target.starts_with('/') || target.find('\0') != std::string::npos) {
        return "invalid mount path: '" + printable(target) + "' mount path must be absolute";
    }
    const std::string path = clean(target);
    if (path == "/") {
        return "invalid specification: destination can't be '/'";
    }
    if (path == "/proc" || path.starts_with("/proc/")) {
        return "\"" + printable(path) + "\" cannot be mounted because it is inside /proc";
    }
    return path.size() > kMostPath ? "the path in the container is longer than 4095 bytes" : "";
}

/// A source that is there and is no file, folder or socket is refused by name.
void refuse_kind_of(const std::string& source) {
    struct stat status {};
    if (stat(source.c_str(), &status) != 0 || S_ISDIR(status.st_mode) || S_ISREG(status.st_mode) ||
        S_ISSOCK(status.st_mode)) {
        return;
    }
    throw ApiError{501, "mounting '" + printable(source) +
                            "' is not supported: it is neither a file nor a folder nor a socket, and the "
                            "container is in a virtual machine of its own"};
}

void refuse_propagation(const std::string& word) {
    if (word.empty() || word == "rprivate" || word == "private") {
        return;
    }
    constexpr std::array<std::string_view, 4> kOthers{"shared", "rshared", "slave", "rslave"};
    if (std::ranges::find(kOthers, word) == kOthers.end()) {
        refuse("invalid mount config for type \"bind\": invalid propagation mode: " + printable(word));
    }
    throw ApiError{501, "the propagation of mounts '" + word +
                            "' is not supported: the container is in a virtual machine of its own"};
}

void refuse_driver(const std::string& driver) {
    if (!driver.empty() && driver != "local") {
        refuse("error looking up volume plugin " + printable(driver) + ": plugin \"" + printable(driver) +
               "\" not found");
    }
}

/// Docker's words for how far what the container sees may be from what the host has.
std::optional<bool> is_cached(const std::string& consistency) {
    if (consistency.empty() || consistency == "default") {
        return std::nullopt;
    }
    if (consistency != "consistent" && consistency != "cached" && consistency != "delegated") {
        refuse("invalid mount config: the consistency '" + printable(consistency) +
               "' is none of consistent, cached and delegated");
    }
    return consistency != "consistent";
}

/// What stands behind the second colon: "ro,z". False where it is no such list.
bool take_mode(const std::string& mode, ContainerMount& mount) {
    std::set<std::string> kinds;
    mount.mode = mode;
    for (size_t begin = 0; begin <= mode.size() && !mode.empty();) {
        const size_t end = std::min(mode.find(',', begin), mode.size());
        const std::string word = mode.substr(begin, end - begin);
        begin = end + 1;
        std::string kind;
        if (word == "ro" || word == "rw") {
            kind = "rights";
            mount.is_read_only = word == "ro";
        } else if (word == "z" || word == "Z") {
            kind = "label";  // which means something with SELinux only
        } else if (word == "nocopy") {
            kind = "copy";
            mount.is_filled = false;
        } else if (word == "consistent" || word == "cached" || word == "delegated") {
            kind = "consistency";
            mount.is_cached = is_cached(word);
        } else if (word == "private" || word == "rprivate" || word == "shared" || word == "rshared" ||
                   word == "slave" || word == "rslave") {
            kind = "propagation";
            refuse_propagation(word);
        }
        if (kind.empty() || !kinds.insert(kind).second) {
            return false;
        }
    }
    return true;
}

bool is_mode(const std::string& text) {
    ContainerMount room;
    return !text.empty() && take_mode(text, room);
}

/// "[SOURCE:]TARGET[:MODE]".
ContainerMount parse_bind(const std::string& text) {
    const std::string begin = "invalid volume specification: '" + printable(text) + "'";
    std::vector<std::string> parts;
    for (size_t at = 0; at <= text.size();) {
        const size_t colon = std::min(text.find(':', at), text.size());
        parts.push_back(text.substr(at, colon - at));
        at = colon + 1;
    }
    constexpr size_t kMost = 3;
    if (parts.size() > kMost || parts.front().empty() || (parts.size() == 2 && is_mode(parts[1]))) {
        refuse(begin);
    }
    ContainerMount mount;
    const std::string source = parts.size() > 1 ? parts[0] : "";
    mount.kind = source.starts_with('/') ? Kind::bind : Kind::volume;
    mount.is_filled = mount.kind == Kind::volume;
    mount.target = parts.size() > 1 ? parts[1] : parts[0];
    if (parts.size() == kMost && !take_mode(parts[2], mount)) {
        refuse("invalid mode: " + printable(parts[2]));
    }
    const bool is_bind = mount.kind == Kind::bind;
    if (const std::string why = why_no_target(mount.target); !why.empty()) {
        refuse(begin + ": invalid mount config for type \"" + (is_bind ? "bind" : "volume") + "\": " + why);
    }
    if (is_bind) {
        mount.source = clean(source);
        mount.makes_source = true;
        mount.is_filled = false;
    } else {
        mount.volume = source;
        mount.is_anonymous = source.empty();
        mount.mode = mount.mode.empty() && !source.empty() ? "z" : mount.mode;
    }
    return mount;
}

ContainerMount parse_typed_bind(const JsonObject& given, ContainerMount mount) {
    const std::string begin = "invalid mount config for type \"bind\": ";
    const std::string source = given.text("Source");
    const JsonObject options = given.object("BindOptions");
    if (source.empty()) {
        refuse(begin + "field Source must not be empty");
    }
    if (!source.starts_with('/')) {
        refuse(begin + "invalid mount path: '" + printable(source) + "' mount path must be absolute");
    }
    if (given.has("VolumeOptions")) {
        refuse(begin + "field VolumeOptions must not be specified");
    }
    refuse_propagation(options.text("Propagation"));
    if (options.flag("NonRecursive") || options.flag("ReadOnlyNonRecursive")) {
        throw ApiError{
            501, "a bind mount without what is mounted in the folder (bind-recursive) is not supported"};
    }
    mount.source = clean(source);
    mount.makes_source = options.flag("CreateMountpoint");
    struct stat status {};
    if (!mount.makes_source && stat(mount.source.c_str(), &status) != 0) {
        refuse(begin + "bind source path does not exist: " + printable(mount.source));
    }
    return mount;
}

ContainerMount parse_typed_volume(const JsonObject& given, ContainerMount mount) {
    const std::string begin = "invalid mount config for type \"volume\": ";
    const JsonObject options = given.object("VolumeOptions");
    const JsonObject driver = options.object("DriverConfig");
    mount.volume = given.text("Source");
    mount.is_anonymous = mount.volume.empty();
    mount.is_filled = !options.flag("NoCopy");
    mount.mode = "z";
    mount.labels = options.text_map("Labels");
    mount.options = driver.text_map("Options");
    if (given.has("BindOptions")) {
        refuse(begin + "field BindOptions must not be specified");
    }
    if (mount.is_anonymous && mount.is_read_only) {
        refuse(begin + "must not set ReadOnly mode when using anonymous volumes");
    }
    refuse_driver(driver.text("Name"));
    if (!options.text("Subpath").empty()) {
        throw ApiError{501, "a part of a volume (volume-subpath) is not supported"};
    }
    return mount;
}

TmpfsMount parse_typed_tmpfs(const JsonObject& given) {
    if (!given.text("Source").empty()) {
        refuse("invalid mount config for type \"tmpfs\": source must not be specified");
    }
    const JsonObject options = given.object("TmpfsOptions");
    std::string text = given.text("Target") + ":" + (given.flag("ReadOnly") ? "ro" : "rw");
    if (const int64_t size = options.integer("SizeBytes").value_or(0); size != 0) {
        text += ",size=" + std::to_string(size);
    }
    if (const int64_t mode = options.integer("Mode").value_or(0); mode != 0) {
        std::array<char, 16> octal{};
        std::snprintf(octal.data(), octal.size(), "%o", static_cast<unsigned>(mode) & 07777U);
        text += std::string{",mode="} + octal.data();
    }
    return TmpfsMount::parse(text);
}

/// Collects them by their places, of which each is taken once.
class Mounts {
  public:
    explicit Mounts(std::vector<TmpfsMount>& tmpfs) : tmpfs_{tmpfs} {}

    /// What another container has is there unless this one has something else there.
    void add_others(std::vector<ContainerMount> mounts) {
        std::ranges::move(mounts, std::back_inserter(others_));
    }

    void add(ContainerMount mount) {
        take_place(mount.target);
        mount.target = clean(mount.target);
        if (mount.kind == Kind::bind) {
            if (mount.source.size() > kMostPath) {
                refuse("the path of a bind mount's source is longer than 4095 bytes");
            }
            refuse_kind_of(mount.source);
        } else if (!mount.volume.empty()) {
            Volumes::check_name(mount.volume);
        }
        Volumes::check_options(mount.volume, mount.options);
        all_.push_back(std::move(mount));
    }
    void add(TmpfsMount mount) {
        take_place(mount.path);
        tmpfs_.push_back(std::move(mount));
    }
    /// Where nothing is.
    void add_anonymous(const std::string& target) {
        if (!places_.contains(clean(target))) {
            add(ContainerMount{.kind = Kind::volume,
                               .source = {},
                               .target = target,
                               .volume = {},
                               .mode = {},
                               .is_filled = true,
                               .is_anonymous = true});
        }
    }
    /// After what this container's user says, and before its anonymous ones.
    void take_others() {
        for (ContainerMount& mount : others_) {
            if (places_.insert(mount.target).second) {
                all_.push_back(std::move(mount));
            }
        }
        others_.clear();
    }
    std::vector<ContainerMount> take() {
        if (all_.size() > kMostMounts) {
            refuse("a container may have 256 mounts");
        }
        return std::move(all_);
    }

  private:
    void take_place(const std::string& target) {
        if (!places_.insert(clean(target)).second) {
            refuse("Duplicate mount point: " + printable(clean(target)));
        }
    }

    std::vector<TmpfsMount>& tmpfs_;
    std::vector<ContainerMount> all_;
    std::vector<ContainerMount> others_;
    std::set<std::string> places_;
};

/// "CONTAINER[:MODE]".
std::vector<ContainerMount> parse_volumes_from(const std::string& text, const MountsOf& mounts_of) {
    const size_t colon = text.find(':');
    const std::string container = text.substr(0, colon);
    ContainerMount mode;
    if (container.empty()) {
        refuse("malformed volumes-from specification: " + printable(text));
    }
    if (colon != std::string::npos && !is_mode(text.substr(colon + 1))) {
        refuse("invalid mode: " + printable(text.substr(colon + 1)));
    }
    take_mode(colon == std::string::npos ? "" : text.substr(colon + 1), mode);
    if (!mounts_of) {
        refuse("No such container: " + printable(container));
    }
    std::vector<ContainerMount> all = mounts_of(container);
    for (ContainerMount& mount : all) {
        mount.is_read_only = mount.is_read_only || mode.is_read_only;
    }
    return all;
}

void parse_typed(const JsonObject& given, Mounts& mounts) {
    const std::string kind = given.text("Type");
    if (kind == "tmpfs") {
        mounts.add(parse_typed_tmpfs(given));
        return;
    }
    if (kind != "bind" && kind != "volume") {
        refuse_mount(kind);
    }
    ContainerMount mount;
    mount.kind = kind == "bind" ? Kind::bind : Kind::volume;
    mount.target = given.text("Target");
    mount.is_read_only = given.flag("ReadOnly");
    mount.is_cached = is_cached(given.text("Consistency"));
    if (const std::string why = why_no_target(mount.target); !why.empty()) {
        refuse("invalid mount config for type \"" + kind + "\": " + why);
    }
    mounts.add(kind == "bind" ? parse_typed_bind(given, std::move(mount))
                              : parse_typed_volume(given, std::move(mount)));
}

}  // namespace

std::vector<ContainerMount> parse_mounts(const JsonObject& body, const JsonObject& host,
                                         const std::vector<std::string>& of_image, const MountsOf& mounts_of,
                                         std::vector<TmpfsMount>& tmpfs) {
    refuse_driver(host.text("VolumeDriver"));
    Mounts mounts{tmpfs};
    for (const auto& [path, options] : host.text_map("Tmpfs")) {
        mounts.add(TmpfsMount::parse(options.empty() ? path : std::string{path}.append(":").append(options)));
    }
    for (const std::string& text : host.texts("VolumesFrom")) {
        mounts.add_others(parse_volumes_from(text, mounts_of));
    }
    for (const std::string& text : host.texts("Binds")) {
        mounts.add(parse_bind(text));
    }
    for (const JsonObject& given : host.objects("Mounts")) {
        parse_typed(given, mounts);
    }
    mounts.take_others();
    for (const std::string& target : body.object("Volumes").keys()) {
        if (const std::string why = why_no_target(target); !why.empty()) {
            refuse("invalid volume specification: '" + printable(target) +
                   "': invalid mount config for type \"volume\": " + why);
        }
        mounts.add_anonymous(target);
    }
    for (const std::string& target : of_image) {
        if (why_no_target(target).empty()) {
            mounts.add_anonymous(target);
        }
    }
    return mounts.take();
}

}  // namespace hull::container
