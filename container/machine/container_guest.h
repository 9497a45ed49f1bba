// What is done in a container's guest before its command runs, and to run it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "container/machine/container_config.h"
#include "container/supervisor/contents_question.h"
#include "container/supervisor/exec_config.h"
#include "vmm/agent/agent_client.h"

namespace hull::container {

/// Files of a control group's folder (cgroup-v2) with what they are to say for these limits.
std::vector<std::pair<std::string, std::string>> group_limits(const GroupLimits& limits);

/// Asks a guest's agent for all that a container needs. The guest has a writable disk (ext4) and, if the
/// image has layers, a second one with them as partitions (EROFS), the lowest first. For the thread of the
/// client's loop, once the agent has said hello.
class ContainerGuest {
  public:
    /// The agent's numbers: of the container's command, and from here on those of the preparation's requests.
    /// All between them are the caller's.
    static constexpr uint32_t kCommand = 1;
    static constexpr uint32_t kFirstSetUp = 0x8000'0000;

    /// `layers`: 0 to 127. The others outlive it.
    ContainerGuest(const ContainerConfig& config, size_t layers, AgentClient& client)
        : config_{config}, layers_{layers}, client_{client} {}

    /// Mounts the container's root and what belongs in it, limits its resources, and gives it its network.
    /// What follows may be asked for at once: the agent does all in this order. A clause that says what is
    /// more than a request may have (agent::kMostRequest); empty where nothing is.
    [[nodiscard]] std::string prepare();
    /// In the place of that: mounts the container's root and what the host shares in it, for who looks into
    /// it while nothing runs.
    [[nodiscard]] std::string prepare_root();
    /// Where the agent's failure of request `number` is one of the preparation's, a clause that says it;
    /// empty where it is not.
    [[nodiscard]] std::string what_failed(uint32_t number, int error, const std::string& what) const;

    /// Where the agent's relayed connection is of one of the container's sockets, that one; else null.
    [[nodiscard]] const SharedSocket* socket_of(uint32_t number) const;

    /// Whether the agent's connection is of those who ask for names (ContainerConfig::has_names).
    [[nodiscard]] bool is_of_names(uint32_t number) const { return names_ && number == *names_; }

    /// Runs the container's command. `terminal` adds the size of its terminal, where it has one. False where
    /// its words and variables are more than a request may have (agent::kMostRequest); nothing is sent then.
    bool run_command(const AgentClient::Fill& terminal);
    /// Runs a further one beside it, with what the container has.
    bool run_further(uint32_t number, const ExecConfig& exec, const AgentClient::Fill& terminal);

    /// Of the control group's folder (cgroup-v2): asks what a file says (AgentClient::Events::contents), and
    /// writes into one.
    void read_group(uint32_t number, const std::string& file);
    void write_group(uint32_t number, const std::string& file, const std::string& content);
    /// Asks what a file of the guest's own /proc says (proc(5)), in which all its processes are.
    void read_proc(uint32_t number, const std::string& file);

    /// Gives the guest a further network interface (agent::kPlug), whose request has the number `made`, and
    /// that for its address `addressed`; and takes one away that is the machine's.
    void plug(uint32_t made, uint32_t addressed, const std::string& interface, const Endpoint& endpoint);
    void unplug(uint32_t number, const std::string& interface);
    /// Its address, and where all else is sent over it (Endpoint::is_way_out), the route.
    void set_address(uint32_t number, const std::string& interface, const Endpoint& endpoint);
    /// Writes /etc/hosts anew, as the config now is; what is mounted there stays.
    void write_hosts();
    /// Has names be asked for where they were not (ContainerConfig::has_names).
    void begin_names();

    /// Asks for a transfer (agent::kTransfer) of number `number`.
    void transfer(uint32_t number, const ContentsQuestion& question);

  private:
    void read(uint32_t number, const std::string& path);
    void limit_resources();
    void mount_layers();
    void mount_shared();
    void fill_dev();
    void mount_rest();
    void write_files();
    [[nodiscard]] std::string hosts_file() const;
    void mount_users();
    void set_up_network();
    void set_up_names();

    void mount(const std::string& kind, const std::string& source, const std::string& path, uint64_t flags,
               const std::string& options, const char* root = nullptr);
    void bind(const std::string& source, const std::string& target, uint64_t flags);
    void mount_sockets();
    void mount_tmpfs(const TmpfsMount& tmpfs);
    [[nodiscard]] bool is_in_shared(const TmpfsMount& tmpfs) const;
    void make_folder(const std::string& path, const char* root = nullptr);
    void make_file(const std::string& path, const std::string& content, const char* root);
    void replace_file(const char* path, const std::string& content);
    void write_to(const std::string& path, const std::string& content);
    void set_address(const char* interface, uint64_t address, uint64_t prefix, uint64_t gateway);
    void request(agent::Type type, const std::string& what, const AgentClient::Fill& fill);
    static void add_program(agent::FrameWriter& frame, const std::vector<std::string>& command,
                            const std::vector<std::string>& environment);
    void add_rights(agent::FrameWriter& frame, const std::string& user, uint64_t capabilities) const;

    const ContainerConfig& config_;
    size_t layers_;
    AgentClient& client_;
    std::string too_large_;            // what was not sent
    std::string lower_;                // of the root's overlay
    bool has_base_ = false;            // the layers are mounted alone, too
    std::vector<std::string> set_up_;  // what requests of their numbers are for
    std::vector<uint32_t> sockets_;    // the numbers of those that have the agent listen
    std::optional<uint32_t> names_;    // likewise
};

}  // namespace hull::container
