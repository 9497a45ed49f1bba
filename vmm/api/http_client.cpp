#include "vmm/api/http_client.h"

#include <sys/socket.h>

#include <array>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cerrno>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "base/unix_address.h"

namespace hull {

namespace http = boost::beast::http;

namespace {

constexpr size_t kMostAnswer = size_t{1} << 20;

UniqueFd connect_to(const std::filesystem::path& path) {
    const auto refuse = [&path](const std::string& why) {
        throw Error{ExitStatus::bad_file, "cannot reach a machine at '" + path.string() + "'", why,
                    "give the socket that the machine was started with (--api-socket)"};
    };
    const auto address = UnixAddress::at(path);
    if (!address) {
        refuse(address.error());
    }
    UniqueFd fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (const int cause = fd.valid() ? address->connect(fd.get()) : errno; cause != 0) {
        refuse(errno_text(cause));
    }
    return fd;
}

}  // namespace

HttpAnswer ask_machine(const std::filesystem::path& socket, const HttpRequest& request) {
    const UniqueFd fd = connect_to(socket);
    const std::string text = request.method + " " + request.target +
                             " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: "
                             "application/json\r\nContent-Length: " +
                             std::to_string(request.body.size()) + "\r\n\r\n" + request.body;
    size_t done = 0;
    while (done < text.size()) {
        const ssize_t sent = send(fd.get(), text.data() + done, text.size() - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            break;  // what it has answered says why
        }
        done += static_cast<size_t>(std::max<ssize_t>(sent, 0));
    }
    http::response_parser<http::string_body> parser;
    parser.body_limit(kMostAnswer);
    parser.eager(true);
    std::string unread;
    std::array<char, 4096> part{};
    while (!parser.is_done()) {
        const ssize_t got = recv(fd.get(), part.data(), part.size(), 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        boost::beast::error_code error;
        if (got > 0) {
            unread.append(part.data(), static_cast<size_t>(got));
            unread.erase(0, parser.put(boost::asio::buffer(unread), error));
        }
        if (got <= 0 || (error && error != http::error::need_more)) {
            throw Error{ExitStatus::machine_died, "cannot control the machine at '" + socket.string() + "'",
                        "it has ended, or what listens there is no machine"};
        }
    }
    return {parser.get().result_int(), parser.get().body()};
}

}  // namespace hull
