// Asks name servers of the host's what is asked in a container.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/timer.h"
#include "base/unique_fd.h"
#include "container/network/dns_message.h"
#include "container/network/socket_address.h"

namespace hull::container {

/// Any number of questions up to a limit, each with a socket of its own, whose port and id are by chance. For
/// the event loop's thread.
class NameForwarder {
  public:
    static constexpr size_t kMost = 128;         ///< questions at once
    static constexpr size_t kMostByStream = 16;  ///< of them
    static constexpr size_t kMostServers = 3;    ///< that are asked, one after the other, as Docker does
    static constexpr uint16_t kPort = 53;        ///< of servers

    /// `patience`: for each server.
    explicit NameForwarder(EventLoop& loop, std::chrono::milliseconds patience = std::chrono::seconds{3});
    NameForwarder(const NameForwarder&) = delete;
    NameForwarder& operator=(const NameForwarder&) = delete;
    ~NameForwarder();

    /// A server's reply, which answers the question and has its id; empty where there was none.
    using Done = std::function<void(std::string reply)>;
    /// `query` is the whole message of `question`. False where there are too many; `done` is not called then.
    bool ask(const DnsQuestion& question, std::string query, bool by_stream,
             std::vector<SocketAddress> servers, Done done);

  private:
    struct Query {
        DnsQuestion question;
        std::string message;
        bool by_stream = false;
        std::vector<SocketAddress> servers;
        Done done;
        size_t next = 0;  // of the servers
        UniqueFd socket{};
        uint16_t id = 0;  // as the server knows it
        size_t sent = 0;  // bytes, of a stream
        std::string got{};
        std::string refusal{};  // of a server that has not answered; the last one's is told
        std::chrono::steady_clock::time_point deadline{};
    };
    using Place = std::list<Query>::iterator;

    void try_next(Place query);
    bool begin(Query& query);
    void send_stream(Place query);
    void take_datagram(Place query);
    void take_stream(Place query);
    void take_reply(Place query, std::string reply);
    void close(Query& query);
    void take_time();
    void set_timer();

    EventLoop& loop_;
    const std::chrono::milliseconds patience_;
    Timer timer_;
    std::list<Query> queries_;
};

}  // namespace hull::container
