// The process that a running container belongs to.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "container/machine/container_guest.h"
#include "container/machine/container_machine.h"
#include "container/network/container_link.h"
#include "container/network/frame_relay.h"
#include "container/network/name_service.h"
#include "container/network/port_relay.h"
#include "container/supervisor/channel.h"
#include "container/supervisor/container_files.h"
#include "container/supervisor/guest_process.h"
#include "container/supervisor/health_monitor.h"
#include "container/supervisor/log.h"
#include "container/supervisor/supervised_command.h"
#include "vmm/agent/agent_client.h"
#include "vmm/agent/relayed_streams.h"
#include "vmm/main/watched_machine.h"

namespace hull::container {

/// Runs one container, once: boots its machine, runs its command when it is told to, and does what is asked
/// over its socket (channel.h), until the command has ended. How that went is in the container's folder then.
/// A quiet one (RunFile) runs no command: it is there for who looks into the container, and leaves no trace.
/// The guest is held for hostile: what fails there is told as the container's failure. One for a process,
/// which has one thread until then.
class Supervisor {
  public:
    /// `listener` is where the daemon's connections arrive. Blocks SIGTERM and SIGINT, which end the machine.
    Supervisor(ContainerFiles files, UniqueFd listener);
    Supervisor(const Supervisor&) = delete;
    Supervisor& operator=(const Supervisor&) = delete;
    ~Supervisor();

    void run();

  private:
    struct Connection {
        Channel channel;
        bool watches = false;
        bool is_answered = true;    // what it has asked
        bool has_transfer = false;  // which goes on until it ends
    };
    using Asker = std::weak_ptr<Connection>;
    struct Exec {
        std::unique_ptr<SupervisedCommand> command;
        ExecConfig config;
        Asker asker;  // who waits for its start
        bool has_begun = false;
        bool has_ended = false;
    };
    /// What the agent was asked: called with what it reads, or null where it fails.
    using Question = std::function<void(const std::string* contents)>;
    /// Of the container's processes, one of which is asked for after the other.
    struct Processes {
        Asker asker;
        uint64_t uptime = 0;
        std::vector<uint64_t> pids{};
        ProcessList found{};
        size_t next = 0;  // of the pids
        std::string stat{};
        std::string status{};
    };
    struct Group {
        Asker asker;
        boost::json::object files;
        size_t left = 0;
    };

    /// A place on a bridge.
    struct Link {
        Link(Firewall& firewall, const std::string& id, size_t host_number, size_t guest_number,
             const Endpoint& endpoint, const std::vector<PublishedPort>& ports)
            : number(host_number),
              interface(guest_number),
              link(firewall, id, host_number, endpoint, ports) {}
        [[nodiscard]] std::string guest_name() const { return "eth" + std::to_string(interface); }

        size_t number;     // of the host's device
        size_t interface;  // of the guest's
        ContainerLink link;
        uint32_t plug = 0;  // the agent's number of the request for it; 0: the machine has it
        std::optional<FrameRelay> frames{};
    };

    // The machine and its guest.
    void boot();
    void wait_for_disk() const;
    void take_hello();
    void run_command();
    void take_started(uint32_t number);
    void take_failure(uint32_t number, int error, const std::string& what);
    void take_end(uint32_t number, CommandEnd end);
    void take_contents(uint32_t number, const std::string* contents);
    void take_connection(agent::Type kind, uint32_t number, UniqueFd connection);
    void relay(const std::string& socket, UniqueFd connection);
    void take_machines_end();
    void take_machines_words();
    void find_out_of_memory();
    void finish_if_all_came();
    uint32_t ask(Question question);

    // Who looks into the container (supervisor_contents.cpp).
    void be_quiet();
    void be_quiet_from_now_on();
    void perform_quietly(const std::shared_ptr<Connection>& from, const std::string& what,
                         const boost::json::object& question);
    void open_contents(const std::shared_ptr<Connection>& from, const boost::json::object& question);
    void ask_for_transfer(const Asker& asker, const ContentsQuestion& question);
    void serve_waiting();
    void take_transfer(uint32_t number, const UniqueFd& connection);
    void refuse_transfers();
    void rest();

    // Its networks (supervisor_networks.cpp).
    std::vector<std::string> make_links();
    Link* find_link(const std::string& bridge);
    void forget_link(const std::string& bridge);
    void lead_ports();
    void serve_names();
    void begin_names();
    [[nodiscard]] bool is_closed_in() const;
    std::vector<uint32_t> ask_in_turn(size_t count, const std::function<void(bool)>& done);
    void plug(const Asker& asker, const boost::json::object& what);
    void unplug(const Asker& asker, const boost::json::object& what);
    void take_frames(uint32_t number, UniqueFd connection);

    // Its health (supervisor_health.cpp).
    void begin_health();
    std::string run_probe(uint32_t number);
    void take_health(HealthResult result);
    void end_health();
    void hold_health(bool is_held);

    // How it ends.
    void finish(int status);
    void tell_end();
    [[nodiscard]] bool has_disks() const;
    void fail(const std::string& why);
    void kill();
    void end_machine();
    void end_clients();

    // The daemon.
    void accept_connection();
    void take_message(int fd);
    void drop(int fd);
    void answer(const Asker& asker, const boost::json::object& what, int descriptor = -1);
    void refuse(const Asker& asker, const std::string& why, int status);
    void tell_state();
    void tell_watchers(const boost::json::object& what);
    void perform(const std::shared_ptr<Connection>& from, Channel::Message& message);
    void attach(SupervisedCommand& command, Channel::Message& message);
    void start_exec(const Asker& asker, Channel::Message& message);
    void tell_exec(const Asker& asker, uint32_t number);
    void send_signal(const Asker& asker, const boost::json::object& what);
    void resize(const Asker& asker, const boost::json::object& what);
    void freeze(const Asker& asker, bool is_on);
    void set_limits(const Asker& asker, const boost::json::object& what);
    void tell_group(const Asker& asker);
    void tell_processes(const Asker& asker);
    void tell_next_process(const std::shared_ptr<Processes>& list);
    void end_exec(uint32_t number, int status);

    // The agent's numbers: the command has 1, what is run beside it the daemon's number and one more, then
    // come probes of its health, one after the other, and the questions have those from there on, below the
    // guest's preparation.
    static constexpr uint32_t kFirstQuestion = 0x4000'0000;
    static constexpr uint32_t kProbes = 0x1000;
    static constexpr uint32_t kFirstProbe = kFirstQuestion - kProbes;
    static constexpr uint32_t kMostExecNumber = kFirstProbe - 2;

    ContainerFiles files_;
    UniqueFd listener_;
    EventLoop loop_;
    UniqueFd signals_;
    RunFile run_;
    RunState state_;
    std::optional<LogWriter> log_;
    std::unique_ptr<SupervisedCommand> command_;
    std::map<uint32_t, Exec> execs_;                    // by the agent's number
    std::deque<std::pair<uint32_t, int>> ended_execs_;  // their statuses, the oldest first
    uint32_t last_exec_ = 0;                            // the daemon's number of the latest
    std::map<uint32_t, Question> questions_;            // likewise
    uint32_t next_question_;
    std::map<uint32_t, Asker> transfers_;  // that the agent was asked for, likewise
    std::vector<std::pair<Asker, ContentsQuestion>> waiting_for_guest_;
    std::map<int, std::shared_ptr<Connection>> connections_;
    std::vector<Asker> starters_;               // who wait for the command's start
    std::pair<uint32_t, uint32_t> size_{0, 0};  // rows and columns of the command's terminal
    bool is_start_asked_ = false;
    bool is_guest_ready_ = false;
    bool is_command_asked_ = false;
    bool has_command_ended_ = false;
    bool is_memory_known_ = false;
    bool is_settling_ = false;
    bool is_done_ = false;
    bool is_to_be_killed_ = false;
    bool has_machine_ended_ = false;

    RelayedStreams relayed_;  // to sockets of the host's
    std::optional<NameService> names_;

    UniqueFd words_from_;  // what the machine's process says when it fails
    UniqueFd words_to_;
    std::string words_;
    std::optional<PortRelay> relay_;
    std::optional<Firewall> firewall_;  // where it is on a bridge
    std::list<Link> links_;
    size_t machines_links_ = 0;
    std::vector<PublishedPort> published_;
    std::optional<StartedMachine> machine_;
    std::optional<AgentClient> client_;
    std::optional<ContainerGuest> guest_;
    std::optional<HealthMonitor> health_;  // while the command runs
    std::optional<WatchedMachine> watched_;
};

}  // namespace hull::container
