// The networks that containers are in.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "container/life/events.h"
#include "container/network/bridges.h"
#include "container/network/subnet.h"

namespace hull::container {

/// What a network is to be.
struct NetworkSpec {
    std::string name;
    bool is_internal = false;  ///< nothing leads out of it
    bool is_attachable = false;
    std::optional<Subnet> subnet{};     ///< none: one that is free
    std::optional<uint32_t> gateway{};  ///< of the subnet; none: its first that is no other's
    std::optional<Subnet> range{};      ///< of the subnet: what containers get that ask for no address
    std::map<std::string, uint32_t> reserved{};  ///< of the subnet: what nobody gets, by Docker's names
    std::map<std::string, std::string> labels{};
    std::map<std::string, std::string> options{};  ///< of the driver bridge
};

struct Network {
    enum class Driver { bridge, host, none };
    std::string id;  ///< 64 hexadecimal digits
    Driver driver = Driver::bridge;
    std::chrono::system_clock::time_point created{};
    NetworkSpec spec{};              ///< as its user has said it
    std::optional<Subnet> subnet{};  ///< none where there is no bridge
    uint32_t gateway = 0;            ///< the bridge's own address
    std::string bridge{};            ///< the host's interface; empty where there is none

    // The names of those that are always there.
    static constexpr const char* kBridge = "bridge";
    static constexpr const char* kHost = "host";
    static constexpr const char* kNone = "none";
    /// Docker's option for the interface's name.
    static constexpr const char* kInterface = "com.docker.network.bridge.name";

    /// Docker's word.
    [[nodiscard]] std::string driver_word() const;
    /// It is always there, and nobody has made it.
    [[nodiscard]] bool is_predefined() const;
    static bool is_predefined_name(const std::string& name);
};

/// Those that are always there, and those that users make, each with a bridge of the host's; and who has
/// which address there while it runs. What users make is kept below one folder of the daemon's: whoever dies,
/// each is there and whole, or not there. `name` is a name, an id or the beginning of one. Everything throws
/// ApiError, as dockerd answers, and Error, where the host is in the way. Any thread.
class Networks {
  public:
    /// Finds what is in `root`/networks, and makes the bridges. `events` outlives it. Without `bridges`, or
    /// where the host has none (which is told in a line of the log), there is only the user network, and
    /// nobody can make another.
    Networks(const std::filesystem::path& root, Events& events, std::unique_ptr<Bridges> bridges);

    [[nodiscard]] bool has_bridges() const { return bridges_ != nullptr; }

    Network create(const NetworkSpec& wanted);
    [[nodiscard]] Network find(const std::string& name) const;
    /// None where there is none of this name or id, not only its beginning.
    [[nodiscard]] std::optional<Network> find_exactly(const std::string& name) const;
    /// In the order of their names.
    [[nodiscard]] std::vector<Network> list() const;
    /// 403 where a container is in it that runs.
    void remove(const std::string& name);

    /// Gives a container, by its id, which is about to run, an address in the network of this id: this one,
    /// or the lowest that is free.
    Endpoint take_place(const std::string& network, const std::string& container,
                        std::optional<uint32_t> address, const std::string& mac);
    /// The same of one that another daemon has given.
    void keep_place(const std::string& network, const std::string& container, uint32_t address);
    void leave(const std::string& network, const std::string& container);
    /// Tells who wants to know that a container has come or gone ("connect", "disconnect").
    void tell(const Network& network, const std::string& action, const std::string& container = "");

    /// Throws ApiError (400) where a container cannot ask for this address there.
    static void check_address(const Network& network, uint32_t address);

  private:
    struct Entry {
        Network network{};
        std::shared_ptr<void> bridge{};            // the host's
        std::map<std::string, uint32_t> places{};  // by the container's id
    };

    void add_predefined();
    void load(const std::filesystem::path& file);
    void make_bridge(Entry& entry) const;
    void choose_addresses(Network& network) const;
    [[nodiscard]] const Entry* look_up(const std::string& name, bool takes_beginning) const;
    [[nodiscard]] const Entry& known(const std::string& name) const;
    Entry& entry_of(const std::string& id);
    [[nodiscard]] std::filesystem::path file_of(const Network& network) const;

    const std::filesystem::path root_;
    Events& events_;
    std::unique_ptr<Bridges> bridges_;
    mutable std::mutex mutex_;
    std::map<std::string, Entry> networks_;  // by id
};

}  // namespace hull::container
