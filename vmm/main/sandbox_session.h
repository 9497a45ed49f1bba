// What goes on between the user of a sandbox and the command in it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "vmm/agent/agent_client.h"
#include "vmm/agent/received_tree.h"
#include "vmm/agent/relayed_streams.h"
#include "vmm/main/root_image.h"
#include "vmm/main/sandbox_options.h"
#include "vmm/main/user_streams.h"
#include "vmm/main/watched_machine.h"

namespace hull {

/// The tag by which the guest mounts what it sees of the host.
inline constexpr const char* kSandboxTag = "hull";

/// Prepares a guest through its agent, runs the command, carries its streams and signals, and brings back
/// what it left. The guest is held for hostile. One thread.
class SandboxSession {
  public:
    struct Files {
        UniqueFd listener;  ///< where the agent's connections arrive; does not block
        UniqueFd console;   ///< what the guest's console prints; does not block
        std::optional<RootImage> image = std::nullopt;  ///< instead of the host's programs
        bool has_in = false;                            ///< something is to be found in /in
        UniqueFd out;    ///< the folder for what comes back; none where nothing does
        int pidfd = -1;  ///< of the process that keeps the machine; the caller's
    };
    /// Blocks the signals that it carries. `options` outlives it.
    SandboxSession(const SandboxOptions& options, Files files);
    SandboxSession(const SandboxSession&) = delete;
    SandboxSession& operator=(const SandboxSession&) = delete;
    ~SandboxSession() = default;

    /// Until there is an exit status: the command's, or 124 to 127. Throws Error where the guest or its agent
    /// fails, which may be the guest's doing.
    int run();

  private:
    enum class Phase { starting, unpacking, running, collecting, done };

    void prepare_guest();
    void unpack_image();
    void take_unpacked(CommandEnd end);
    void prepare_root();
    void mount_in_guest(const std::string& kind, const char* source, const std::string& path, uint64_t flags,
                        const std::string& options);
    void make_folder_in_guest(const std::string& path, uint64_t mode);
    void start_command();
    void request(agent::Type type, const std::string& what, const AgentClient::Fill& fill);
    void take_failure(uint32_t number, int error, const std::string& what);
    void take_end(CommandEnd end);
    void take_connection(agent::Type kind, uint32_t number, UniqueFd connection);
    void take_signal(int number);
    void take_machines_end();
    void take_tree();
    void relay(uint32_t number, UniqueFd connection);
    void finish_if_all_came();
    void finish(int status);
    void fail(const std::string& why);

    const SandboxOptions& options_;
    Files files_;
    EventLoop loop_;
    AgentClient client_;
    UserStreams streams_;
    WatchedMachine machine_;
    Phase phase_ = Phase::starting;
    int status_ = 0;
    std::string failure_;              // why there is no status
    std::vector<std::string> set_up_;  // what requests of their numbers are for
    RelayedStreams relayed_;
    UniqueFd unpacking_errors_;  // what is said of the image
    std::optional<ReceivedTree> tree_;
    UniqueFd tree_connection_;
    std::vector<uint8_t> tree_room_;
    std::optional<agent::FrameReader> tree_reader_;
    bool ended_by_user_ = false;  // a signal was carried already
    bool files_are_awaited_ = false;
};

}  // namespace hull
