// What goes on between a container's user and its machine.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "container/machine/container_config.h"
#include "container/machine/container_guest.h"
#include "vmm/agent/agent_client.h"
#include "vmm/main/user_streams.h"
#include "vmm/main/watched_machine.h"

namespace hull::container {

/// Makes a guest ready through its agent (ContainerGuest), runs the container's command in it, and carries
/// its streams and signals. The guest is held for hostile. One thread.
class ContainerSession {
  public:
    struct Files {
        UniqueFd listener;              ///< where the agent's connections arrive; does not block
        UniqueFd console;               ///< what the guest's console prints; does not block
        size_t layers = 0;              ///< 0 to 127
        int pidfd = -1;                 ///< of the process that keeps the machine; the caller's
        std::function<void()> is_up{};  ///< called when the guest is there
    };
    /// Blocks the signals that it carries. `config` outlives it.
    ContainerSession(const ContainerConfig& config, Files files);
    ContainerSession(const ContainerSession&) = delete;
    ContainerSession& operator=(const ContainerSession&) = delete;
    ~ContainerSession() = default;

    /// Until there is an exit status: the command's, 128 and the number of the signal that ended it, 126 or
    /// 127, or 125 where the machine could not be made, which has said why. Throws Error where the machine,
    /// the guest or its agent fails, which may be the guest's doing.
    int run();

  private:
    void start();
    void take_failure(uint32_t number, int error, const std::string& what);
    void take_end(CommandEnd end);
    void take_signal(int number);
    void take_machines_end();
    void finish(int status);
    void fail(const std::string& why);

    const ContainerConfig& config_;
    std::function<void()> is_up_;
    EventLoop loop_;
    AgentClient client_;
    ContainerGuest guest_;
    UserStreams streams_;
    WatchedMachine machine_;
    bool is_running_ = false;
    bool is_done_ = false;
    bool has_ended_ = false;  // the command
    int status_ = 0;
    unsigned asked_to_end_ = 0;  // signals that were carried already
    std::string failure_;        // why there is no status
};

}  // namespace hull::container
