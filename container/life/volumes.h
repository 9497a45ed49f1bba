// The folders of the host's that containers keep files in, beyond their own life.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "container/life/events.h"

namespace hull::container {

struct Volume {
    std::string name;
    std::chrono::system_clock::time_point created{};
    std::map<std::string, std::string> labels{};
    std::map<std::string, std::string> options{};  ///< of the driver local
    std::filesystem::path folder{};                ///< what containers see; of a disk: its file

    /// Docker's label of those that nobody gave a name.
    static constexpr const char* kAnonymous = "com.docker.volume.anonymous";
    [[nodiscard]] bool is_anonymous() const { return labels.contains(kAnonymous); }
    /// Its files are on a disk that one machine has at a time (type=block).
    [[nodiscard]] bool is_disk() const;
};

/// What a volume is to be. An empty name: one by chance.
struct VolumeSpec {
    std::string name{};
    std::map<std::string, std::string> labels{};
    std::map<std::string, std::string> options{};
};

/// All are below one folder of the daemon's, each with its files and what is known of it; whoever dies, each
/// is there and whole, or not there. Everything throws ApiError, as dockerd answers, and Error, where the
/// host is in the way. Any thread.
class Volumes {
  public:
    /// Finds what is in `root`/volumes, and removes what another daemon was about to make or remove.
    /// `events` outlives it.
    Volumes(const std::filesystem::path& root, Events& events);

    /// The one of this name where it is there, as it is.
    Volume create(const VolumeSpec& wanted);
    /// The same, and it is used by this container from here on.
    Volume use(const VolumeSpec& wanted, const std::string& container);
    /// The container, whose volumes these are, is no longer: it uses none of them.
    void release(const std::string& container);
    [[nodiscard]] Volume find(const std::string& name) const;
    /// In the order of their names.
    [[nodiscard]] std::vector<Volume> list() const;
    /// Of containers: their ids.
    [[nodiscard]] std::set<std::string> users(const std::string& name) const;
    /// Answers how many bytes that frees. 409 where a container uses it.
    uint64_t remove(const std::string& name);

    /// Throws ApiError (400) where no volume can be called so.
    static void check_name(const std::string& name);
    /// Throws ApiError where the driver local has no such options, or Hull does not do what they say.
    static void check_options(const std::string& name, const std::map<std::string, std::string>& options);

  private:
    [[nodiscard]] const Volume& known(const std::string& name) const;
    Volume create_now(const VolumeSpec& wanted, const std::string& container);
    void load(const std::filesystem::path& folder);
    void make_folder(const Volume& volume) const;
    [[nodiscard]] std::filesystem::path files_of(const Volume& volume) const;
    void tell(const std::string& action, const std::string& name);

    const std::filesystem::path root_;
    Events& events_;
    mutable std::mutex mutex_;
    std::map<std::string, Volume> volumes_;
    std::map<std::string, std::set<std::string>> users_;  // by the volume's name
};

}  // namespace hull::container
