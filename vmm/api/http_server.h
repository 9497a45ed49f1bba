// A small server of HTTP/1.1 on the keeper's loop, for the handful of clients that a machine's API has.
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <utility>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace hull {

struct HttpRequest {
    std::string method;  ///< "GET"
    std::string target;  ///< "/vm/config"
    std::string body;
};

struct HttpAnswer {
    unsigned status = 204;
    std::string body;  ///< JSON; none with 204
};

/// Serves a listening, non-blocking stream socket. A client's requests are handled one after the other; those
/// of several as they come. What is no HTTP, or too much of it, is answered by a status and ends the
/// connection. One thread.
class HttpServer {
  public:
    static constexpr size_t kMostBody = 51'200;  ///< bytes; Firecracker's limit
    static constexpr size_t kMostClients = 128;  ///< further ones wait

    /// Answers once, now or later, on the loop's thread; where the client is gone by then, nobody.
    using Reply = std::function<void(HttpAnswer)>;
    using Handler = std::function<void(const HttpRequest&, Reply)>;

    /// The loop outlives it. Every answer names `server` as what gave it.
    HttpServer(EventLoop& loop, UniqueFd listener, std::string server, Handler handler);
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;
    ~HttpServer();

    /// From the next request on.
    void set_handler(Handler handler) { handler_ = std::move(handler); }

    /// The body of an error as Firecracker has it.
    static HttpAnswer fault(const std::string& why, unsigned status = 400);

  private:
    class Client;

    void accept_client();
    void drop(int fd);

    EventLoop& loop_;
    const UniqueFd listener_;
    const std::string server_;
    Handler handler_;
    std::list<std::shared_ptr<Client>> clients_;
};

}  // namespace hull
