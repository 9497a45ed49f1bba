#include "container/network/name_service.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "container/network/dns_message.h"
#include "container/network/resolver.h"
#include "guest/agent/protocol.h"

namespace hull::container {

namespace {

constexpr size_t kLength = 2;  // bytes of a message's length, the first of its header

std::vector<SocketAddress> addresses_of(const std::vector<std::string>& servers) {
    std::vector<SocketAddress> all;
    for (const std::string& server : servers) {
        if (const auto address = SocketAddress::parse(server, NameForwarder::kPort)) {
            all.push_back(*address);
        }
    }
    return all;
}

}  // namespace

NameService::NameService(EventLoop& loop, std::filesystem::path names,
                         const std::vector<std::string>& servers, bool is_closed)
    : loop_{loop},
      names_{std::move(names)},
      servers_{addresses_of(servers)},
      is_closed_{is_closed},
      forwarder_{loop} {}

NameService::~NameService() {
    for (const Held& connection : std::exchange(connections_, {})) {
        loop_.forget(connection->fd.get());
        loop_.forget(connection->fd.get(), EventLoop::Ready::to_write);
    }
}

void NameService::take_datagrams(UniqueFd connection) {
    const auto is_there = [](const Held& each) { return each->header == agent::kDatagramHeader; };
    if (const auto found = std::ranges::find_if(connections_, is_there); found != connections_.end()) {
        end(*found);
    }
    begin(std::move(connection), agent::kDatagramHeader);
}

void NameService::take_stream(UniqueFd connection) {
    if (connections_.size() < kMostStreams) {
        begin(std::move(connection), kLength);
    }
}

void NameService::begin(UniqueFd fd, size_t header) {
    const Held& held =
        connections_.emplace_back(std::make_shared<Connection>(Connection{std::move(fd), header}));
    loop_.watch(held->fd.get(), [this, held] { take(held); });
}

void NameService::end(const Held& connection) {
    const Held held = connection;
    loop_.forget(held->fd.get());
    loop_.forget(held->fd.get(), EventLoop::Ready::to_write);
    held->fd.reset();
    connections_.remove(held);
}

void NameService::take(const Held& connection) {
    const Held held = connection;
    std::array<char, DnsQuestion::kMostBytes> bytes{};
    const ssize_t got = recv(held->fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        end(held);
        return;
    }
    const bool by_stream = held->header == kLength;
    held->got.append(bytes.data(), static_cast<size_t>(got));
    size_t at = 0;
    while (held->fd.valid() && held->got.size() - at >= held->header) {
        const size_t size = static_cast<size_t>(static_cast<unsigned char>(held->got[at])) << 8 |
                            static_cast<unsigned char>(held->got[at + 1]);
        if (size > DnsQuestion::kMostBytes) {
            end(held);
            return;
        }
        if (held->got.size() - at - held->header < size) {
            break;
        }
        std::string whose = held->got.substr(at + kLength, held->header - kLength);
        answer(held->got.substr(at + held->header, size), by_stream,
               [this, weak = std::weak_ptr{held}, whose = std::move(whose)](const std::string& reply) {
                   const Held to = weak.lock();
                   if (!to || !to->fd.valid() || to->waiting.size() > kMostWaiting) {
                       return;
                   }
                   to->waiting += static_cast<char>(reply.size() >> 8);
                   to->waiting += static_cast<char>(reply.size() & 0xff);
                   to->waiting += whose + reply;
                   send(to);
               });
        at += held->header + size;
    }
    held->got.erase(0, at);
}

void NameService::send(const Held& connection) {
    const Held held = connection;
    const ssize_t sent =
        ::send(held->fd.get(), held->waiting.data(), held->waiting.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        end(held);
        return;
    }
    held->waiting.erase(0, static_cast<size_t>(std::max<ssize_t>(sent, 0)));
    if (held->waiting.empty()) {
        loop_.forget(held->fd.get(), EventLoop::Ready::to_write);
    } else {
        loop_.watch(
            held->fd.get(), [this, held] { send(held); }, EventLoop::Ready::to_write);
    }
}

/// What is no question is not answered.
void NameService::answer(std::string message, bool by_stream, const Reply& reply) {
    const auto question = DnsQuestion::parse(message);
    if (!question) {
        return;
    }
    const size_t most = by_stream ? size_t{UINT16_MAX} : question->most_reply;
    if (std::string known = known_answer(*question, most); !known.empty()) {
        reply(std::move(known));
        return;
    }
    const bool is_asked =
        !is_closed_ &&
        forwarder_.ask(*question, std::move(message), by_stream, servers(),
                       [question = *question, most, reply](std::string answer) {
                           if (answer.empty()) {
                               reply(dns_reply(question, DnsResult::failed));
                           } else {
                               reply(answer.size() > most ? dns_too_long(question) : std::move(answer));
                           }
                       });
    if (!is_asked) {
        reply(dns_reply(*question, DnsResult::failed));
    }
}

/// Empty where it is for others to say. As Docker: a name that is here has no address of IPv6, and all but
/// its addresses are asked for outside.
std::string NameService::known_answer(const DnsQuestion& question, size_t most) {
    if (question.kind != DnsQuestion::kInternet || question.name.empty()) {
        return "";
    }
    if (question.type == DnsQuestion::kA || question.type == DnsQuestion::kAaaa) {
        const std::vector<uint32_t> addresses = names_.addresses_of(question.name);
        if (addresses.empty()) {
            return "";
        }
        return question.type == DnsQuestion::kA ? dns_addresses(question, addresses, most)
                                                : dns_reply(question, DnsResult::ok);
    }
    if (question.type == DnsQuestion::kPtr) {
        const auto address = question.reverse_address();
        const std::string name = address ? names_.name_of(*address) : "";
        return name.empty() ? "" : dns_name(question, name);
    }
    return "";
}

std::vector<SocketAddress> NameService::servers() const {
    return servers_.empty() ? addresses_of(host_resolver().servers) : servers_;
}

}  // namespace hull::container
