// Serves HTTP/1.1 to the clients of a unix socket.
#pragma once

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/json/value.hpp>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "container/api/connection.h"
#include "container/api/request_target.h"

namespace hull::container {

/// What a client asked, and how it is answered: once, by one of send, send_nothing, begin and hijack. For the
/// thread that serves it.
class ApiCall {
  public:
    using Message = boost::beast::http::request<boost::beast::http::string_body>;
    /// Has read a request's header fields, and reads its body.
    using Stream = boost::beast::http::request_parser<boost::beast::http::buffer_body>;

    /// `beyond` is what has come behind the request, or, where its body is still to be read from `stream`,
    /// behind its header. Both outlive it.
    ApiCall(Connection& connection, boost::beast::flat_buffer& beyond, Message message,
            std::unique_ptr<Stream> stream = nullptr)
        : connection_{connection},
          beyond_{beyond},
          message_{std::move(message)},
          stream_{std::move(stream)},
          target_{RequestTarget::parse(message_.target())} {}

    [[nodiscard]] const RequestTarget& target() const { return target_; }
    /// HEAD is answered as GET is, without the body.
    [[nodiscard]] bool is(std::string_view method) const;
    [[nodiscard]] std::string_view header(std::string_view name) const;
    /// Throws ApiError (400) where it is no JSON, or one of more than 32 levels.
    [[nodiscard]] boost::json::value body() const;
    [[nodiscard]] bool has_body() const { return !message_.body().empty(); }

    /// Fills some of `room` with a body that is handed over as it comes; 0 at its end, and of any other body.
    /// Throws ApiError (400) where it ends early, or nothing of it comes for a minute.
    size_t read_body(std::span<std::byte> room);
    /// Reads the rest and throws it away, for half a minute at most: a client that is still sending looks for
    /// its answer only then.
    void drop_body();

    /// A header field of the answer, which is still to come.
    void set_field(std::string name, std::string value) {
        fields_.emplace_back(std::move(name), std::move(value));
    }
    void send(const boost::json::value& body, unsigned status = 200);
    void send_text(std::string_view text, unsigned status = 200);
    void send_nothing(unsigned status = 204);
    /// Begins an answer that comes in pieces, and sends what is known of it at once.
    void begin(std::string_view content_type);
    /// Sends a piece; false where the client is gone, or is no longer waited for.
    bool write(std::string_view piece);
    void end();
    /// Waits until `fd` is readable, at most until `until`. `ended`: nobody waits for an answer any more, or
    /// the server stops.
    [[nodiscard]] Connection::Wake wait_for(
        int fd, Connection::Clock::time_point until = Connection::Clock::time_point::max()) const {
        return connection_.wait_for_other(fd, until);
    }

    /// A connection that is HTTP's no more.
    struct Hijacked {
        UniqueFd socket;    ///< not valid where the client is gone
        std::string first;  ///< what it has sent already
    };
    /// Answers 101, where the client asks to upgrade to "tcp", or else 200, and gives the connection up:
    /// what is sent on it from then on is of Docker's "raw-stream", or, where `is_in_frames`, for who knows
    /// of it (1.42), "multiplexed-stream".
    Hijacked hijack(bool is_in_frames);

    [[nodiscard]] bool is_answered() const { return is_answered_; }
    [[nodiscard]] bool is_begun() const { return is_begun_; }
    [[nodiscard]] bool is_hijacked() const { return is_hijacked_; }
    /// Whether a further request may come on the connection.
    [[nodiscard]] bool keeps_alive() const {
        return message_.keep_alive() && !is_broken_ && !is_hijacked_ && is_begun_ == is_ended_ &&
               (!stream_ || stream_->is_done());
    }

  private:
    using Answer = boost::beast::http::response<boost::beast::http::string_body>;
    [[nodiscard]] Answer make_answer(unsigned status) const;
    void send_whole(Answer answer);

    Connection& connection_;
    boost::beast::flat_buffer& beyond_;
    Message message_;
    std::unique_ptr<Stream> stream_;
    RequestTarget target_;
    std::vector<std::pair<std::string, std::string>> fields_;
    bool is_answered_ = false;
    bool is_begun_ = false;
    bool is_ended_ = false;  // what was begun
    bool is_broken_ = false;
    bool is_hijacked_ = false;
};

/// What a stream of a container's is of: is_in_frames, and the version of the API that a client speaks.
std::string_view stream_type(bool is_in_frames, unsigned version);

/// Accepts connections and serves each on a thread of its own. What a client can make it hold is bounded: so
/// many connections (further ones wait to be accepted), header fields of 64 KiB, a body of 4 MiB, 30 s for
/// a request from its first byte on, five minutes between two.
class HttpServer {
  public:
    /// Answers a request; throws ApiError, or Error, which becomes status 500. On any thread.
    using Handler = std::function<void(ApiCall&)>;
    /// Whether the body of such a request is handed over as it comes (ApiCall::read_body).
    using IsStream = std::function<bool(std::string_view method, const RequestTarget&)>;
    static constexpr size_t kMostConnections = 256;

    /// `listener` is a listening stream socket.
    HttpServer(UniqueFd listener, Handler handler, IsStream is_stream);
    HttpServer(const HttpServer&) = delete;
    HttpServer& operator=(const HttpServer&) = delete;
    ~HttpServer();

    /// Accepts until `stop_fd` is readable; every connection has ended then, whatever it waited for.
    void run(int stop_fd);
    /// Serves one connection on the calling thread, until it ends.
    void serve(UniqueFd socket);

  private:
    size_t count();
    void wait_until_all_ended();
    /// False where the host has no descriptor or thread for one.
    bool accept_one();
    bool serve_one(Connection& connection, boost::beast::flat_buffer& buffer);

    UniqueFd listener_;
    Handler handler_;
    IsStream is_stream_;
    UniqueFd stop_ = make_eventfd();   // ends the waits of connections
    UniqueFd ended_ = make_eventfd();  // counts those that have
    std::mutex mutex_;
    std::condition_variable changed_;
    size_t connections_ = 0;
};

}  // namespace hull::container
