// The host's side of a guest's agent.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "guest/agent/protocol.h"

namespace hull {

// Exit statuses that stand for something else, as a shell has them.
inline constexpr int kNotExecutable = 126;
inline constexpr int kNotFound = 127;
inline constexpr int kBySignal = 128;  ///< and the signal's number

/// How a command ended.
struct CommandEnd {
    bool by_signal = false;
    uint32_t value = 0;  ///< the signal's number (1 to 64), or the exit status (0 to 255)

    [[nodiscard]] int status() const { return static_cast<int>(value) + (by_signal ? kBySignal : 0); }
};

/// Takes the agent's connections and reports, and sends it requests (guest/agent/protocol.h). The guest is
/// held for hostile: what it sends is bounded and checked, its numbers and texts are told as they are. For
/// the event loop's thread; SIGPIPE is ignored.
class AgentClient {
  public:
    /// What is told of the guest. Each may destroy nothing of the client's.
    struct Events {
        std::function<void()> hello;  ///< the agent is there; requests may be sent from here on
        /// Request `number` could not be done: an errno, and what was tried ("to mount"), which may be any
        /// printable text.
        std::function<void(uint32_t number, int error, const std::string& what)> failed;
        std::function<void(uint32_t number, CommandEnd end)> exited;
        /// Command `number` runs. May be left out.
        std::function<void(uint32_t number)> started{};
        /// What request `number` (agent::kRead) has read: any bytes. May be left out.
        std::function<void(uint32_t number, const std::string& bytes)> contents{};
        /// A connection that says it is of this kind (kInput to kFrames) and of this number, which may
        /// both be invented: whoever is in the guest can connect. Not blocking.
        std::function<void(agent::Type kind, uint32_t number, UniqueFd connection)> connected;
        /// The control connection has ended, for a reason that is a clause ("the agent …"). Once; nothing
        /// more is told of the agent, but connections may still come.
        std::function<void(const std::string& why)> lost;
    };

    /// `listener` is where the guest's connections to agent::kPort arrive, and does not block. `loop`
    /// outlives the client.
    AgentClient(EventLoop& loop, UniqueFd listener, Events events);
    AgentClient(const AgentClient&) = delete;
    AgentClient& operator=(const AgentClient&) = delete;
    ~AgentClient();

    using Fill = std::function<void(agent::FrameWriter&)>;
    /// Sends a request with the fields that `fill` puts in. False where they are too many; nothing is sent
    /// then. What the agent does not take yet waits.
    bool request(agent::Type type, uint32_t number, const Fill& fill);
    /// Whether more waits for the agent than one that does its work leaves: nothing further should be asked.
    [[nodiscard]] bool is_behind() const { return waiting_.size() > kMostWaiting; }

    /// Connections that have not said yet what they are; further ones wait to be accepted.
    static constexpr size_t kMostUnknown = 16;
    static constexpr size_t kMostWaiting = size_t{256} << 10;  ///< bytes of requests

  private:
    struct Unknown {
        UniqueFd fd;
        std::array<uint8_t, agent::kHeaderSize> header{};
        size_t have = 0;
    };

    void accept_connections();
    void read_header(int fd);
    void take_control(UniqueFd fd, const std::array<uint8_t, agent::kHeaderSize>& header);
    void read_control();
    void take_reports();
    /// Why the report is malformed; empty where it is not.
    std::string take_report(const agent::Frame& frame);
    void send_waiting();
    void lose(const std::string& why);

    EventLoop& loop_;
    UniqueFd listener_;
    Events events_;
    std::unordered_map<int, Unknown> unknown_;
    UniqueFd control_;
    bool greeted_ = false;   // there is a control connection, or was one
    bool is_ready_ = false;  // and its hello was whole
    std::vector<uint8_t> room_ = std::vector<uint8_t>(agent::kHeaderSize + agent::kMostReport);
    agent::FrameReader reader_{room_.data(), room_.size()};
    std::unique_ptr<uint8_t[]> request_room_;
    std::string waiting_;  // of requests, for the agent
};

}  // namespace hull
