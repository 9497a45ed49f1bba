// A command in a container, and all who are at its streams.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "container/supervisor/log.h"
#include "container/supervisor/stream_client.h"
#include "guest/agent/protocol.h"

namespace hull::container {

/// Carries between the connections that a guest's agent opens for one command, its clients and its log. What
/// it prints is read no faster than each of its clients takes it. For the event loop's thread.
class SupervisedCommand {
  public:
    struct Config {
        bool tty = false;
        bool has_input = false;
        bool input_ends_with_client = false;  ///< without a terminal only, where it is a signal's matter
        LogWriter* log = nullptr;             ///< null: it is not kept
    };
    /// `on_end` is called once, when it prints nothing any more; it may not destroy this object. `loop`
    /// outlives it.
    SupervisedCommand(EventLoop& loop, Config config, std::function<void()> on_end);
    SupervisedCommand(const SupervisedCommand&) = delete;
    SupervisedCommand& operator=(const SupervisedCommand&) = delete;
    ~SupervisedCommand();

    /// At any time; a client is told what is printed from then on. Its `is_raw` is set here.
    void attach(UniqueFd socket, StreamClient::Config client);
    /// It was asked for: each of its connections is taken once from here on.
    void expect();
    /// False where the connection is none that is waited for.
    bool take(agent::Type kind, UniqueFd& connection);
    [[nodiscard]] bool have_outputs_ended() const { return outputs_left_ == 0; }

    /// Takes those away that hold it up.
    void drop_full_clients();
    /// Ends all, when they have taken what waits for them. Further ones are ended at once.
    void end_clients();
    /// Leaves them to whoever has their sockets open, too, to be told something.
    void release_clients() { clients_.clear(); }
    [[nodiscard]] bool has_clients() const;

  private:
    static constexpr size_t kMostInput = size_t{64} << 10;  // bytes that wait for the command

    void watch_outputs();
    void take_output(size_t index);
    void type(std::string_view bytes);
    void end_input();
    void send_input();
    void close_input();

    struct Output {
        UniqueFd connection;
        LogStream stream;
    };

    EventLoop& loop_;
    const Config config_;
    std::function<void()> on_end_;
    uint32_t expected_ = 0;  // kinds of connection, a bit each from kInput on
    int outputs_left_;       // whose end has not come
    std::array<Output, 2> outputs_{{{UniqueFd{}, LogStream::output}, {UniqueFd{}, LogStream::errors}}};
    UniqueFd input_;
    std::string typed_;  // that waits for the command
    bool is_input_closed_ = false;
    bool is_input_to_end_ = false;
    bool ends_clients_ = false;
    std::list<StreamClient> clients_;
};

}  // namespace hull::container
