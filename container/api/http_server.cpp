#include "container/api/http_server.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/rfc7230.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <chrono>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace hull::container {

namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

constexpr uint32_t kMostHeader = 64 << 10;
constexpr uint64_t kMostBody = 4 << 20;
constexpr std::chrono::minutes kBetweenRequests{5};
constexpr std::chrono::seconds kForARequest{30};
constexpr std::chrono::seconds kForAnAnswer{60};

std::string newest_version() {
    return "1." + std::to_string(kApiVersion);
}

/// With the header fields that clients look for in every answer.
template <class Body>
http::response<Body> make_answer(http::status status, unsigned http_version, bool keeps_alive) {
    http::response<Body> answer{status, http_version};
    answer.set(http::field::server, "Hull/" HULL_VERSION " (linux)");
    answer.set("Api-Version", newest_version());
    answer.set("Docker-Experimental", "false");
    answer.set("Ostype", "linux");
    answer.keep_alive(keeps_alive);
    return answer;
}

void set_body(http::response<http::string_body>& answer, const boost::json::value& body) {
    answer.set(http::field::content_type, "application/json");
    answer.body() = boost::json::serialize(body) + "\n";
}

/// False where the client is gone.
template <class Body>
bool write_to(Connection& connection, http::response<Body>& answer) {
    error_code error;
    http::response_serializer<Body> serializer{answer};
    http::write(connection, serializer, error);
    return !error;
}

/// Answers what is no request, and has the connection end.
void refuse(Connection& connection, http::status status, const std::string& why) {
    auto answer = make_answer<http::string_body>(status, 11, false);
    set_body(answer, {{"message", why}});
    answer.prepare_payload();
    write_to(connection, answer);
}

/// Tells a client what is wrong with its request, where it is still to be told.
void refuse_malformed(Connection& connection, const error_code& error) {
    if (error == http::error::body_limit) {
        refuse(connection, http::status::payload_too_large, "the request's body is more than 4 MiB");
    } else if (error == http::error::header_limit) {
        refuse(connection, http::status::request_header_fields_too_large,
               "the request's header fields are more than 64 KiB");
    } else if (error.category() == http::make_error_code(http::error::bad_method).category() &&
               error != http::error::end_of_stream && error != http::error::partial_message) {
        refuse(connection, http::status::bad_request, "the request is no HTTP: " + error.message());
    }
}

/// What was read of a request: all, or, where there is a stream, what stands before its body.
struct Request {
    ApiCall::Message message;
    std::unique_ptr<ApiCall::Stream> stream;
};

/// Reads a request. None where there is none: the client has gone, has taken too long, or was told what is
/// wrong. Throws ApiError where its target cannot be understood.
std::optional<Request> read_request(Connection& connection, boost::beast::flat_buffer& buffer,
                                    const HttpServer::IsStream& is_stream) {
    error_code error;
    http::request_parser<http::empty_body> head;
    head.header_limit(kMostHeader);
    head.body_limit(boost::none);  // what it has is seen below
    http::read_header(connection, buffer, head, error);
    if (error) {
        refuse_malformed(connection, error);
        return std::nullopt;
    }
    const bool is_one = is_stream(head.get().method_string(), RequestTarget::parse(head.get().target()));
    if (!is_one && head.content_length().value_or(0) > kMostBody) {
        refuse_malformed(connection, http::error::body_limit);
        return std::nullopt;
    }
    if (head.get()[http::field::expect] == "100-continue") {
        http::response<http::empty_body> go_on{http::status::continue_, head.get().version()};
        if (!write_to(connection, go_on)) {
            return std::nullopt;
        }
    }
    Request request;
    if (is_one) {
        request.stream = std::make_unique<ApiCall::Stream>(std::move(head));
        request.message.base() = request.stream->get().base();
        return request;
    }
    http::request_parser<http::string_body> parser{std::move(head)};
    parser.body_limit(kMostBody);
    http::read(connection, buffer, parser, error);
    if (error) {
        refuse_malformed(connection, error);
        return std::nullopt;
    }
    request.message = parser.release();
    return request;
}

}  // namespace

bool ApiCall::is(std::string_view method) const {
    const std::string_view asked = message_.method_string();
    return asked == method || (asked == "HEAD" && method == "GET");
}

std::string_view ApiCall::header(std::string_view name) const {
    return message_[name];
}

boost::json::value ApiCall::body() const {
    error_code error;
    boost::json::parse_options options;
    options.max_depth = 32;
    boost::json::value parsed = boost::json::parse(message_.body(), error, {}, options);
    if (error) {
        throw ApiError{400, "the request's body is no JSON: " + error.message()};
    }
    return parsed;
}

size_t ApiCall::read_body(std::span<std::byte> room) {
    if (!stream_ || room.empty()) {
        return 0;
    }
    auto& body = stream_->get().body();
    body.data = room.data();
    body.size = room.size();
    constexpr size_t kAtOnce = size_t{64} << 10;
    beyond_.reserve(kAtOnce);  // else Beast asks the socket for 512 bytes at a time
    error_code error;
    while (!error && !stream_->is_done() && body.size == room.size()) {
        connection_.set_deadline(Connection::Clock::now() + kForAnAnswer);
        http::read_some(connection_, beyond_, *stream_, error);
        if (error == http::error::need_buffer) {  // the room is full
            error = {};
        }
    }
    if (error) {
        is_broken_ = true;
        throw ApiError{400, "the request's body ends early: " + error.message()};
    }
    return room.size() - body.size;
}

void ApiCall::drop_body() {
    const auto until = Connection::Clock::now() + kForARequest;
    std::array<std::byte, 65'536> dropped;
    try {
        while (!is_broken_ && Connection::Clock::now() < until && read_body(dropped) > 0) {
        }
    } catch (const ApiError&) {  // nobody waits for an answer to that
    }
}

ApiCall::Answer ApiCall::make_answer(unsigned status) const {
    return container::make_answer<http::string_body>(http::int_to_status(status), message_.version(),
                                                     message_.keep_alive());
}

void ApiCall::send_whole(Answer answer) {
    is_answered_ = true;
    for (const auto& [name, value] : fields_) {
        answer.set(name, value);
    }
    if (answer.result() != http::status::no_content && answer.result() != http::status::not_modified) {
        answer.content_length(answer.body().size());
    }
    if (message_.method() == http::verb::head) {
        answer.body().clear();
    }
    connection_.set_deadline(Connection::Clock::now() + kForAnAnswer);
    is_broken_ = !write_to(connection_, answer) || is_broken_;
}

void ApiCall::send(const boost::json::value& body, unsigned status) {
    Answer answer = make_answer(status);
    set_body(answer, body);
    send_whole(std::move(answer));
}

void ApiCall::send_text(std::string_view text, unsigned status) {
    Answer answer = make_answer(status);
    answer.set(http::field::content_type, "text/plain; charset=utf-8");
    answer.body() = text;
    send_whole(std::move(answer));
}

void ApiCall::send_nothing(unsigned status) {
    send_whole(make_answer(status));
}

void ApiCall::begin(std::string_view content_type) {
    is_answered_ = is_begun_ = true;
    auto answer =
        container::make_answer<http::empty_body>(http::status::ok, message_.version(), message_.keep_alive());
    answer.set(http::field::content_type, content_type);
    for (const auto& [name, value] : fields_) {
        answer.set(name, value);
    }
    answer.chunked(true);
    http::response_serializer<http::empty_body> serializer{answer};
    error_code error;
    connection_.set_deadline(Connection::Clock::now() + kForAnAnswer);
    http::write_header(connection_, serializer, error);
    is_broken_ = error.failed();
}

bool ApiCall::write(std::string_view piece) {
    if (!is_broken_ && !piece.empty()) {
        connection_.set_deadline(Connection::Clock::now() + kForAnAnswer);
        error_code error;
        boost::asio::write(connection_, http::make_chunk(boost::asio::buffer(piece)), error);
        is_broken_ = error.failed();
    }
    return !is_broken_;
}

void ApiCall::end() {
    is_ended_ = true;
    error_code error;
    boost::asio::write(connection_, http::make_chunk_last(), error);
    is_broken_ = is_broken_ || error.failed();
}

ApiCall::Hijacked ApiCall::hijack(bool is_in_frames) {
    is_answered_ = is_hijacked_ = true;
    // Written by hand, since it has neither a length nor pieces, and as Docker's: clients look for "tcp".
    const bool is_upgrade = http::token_list{message_[http::field::connection]}.exists("upgrade") &&
                            boost::beast::iequals(message_[http::field::upgrade], "tcp");
    const std::string_view type = stream_type(is_in_frames && is_upgrade, target_.version);
    std::string answer{is_upgrade ? "HTTP/1.1 101 UPGRADED\r\n" : "HTTP/1.1 200 OK\r\n"};
    answer += "Content-Type: " + std::string{type} + "\r\n";
    if (is_upgrade) {
        answer += "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    }
    answer += "Api-Version: " + newest_version() + "\r\n\r\n";
    error_code error;
    connection_.set_deadline(Connection::Clock::now() + kForAnAnswer);
    boost::asio::write(connection_, boost::asio::buffer(answer), error);
    Hijacked result;
    if (!error) {
        result.first = boost::beast::buffers_to_string(beyond_.data());
        result.socket = connection_.release();
    }
    beyond_.clear();
    return result;
}

std::string_view stream_type(bool is_in_frames, unsigned version) {
    constexpr unsigned kFramesHaveAName = 42;
    return is_in_frames && version >= kFramesHaveAName ? "application/vnd.docker.multiplexed-stream"
                                                       : "application/vnd.docker.raw-stream";
}

HttpServer::HttpServer(UniqueFd listener, Handler handler, IsStream is_stream)
    : listener_{std::move(listener)}, handler_{std::move(handler)}, is_stream_{std::move(is_stream)} {}

HttpServer::~HttpServer() {
    signal_eventfd(stop_.get());
    wait_until_all_ended();
}

void HttpServer::run(int stop_fd) {
    constexpr int kUntilAnotherTry = 1000;  // ms
    bool has_room = true;                   // for a descriptor and a thread, as far as is known
    for (;;) {
        const bool takes_more = has_room && count() < kMostConnections;
        pollfd entries[] = {
            {takes_more ? listener_.get() : -1, POLLIN, 0}, {stop_fd, POLLIN, 0}, {ended_.get(), POLLIN, 0}};
        if (poll(entries, 3, has_room ? -1 : kUntilAnotherTry) < 0 && errno != EINTR) {
            throw Error{ExitStatus::internal_failure, "cannot wait for clients", errno_text(errno)};
        }
        if (entries[1].revents != 0) {
            break;
        }
        if (entries[2].revents != 0) {
            drain_eventfd(ended_.get());
        }
        has_room = entries[0].revents == 0 || accept_one();
    }
    signal_eventfd(stop_.get());
    wait_until_all_ended();
}

size_t HttpServer::count() {
    const std::lock_guard lock{mutex_};
    return connections_;
}

void HttpServer::wait_until_all_ended() {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [this] { return connections_ == 0; });
}

bool HttpServer::accept_one() {
    UniqueFd socket{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    if (!socket.valid()) {
        return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;  // it has gone already
    }
    const std::lock_guard lock{mutex_};
    try {
        std::thread{[this, client = std::move(socket)]() mutable {
            serve(std::move(client));
            const std::lock_guard done{mutex_};
            --connections_;
            signal_eventfd(ended_.get());
            changed_.notify_all();
        }}.detach();
        ++connections_;
        return true;
    } catch (const std::system_error& error) {
        log_warning(std::string{"a client is sent away, since no thread can be made: "} + error.what());
        return false;
    }
}

void HttpServer::serve(UniqueFd socket) {
    Connection connection{std::move(socket), stop_.get()};
    boost::beast::flat_buffer buffer{kMostHeader + kMostBody};
    try {
        while (serve_one(connection, buffer)) {
        }
    } catch (const std::exception& error) {
        log_warning(std::string{"a client's connection is ended: "} + error.what());
    }
}

bool HttpServer::serve_one(Connection& connection, boost::beast::flat_buffer& buffer) {
    error_code error;
    connection.set_deadline(Connection::Clock::now() + kBetweenRequests);
    if (buffer.size() == 0 && !connection.wait_for_input(error)) {
        return false;
    }
    connection.set_deadline(Connection::Clock::now() + kForARequest);
    try {
        std::optional<Request> request = read_request(connection, buffer, is_stream_);
        if (!request) {
            return false;
        }
        ApiCall call{connection, buffer, std::move(request->message), std::move(request->stream)};
        // To what was answered already there is nothing to add.
        const auto answer = [&](unsigned status, const std::string& text) {
            constexpr unsigned kNotModified = 304;
            if (!call.is_answered() && status == kNotModified) {
                call.send_nothing(status);
            } else if (!call.is_answered()) {
                call.send({{"message", text}}, status);
            }
        };
        try {
            handler_(call);
            if (call.is_begun()) {
                call.end();
            }
        } catch (const ApiError& failure) {
            answer(failure.status(), failure.what());
        } catch (const std::exception& failure) {
            answer(500, failure.what());
        }
        call.drop_body();
        return call.is_answered() && call.keeps_alive();
    } catch (const ApiError& failure) {  // its target cannot be understood
        refuse(connection, http::int_to_status(failure.status()), failure.what());
        return false;
    }
}

}  // namespace hull::container
