#include "vmm/api/http_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <optional>
#include <utility>

namespace hull {

namespace http = boost::beast::http;

namespace {

constexpr size_t kMostHeader = 8192;
constexpr size_t kMostUnread = 2 * (kMostHeader + HttpServer::kMostBody);

std::string text_of(const HttpAnswer& answer, const std::string& server, bool stays) {
    const std::string reason{http::obsolete_reason(static_cast<http::status>(answer.status))};
    std::string text = "HTTP/1.1 " + std::to_string(answer.status) + " " + reason + "\r\nServer: " + server +
                       "\r\nConnection: " + (stays ? "keep-alive" : "close") + "\r\n";
    if (answer.status != static_cast<unsigned>(http::status::no_content)) {
        text += "Content-Type: application/json\r\nContent-Length: " + std::to_string(answer.body.size()) +
                "\r\n";
    }
    return text + "\r\n" + answer.body;
}

}  // namespace

class HttpServer::Client : public std::enable_shared_from_this<Client> {
  public:
    Client(HttpServer& server, UniqueFd fd) : server_{server}, fd_{std::move(fd)} {}
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client() {
        server_.loop_.forget(fd_.get());
        server_.loop_.forget(fd_.get(), EventLoop::Ready::to_write);
    }

    void begin() {
        expect_request();
        server_.loop_.watch(fd_.get(), [self = weak_from_this()] {
            if (const auto client = self.lock()) {
                client->read_more();
            }
        });
    }
    [[nodiscard]] int fd() const { return fd_.get(); }

  private:
    void expect_request() {
        is_answering_ = false;
        parser_.emplace();
        parser_->header_limit(kMostHeader);
        parser_->body_limit(kMostBody);
        parser_->eager(true);
    }

    void read_more() {
        std::array<char, 16384> part{};
        const ssize_t got = recv(fd_.get(), part.data(), part.size(), MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (got == 0 && is_answering_) {
            is_last_ = true;  // it has said all, and waits
            server_.loop_.forget(fd_.get());
            return;
        }
        if (got <= 0) {
            server_.drop(fd_.get());
            return;
        }
        unread_.append(part.data(), static_cast<size_t>(got));
        if (unread_.size() > kMostUnread) {
            server_.loop_.forget(fd_.get());  // until what came before is answered
        }
        serve();
    }

    /// Handles what has come, one request after the other. One that is answered at once is answered in here.
    void serve() {
        if (std::exchange(is_serving_, true)) {
            return;
        }
        while (!is_answering_ && !unread_.empty() && take_request()) {
        }
        is_serving_ = false;
    }

    /// False where a request is not whole yet.
    bool take_request() {
        boost::beast::error_code error;
        unread_.erase(0, parser_->put(boost::asio::buffer(unread_), error));
        if (error == http::error::need_more || (!error && !parser_->is_done())) {
            return false;
        }
        is_answering_ = true;
        if (error) {
            is_last_ = true;
            const bool is_large = error == http::error::body_limit;
            reply(is_large ? fault("Request payload is larger than the limit of " +
                                       std::to_string(kMostBody) + " bytes allowed by server.",
                                   413)
                           : fault("Invalid HTTP: " + error.message() + "."));
            return true;
        }
        auto message = parser_->release();
        is_last_ = !message.keep_alive();
        const HttpRequest request{std::string{message.method_string()}, std::string{message.target()},
                                  std::move(message.body())};
        const Handler handler = server_.handler_;  // which may give its place to another
        handler(request, [self = weak_from_this()](const HttpAnswer& answer) {
            if (const auto client = self.lock()) {
                client->reply(answer);
            }
        });
        return true;
    }

    void reply(const HttpAnswer& answer) {
        unsent_ += text_of(answer, server_.server_, !is_last_);
        write_more();
    }

    void write_more() {
        while (!unsent_.empty()) {
            const ssize_t sent = send(fd_.get(), unsent_.data(), unsent_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0 && errno == EAGAIN) {
                server_.loop_.watch(
                    fd_.get(),
                    [self = weak_from_this()] {
                        if (const auto client = self.lock()) {
                            client->write_more();
                        }
                    },
                    EventLoop::Ready::to_write);
                return;
            }
            if (sent < 0 && errno != EINTR) {
                server_.drop(fd_.get());
                return;
            }
            unsent_.erase(0, static_cast<size_t>(std::max<ssize_t>(sent, 0)));
        }
        server_.loop_.forget(fd_.get(), EventLoop::Ready::to_write);
        if (is_last_) {
            server_.drop(fd_.get());
            return;
        }
        begin();
        serve();
    }

    HttpServer& server_;
    const UniqueFd fd_;
    std::optional<http::request_parser<http::string_body>> parser_;
    std::string unread_;
    std::string unsent_;
    bool is_serving_ = false;
    bool is_answering_ = false;
    bool is_last_ = false;  // the connection ends with this answer
};

HttpServer::HttpServer(EventLoop& loop, UniqueFd listener, std::string server, Handler handler)
    : loop_{loop}, listener_{std::move(listener)}, server_{std::move(server)}, handler_{std::move(handler)} {
    loop_.watch(listener_.get(), [this] { accept_client(); });
}

HttpServer::~HttpServer() {
    loop_.forget(listener_.get());
}

HttpAnswer HttpServer::fault(const std::string& why, unsigned status) {
    return {status, boost::json::serialize(boost::json::object{{"fault_message", why}})};
}

void HttpServer::accept_client() {
    UniqueFd fd{accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (!fd.valid()) {
        return;
    }
    clients_.push_back(std::make_shared<Client>(*this, std::move(fd)));
    clients_.back()->begin();
    if (clients_.size() == kMostClients) {
        loop_.forget(listener_.get());
    }
}

void HttpServer::drop(int fd) {
    std::erase_if(clients_, [fd](const auto& client) { return client->fd() == fd; });
    loop_.watch(listener_.get(), [this] { accept_client(); });
}

}  // namespace hull
