// Answers a container's questions for names: of its networks here, of all else by the host's servers.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "container/network/name_forwarder.h"
#include "container/network/name_table.h"
#include "container/network/socket_address.h"

namespace hull::container {

/// The other end of what a guest's agent carries (agent::kRelayPort). The guest is held for hostile: what
/// comes is bounded, and where it makes no sense its connection is closed. For the event loop's thread.
class NameService {
  public:
    static constexpr size_t kMostStreams = 32;                 ///< at once; further ones are closed
    static constexpr size_t kMostWaiting = size_t{256} << 10;  ///< bytes of replies for a connection

    /// `names` is a NameTable's file. `servers` (addresses; those that are none do not count) are asked what
    /// is not in there; none: the host's, as they are by then. With `is_closed` nobody is asked: names are a
    /// way out, too. `loop` outlives it.
    NameService(EventLoop& loop, std::filesystem::path names, const std::vector<std::string>& servers,
                bool is_closed = false);
    NameService(const NameService&) = delete;
    NameService& operator=(const NameService&) = delete;
    ~NameService();

    /// Whether nobody is asked, from now on.
    void set_closed(bool is_closed) { is_closed_ = is_closed; }

    /// The guest's connection of datagrams, in place of one that was there; and one of a stream of messages.
    void take_datagrams(UniqueFd connection);
    void take_stream(UniqueFd connection);

  private:
    struct Connection {
        UniqueFd fd;
        size_t header;  // bytes before each message
        std::string got{};
        std::string waiting{};
    };
    using Held = std::shared_ptr<Connection>;
    using Reply = std::function<void(std::string reply)>;

    void begin(UniqueFd fd, size_t header);
    void take(const Held& connection);
    void send(const Held& connection);
    void end(const Held& connection);
    void answer(std::string message, bool by_stream, const Reply& reply);
    [[nodiscard]] std::string known_answer(const DnsQuestion& question, size_t most);
    [[nodiscard]] std::vector<SocketAddress> servers() const;

    EventLoop& loop_;
    NameTable names_;
    std::vector<SocketAddress> servers_;
    bool is_closed_;
    NameForwarder forwarder_;
    std::list<Held> connections_;
};

}  // namespace hull::container
