// Somebody at the other end of a command's streams.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "container/supervisor/log.h"

namespace hull::container {

/// A client of a command's, on a socket as channel.h says. One that takes nothing holds a bounded number of
/// bytes. For the event loop's thread; SIGPIPE is ignored.
class StreamClient {
  public:
    struct Config {
        bool input = false;
        bool output = true;
        bool errors = true;
        bool is_raw = false;          ///< its bytes are a terminal's
        std::vector<uint8_t> keys{};  ///< what it types to be detached, at a terminal; empty: nothing is
        std::string first{};          ///< what it has sent already
    };
    /// Each may destroy nothing of the client's.
    struct Events {
        std::function<void(std::string_view bytes)> typed;
        std::function<void()> input_ended;  ///< once, but not where it is detached
        std::function<void()> has_room;     ///< or is gone
    };
    static constexpr size_t kMostWaiting = size_t{1} << 20;  ///< bytes; a client with so many is full

    /// `loop` outlives it. Nothing is told before begin().
    StreamClient(EventLoop& loop, UniqueFd socket, Config config, Events events);
    StreamClient(const StreamClient&) = delete;
    StreamClient& operator=(const StreamClient&) = delete;
    ~StreamClient();

    void begin();
    /// What the command has printed, where it wants that.
    void give(LogStream stream, std::string_view bytes);
    [[nodiscard]] bool is_full() const { return waiting_.size() >= kMostWaiting; }
    [[nodiscard]] bool has_all() const { return waiting_.empty(); }
    [[nodiscard]] bool is_gone() const { return !socket_.valid(); }
    /// Whether its input is read. It is from the beginning on.
    void hold_input(bool is_held);
    /// Ends it: at once, or when it has taken all that waits for it.
    void drop();
    void end_when_told();

  private:
    void watch_input();
    void take();
    void take_input(std::string_view bytes);
    void end_input();
    void send_waiting();

    EventLoop& loop_;
    UniqueFd socket_;
    Config config_;
    Events events_;
    std::string waiting_;  // for it
    size_t keys_ = 0;      // of them, how many have come
    bool is_held_ = false;
    bool has_input_ended_ = false;
    bool ends_when_told_ = false;
};

}  // namespace hull::container
