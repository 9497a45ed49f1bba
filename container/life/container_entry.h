// What the daemon has of one container, and how it asks the supervisor of one.
#pragma once

#include <boost/json/object.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "container/life/containers.h"
#include "vmm/agent/agent_client.h"

namespace hull::container {

/// What is not constant is guarded by Containers::mutex_.
struct Containers::Container {
    std::string id;
    std::chrono::system_clock::time_point created{};
    ContainerFiles files;
    /// What it is just now: who looks at several things of it keeps the answer. Any thread.
    [[nodiscard]] std::shared_ptr<const ContainerSpec> spec() const {
        const std::lock_guard lock{spec_mutex_};
        return spec_;
    }
    void set_spec(ContainerSpec spec) {
        auto made = std::make_shared<const ContainerSpec>(std::move(spec));
        const std::lock_guard lock{spec_mutex_};
        spec_ = std::move(made);
    }

    std::string name;
    ContainerView::Stage stage = ContainerView::Stage::created;
    RunState state;
    unsigned restarts = 0;
    bool was_stopped = false;  // by its user
    bool is_kept = false;      // whatever its spec says: it is about to be started again
    bool is_followed = false;  // a thread waits for its end, or for the time to start it again
    unsigned last_exec = 0;
    std::string probe_id;  // of the command by which its health is probed just now; empty: there is none
    std::vector<PortBinding> ports;
    std::vector<Attachment> networks;     // by their names
    std::string names;                    // what its file of them says; empty: there is none
    std::vector<AttachedClient> waiting;  // for its start

    bool has_helper = false;  // a quiet supervisor was started; guarded by `operation`
    std::mutex operation;     // one start, stop, restart, rename or removal at a time; taken before mutex_

  private:
    mutable std::mutex spec_mutex_;  // nothing else is taken under it
    std::shared_ptr<const ContainerSpec> spec_;
};

struct Containers::Exec {
    std::string id;
    std::shared_ptr<Container> container;
    ExecConfig config;
    int number = 0;
    // Guarded by Containers::mutex_.
    bool has_started = false;
    bool is_taken = false;  // by the supervisor
    std::optional<int> exit_status;
};

inline constexpr int kKilled = 137;

/// Whether its policy starts a container again that has ended so.
bool wants_restart(const RestartPolicy& policy, int exit_status, unsigned restarts);

/// What an object of a message has; empty, or 0, where it has none.
std::string text_in(const boost::json::object& object, const char* key);
int64_t number_in(const boost::json::object& object, const char* key);

/// Asks a container's supervisor (container/supervisor/channel.h), and waits for the answer. None where it is
/// gone, or has not answered in so long: a guest that is to do something may not. Any thread.
std::optional<boost::json::object> ask(const ContainerFiles& files, const boost::json::object& question,
                                       int descriptor = -1,
                                       std::chrono::seconds patience = std::chrono::seconds{60});
bool is_done(const std::optional<boost::json::object>& answer);
/// Of a message that tells one.
std::optional<RunState> state_in(const boost::json::object& message);
/// The question that gives a client to a command.
boost::json::object client_message(const char* what, const AttachedClient& client);

}  // namespace hull::container
