// Of Containers: what is mounted into them.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "base/error.h"
#include "base/log.h"
#include "base/printable.h"
#include "container/life/container_entry.h"
#include "container/life/containers.h"
#include "vmm/machine/share_config.h"

namespace hull::container {

namespace fs = std::filesystem;
using By = SharedMount::By;
using Kind = ContainerMount::Kind;
using Stage = ContainerView::Stage;

namespace {

/// Makes a folder and those above it that are missing, for all to read, as Docker does.
void make_source(const std::string& source) {
    for (size_t end = source.find('/', 1);; end = source.find('/', end + 1)) {
        const std::string part = source.substr(0, end);
        if (mkdir(part.c_str(), 0755) == 0) {
            chmod(part.c_str(), 0755);  // whatever the daemon's umask is
        } else if (errno != EEXIST) {
            throw ApiError{500, "error while creating mount source path '" + printable(source) + "': mkdir " +
                                    printable(part) + ": " + errno_text(errno)};
        }
        if (end == std::string::npos) {
            return;
        }
    }
}

/// Throws ApiError where it is not there, or is what cannot be shared.
struct stat status_of(const std::string& source) {
    struct stat status {};
    if (stat(source.c_str(), &status) != 0) {
        throw ApiError{400, "invalid mount config for type \"bind\": bind source path does not exist: " +
                                printable(source)};
    }
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode) && !S_ISSOCK(status.st_mode)) {
        throw ApiError{
            400, "cannot mount '" + printable(source) + "': it is neither a file nor a folder nor a socket"};
    }
    return status;
}

VolumeSpec volume_for(const ContainerMount& mount) {
    VolumeSpec wanted{.name = mount.volume, .labels = mount.labels, .options = mount.options};
    if (mount.is_anonymous) {
        wanted.labels.emplace(Volume::kAnonymous, "");
    }
    return wanted;
}

}  // namespace

/// Those that are missing; all are the container's from here on.
void Containers::make_volumes(ContainerSpec& spec, const std::string& id) {
    for (ContainerMount& mount : spec.mounts) {
        if (mount.kind == Kind::volume) {
            const Volume volume = volumes_.use(volume_for(mount), id);
            mount.volume = volume.name;
            mount.source = volume.folder;
        }
    }
}

/// Of a container that another daemon has made.
void Containers::find_volumes(const Container& container) {
    ContainerSpec spec = *container.spec();
    try {
        make_volumes(spec, container.id);
    } catch (const std::exception& error) {
        log_warning("a volume of the container '" + container.name + "' is missing: " + error.what());
    }
}

void Containers::release_volumes(const ContainerSpec& spec, const std::string& id, bool takes_anonymous) {
    volumes_.release(id);
    for (const ContainerMount& mount : spec.mounts) {
        if (!takes_anonymous || !mount.is_anonymous || mount.volume.empty()) {
            continue;
        }
        try {
            volumes_.remove(mount.volume);
        } catch (const ApiError&) {
            // Another container uses it, or it is gone.
        } catch (const Error& error) {
            log_warning(error.what());
        }
    }
}

/// A disk is one machine's at a time: 409 where another container runs with it; a machine that only shows
/// what another has in it gives it up.
void Containers::claim_disk(const Container& container, const Volume& volume) {
    const std::set<std::string> users = volumes_.users(volume.name);
    std::vector<ContainerFiles> others;
    {
        const std::lock_guard lock{mutex_};
        for (const auto& [id, other] : containers_) {
            if (id == container.id || !users.contains(id)) {
                continue;
            }
            if (other->stage == Stage::running || other->stage == Stage::paused ||
                other->stage == Stage::restarting) {
                throw ApiError{409, "the volume " + volume.name +
                                        " is a disk (type=block), which one container has at a time: stop " +
                                        other->name + " first"};
            }
            others.push_back(other->files);
        }
    }
    for (const ContainerFiles& files : others) {
        end_quiet_supervisor(files, "settle");
    }
}

/// Puts into `config` what its machine is to have of them. Makes what is missing and may be made.
void Containers::share_with(const Container& container, bool is_first_start, ContainerConfig& config) {
    constexpr size_t kMostBytes = 96 << 10;  // of a word of a command line, with all commas doubled
    std::vector<SharedMount>& all = config.shared;
    size_t bytes = 0;
    all.clear();  // of the run before, where another daemon had that
    config.sockets.clear();
    const auto spec = container.spec();
    for (const ContainerMount& mount : spec->mounts) {
        std::string source = mount.source;
        bool is_cached = mount.is_cached.value_or(false);
        By by = By::share;
        if (mount.kind == Kind::volume) {
            const Volume volume = volumes_.use(volume_for(mount), container.id);
            source = volume.folder;
            is_cached = mount.is_cached.value_or(volumes_.users(mount.volume).size() == 1);
            if (volume.is_disk()) {
                claim_disk(container, volume);
                by = By::disk;
            }
        } else if (mount.makes_source && access(source.c_str(), F_OK) != 0) {
            make_source(source);
        }
        constexpr mode_t kRights = 0777;
        if (const struct stat status = status_of(source); S_ISSOCK(status.st_mode)) {
            config.sockets.push_back(
                {.source = std::move(source), .target = mount.target, .mode = status.st_mode & kRights});
            continue;
        }
        constexpr size_t kForEach = 16;
        bytes += source.size() + static_cast<size_t>(std::ranges::count(source, ',')) + kForEach;
        if (is_cached && by != By::disk) {
            by = By::cached_share;
        }
        all.push_back({.source = std::move(source),
                       .target = mount.target,
                       .is_read_only = mount.is_read_only,
                       .by = by,
                       .is_filled = mount.is_filled && is_first_start});
    }
    if (bytes > kMostBytes || all.size() > ShareConfig::kMostParts) {
        throw ApiError{400, "the container has more than " + std::to_string(ShareConfig::kMostParts) +
                                " mounts, or their paths more than 96 KiB together"};
    }
    if (std::ranges::count(all, By::disk, &SharedMount::by) > std::ptrdiff_t{SharedMount::kMostDisks}) {
        throw ApiError{400, "the container has more than " + std::to_string(SharedMount::kMostDisks) +
                                " volumes that are disks (type=block)"};
    }
    if (config.sockets.size() > SharedSocket::kMost) {
        throw ApiError{
            400, "the container has more than " + std::to_string(SharedSocket::kMost) + " sockets mounted"};
    }
}

void Containers::tell_of_volumes(const Container& container, const std::string& action) {
    const auto spec = container.spec();
    for (const ContainerMount& mount : spec->mounts) {
        if (mount.kind != Kind::volume) {
            continue;
        }
        std::map<std::string, std::string> attributes{{"driver", "local"}, {"container", container.id}};
        if (action == "mount") {
            attributes.insert({{"destination", mount.target},
                               {"propagation", ""},
                               {"read/write", mount.is_read_only ? "false" : "true"}});
        }
        events_.tell({.type = "volume",
                      .action = action,
                      .id = mount.volume,
                      .attributes = std::move(attributes),
                      .time = std::chrono::system_clock::now()});
    }
}

}  // namespace hull::container
