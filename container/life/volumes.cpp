#include "container/life/volumes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/printable.h"
#include "base/small_file.h"
#include "container/api/api_error.h"
#include "container/image/json.h"
#include "container/life/container_name.h"
#include "container/life/file_tree.h"
#include "container/machine/container_config.h"
#include "container/machine/writable_disk.h"

namespace hull::container {

namespace fs = std::filesystem;
namespace json = boost::json;
using std::chrono::nanoseconds;
using std::chrono::system_clock;

namespace {

constexpr const char* kFiles = "_data";
constexpr const char* kDisk = "disk.ext4";
constexpr const char* kRecord = "volume.json";
// No name of a volume begins so.
constexpr const char* kToBe = ".new-";
constexpr const char* kRemoved = ".removed-";

std::string value_of(const std::map<std::string, std::string>& options, const char* key) {
    const auto found = options.find(key);
    return found == options.end() ? "" : found->second;
}

bool is_disk(const std::map<std::string, std::string>& options) {
    return value_of(options, "type") == "block";
}

/// Of a disk. Throws ApiError (400).
uint64_t size_of(const std::string& name, const std::map<std::string, std::string>& options) {
    constexpr uint64_t kDefault = uint64_t{10} << 30;
    constexpr uint64_t kLeast = uint64_t{64} << 20;
    constexpr uint64_t kMost = uint64_t{1} << 44;
    if (!options.contains("size")) {
        return kDefault;
    }
    const std::string text = value_of(options, "size");
    try {
        const uint64_t size = parse_size(text, "--opt size");
        if (size >= kLeast && size <= kMost) {
            return size;
        }
    } catch (const Error&) {
        throw ApiError{400, "create " + name + ": invalid size: '" + printable(text) + "'"};
    }
    throw ApiError{
        400, "create " + name + ": a disk (type=block) may have from 64m to 16384g, not " + printable(text)};
}

void make_or_find(const fs::path& folder, mode_t mode) {
    // chmod(2), whatever the daemon's umask is.
    if ((mkdir(folder.c_str(), mode) != 0 && errno != EEXIST) || chmod(folder.c_str(), mode) != 0) {
        throw Error{ExitStatus::no_resources, "cannot make the folder '" + folder.string() + "'",
                    errno_text(errno), "make room, and check who may write there"};
    }
}

/// What was renamed in it is on the disk.
void sync_folder(const fs::path& folder) {
    const UniqueFd fd{open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    fsync(fd.get());
}

[[noreturn]] void refuse_missing(const std::string& name) {
    throw ApiError{404, "get " + printable(name) + ": no such volume"};
}

}  // namespace

bool Volume::is_disk() const {
    return container::is_disk(options);
}

void Volumes::check_name(const std::string& name) {
    constexpr size_t kMost = 255;
    if (name.size() == 1) {
        throw ApiError{400, "create " + printable(name) +
                                ": volume name is too short, names should be at least two alphanumeric "
                                "characters"};
    }
    if (!is_name(name) || name.size() > kMost) {
        throw ApiError{400, "create " + printable(name) + ": \"" + printable(name) +
                                "\" includes invalid characters for a local volume name, only "
                                "\"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host "
                                "directory, use absolute path"};
    }
}

void Volumes::check_options(const std::string& name, const std::map<std::string, std::string>& options) {
    for (const auto& [key, value] : options) {
        if (key != "type" && key != "o" && key != "device" && key != "size") {
            throw ApiError{400, "create " + name + ": invalid option: \"" + printable(key) + "\""};
        }
    }
    if (options.empty()) {
        return;
    }
    const std::string kind = value_of(options, "type");
    const std::string device = value_of(options, "device");
    if (is_disk(options) && device.empty() && value_of(options, "o").empty()) {
        size_of(name, options);
        return;
    }
    const bool is_bind = (kind.empty() || kind == "none" || kind == "bind") &&
                         (value_of(options, "o") == "bind" || value_of(options, "o") == "rbind") &&
                         device.starts_with('/') && !options.contains("size");
    if (!is_bind) {
        throw ApiError{501, "create " + name +
                                ": a volume with these options (--opt) is not supported: of the driver local "
                                "Hull has plain volumes, type=none,o=bind,device=/FOLDER, and disks that one "
                                "container uses at a time, type=block with size=SIZE"};
    }
}

Volumes::Volumes(const fs::path& root, Events& events) : root_{root / "volumes"}, events_{events} {
    std::error_code ignored;
    std::vector<fs::path> folders;
    for (const fs::directory_entry& entry : fs::directory_iterator{root_, ignored}) {
        folders.push_back(entry.path());
    }
    for (const fs::path& folder : folders) {
        load(folder);
    }
}

void Volumes::load(const fs::path& folder) {
    const std::string name = folder.filename();
    const std::string tried = "cannot use the volume '" + folder.string() + "'";
    try {
        if (name.starts_with('.')) {
            remove_tree(folder);
            return;
        }
        check_name(name);
        const json::object whole = parse_json_object(file_text(folder / kRecord), tried);
        const JsonObject record{whole, tried, "remove its folder"};
        Volume volume{
            .name = name,
            .created = system_clock::time_point{nanoseconds{static_cast<int64_t>(record.number("Created"))}},
            .labels = record.text_map("Labels"),
            .options = record.text_map("Options")};
        volume.folder = files_of(volume);
        volumes_[name] = std::move(volume);
    } catch (const std::exception& error) {
        log_warning("a volume is left out: " + std::string{error.what()});
    }
}

fs::path Volumes::files_of(const Volume& volume) const {
    const std::string device = value_of(volume.options, "device");
    return device.empty() ? root_ / volume.name / (volume.is_disk() ? kDisk : kFiles) : fs::path{device};
}

void Volumes::make_folder(const Volume& volume) const {
    constexpr mode_t kForAll = 0755;      // whoever the container's user is
    constexpr mode_t kForEnterer = 0711;  // as Docker's, so that users of the host find what is theirs
    make_or_find(root_, kForEnterer);
    const fs::path made = root_ / (kToBe + volume.name);
    remove_tree(made);
    make_or_find(made, kForEnterer);
    try {
        if (volume.is_disk()) {
            make_volume_disk(made / kDisk, size_of(volume.name, volume.options));
        } else {
            make_or_find(made / kFiles, kForAll);
        }
        replace_file(made / kRecord, json::serialize(json::object{
                                         {"Created", nanoseconds{volume.created.time_since_epoch()}.count()},
                                         {"Labels", members_of(volume.labels)},
                                         {"Options", members_of(volume.options)}}));
        // Not over one that was left out, whose files are somebody's: that has something in it.
        if (rename(made.c_str(), (root_ / volume.name).c_str()) != 0) {
            throw Error{ExitStatus::no_resources, "cannot make the volume '" + volume.name + "'",
                        errno_text(errno), "look at '" + (root_ / volume.name).string() + "'"};
        }
    } catch (...) {
        std::error_code ignored;
        fs::remove_all(made, ignored);
        throw;
    }
    sync_folder(root_);
}

Volume Volumes::create(const VolumeSpec& wanted) {
    return create_now(wanted, "");
}

Volume Volumes::use(const VolumeSpec& wanted, const std::string& container) {
    return create_now(wanted, container);
}

Volume Volumes::create_now(const VolumeSpec& wanted, const std::string& container) {
    Volume volume{.name = wanted.name.empty() ? make_id() : wanted.name,
                  .created = system_clock::now(),
                  .labels = wanted.labels,
                  .options = wanted.options};
    check_name(volume.name);
    check_options(volume.name, volume.options);
    if (wanted.name.empty()) {
        volume.labels.emplace(Volume::kAnonymous, "");  // be it by POST /volumes/create, as with Docker
    }
    volume.folder = files_of(volume);
    {
        const std::lock_guard lock{mutex_};
        const auto found = volumes_.find(volume.name);
        if (found == volumes_.end()) {
            make_folder(volume);
            volumes_[volume.name] = volume;
        }
        if (!container.empty()) {
            users_[volume.name].insert(container);
        }
        if (found != volumes_.end()) {
            return found->second;
        }
    }
    tell("create", volume.name);
    return volume;
}

void Volumes::release(const std::string& container) {
    const std::lock_guard lock{mutex_};
    for (auto& [name, users] : users_) {
        users.erase(container);
    }
    std::erase_if(users_, [](const auto& each) { return each.second.empty(); });
}

/// The caller has mutex_.
const Volume& Volumes::known(const std::string& name) const {
    const auto found = volumes_.find(name);
    if (found == volumes_.end()) {
        refuse_missing(name);
    }
    return found->second;
}

Volume Volumes::find(const std::string& name) const {
    const std::lock_guard lock{mutex_};
    return known(name);
}

std::vector<Volume> Volumes::list() const {
    const std::lock_guard lock{mutex_};
    std::vector<Volume> all;
    for (const auto& [name, volume] : volumes_) {
        all.push_back(volume);
    }
    return all;
}

std::set<std::string> Volumes::users(const std::string& name) const {
    const std::lock_guard lock{mutex_};
    const auto found = users_.find(name);
    return found == users_.end() ? std::set<std::string>{} : found->second;
}

uint64_t Volumes::remove(const std::string& name) {
    fs::path gone;
    {
        const std::lock_guard lock{mutex_};
        const Volume volume = known(name);
        if (const auto users = users_.find(name); users != users_.end()) {
            std::string all;
            for (const std::string& user : users->second) {
                all += (all.empty() ? "" : ", ") + user;
            }
            throw ApiError{409, "remove " + name + ": volume is in use - [" + all + "]"};
        }
        // At once not there any more; its files, which may be many, go behind that.
        gone = root_ / (kRemoved + make_id());
        std::error_code error;
        fs::rename(root_ / name, gone, error);
        if (error && error != std::errc::no_such_file_or_directory) {
            throw Error{ExitStatus::no_resources, "cannot remove the volume '" + name + "'", error.message()};
        }
        volumes_.erase(name);
    }
    sync_folder(root_);
    tell("destroy", name);
    return remove_tree(gone);
}

void Volumes::tell(const std::string& action, const std::string& name) {
    events_.tell({.type = "volume",
                  .action = action,
                  .id = name,
                  .attributes = {{"driver", "local"}},
                  .time = system_clock::now()});
}

}  // namespace hull::container
