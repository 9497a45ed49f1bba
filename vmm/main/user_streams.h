// The user's side of a command in a guest: its streams or its terminal, signals, and the window's size.
#pragma once

#include <functional>
#include <list>
#include <optional>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "vmm/agent/agent_client.h"
#include "vmm/agent/stream_pump.h"
#include "vmm/machine/console_input.h"

namespace hull {

/// Opens nothing (/dev/null) as each standard stream that the user has closed, so that no other file gets its
/// number.
void open_missing_streams();

/// Carries between this process's standard streams and those of one command, and the signals that this
/// process gets. For the event loop's thread.
class UserStreams {
  public:
    struct Config {
        uint32_t command = 1;  ///< its number
        bool tty = false;      ///< it has a terminal instead of three streams
        bool has_input = true;
        bool has_escape = true;  ///< Ctrl-A x, typed at its terminal, is meant for `quit`
    };
    struct Events {
        std::function<void(int signal)> signalled;  ///< but for SIGWINCH, which is done here
        std::function<void()> all_came;             ///< all that it prints, once
        std::function<void()> quit;
    };

    /// Blocks the signals that it takes. `loop` and `client` outlive it; SIGPIPE is ignored.
    UserStreams(EventLoop& loop, AgentClient& client, Config config, Events events);
    UserStreams(const UserStreams&) = delete;
    UserStreams& operator=(const UserStreams&) = delete;
    ~UserStreams();

    /// Puts the terminal's size in where the command has one. For the request that starts it.
    void add_terminal(agent::FrameWriter& frame) const;
    /// That request was sent: each of its connections is taken once from here on.
    void expect();
    /// False where the connection, which was told of with this kind and number, is none that is waited for.
    bool take(agent::Type kind, uint32_t number, UniqueFd& connection);
    [[nodiscard]] bool have_all_come() const { return outputs_left_ == 0; }
    void send_signal(int number);

  private:
    void take_signal();
    void resize();
    void carry(UniqueFd from, UniqueFd to, bool is_output);
    void carry_typed(UniqueFd connection);

    EventLoop& loop_;
    AgentClient& client_;
    const Config config_;
    Events events_;
    UniqueFd signals_;
    uint32_t expected_ = 0;  // kinds of connection, a bit each from kInput on
    int outputs_left_;       // connections whose end is waited for
    bool is_running_ = false;
    std::list<StreamPump> pumps_;
    UniqueFd typed_to_;
    std::optional<ConsoleInput> typed_;
};

}  // namespace hull
