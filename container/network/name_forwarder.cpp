#include "container/network/name_forwarder.h"

#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace hull::container {

using std::chrono::steady_clock;

namespace {

constexpr size_t kLength = 2;  // bytes before each message of a stream

uint16_t number_by_chance() {
    uint16_t number = 0;
    [[maybe_unused]] const ssize_t got = getrandom(&number, sizeof number, 0);
    return number;
}

bool is_for_later(ssize_t result) {
    return result < 0 && (errno == EAGAIN || errno == EINTR);
}

}  // namespace

NameForwarder::NameForwarder(EventLoop& loop, std::chrono::milliseconds patience)
    : loop_{loop}, patience_{patience}, timer_{loop, [this] { take_time(); }} {}

NameForwarder::~NameForwarder() {
    for (Query& query : queries_) {
        close(query);
    }
}

bool NameForwarder::ask(const DnsQuestion& question, std::string query, bool by_stream,
                        std::vector<SocketAddress> servers, Done done) {
    if (queries_.size() >= kMost || (by_stream && static_cast<size_t>(std::ranges::count(
                                                      queries_, true, &Query::by_stream)) >= kMostByStream)) {
        return false;
    }
    servers.resize(std::min(servers.size(), kMostServers));
    queries_.push_back({.question = question,
                        .message = std::move(query),
                        .by_stream = by_stream,
                        .servers = std::move(servers),
                        .done = std::move(done)});
    try_next(std::prev(queries_.end()));
    return true;
}

/// Where no server is left, that is the end.
void NameForwarder::try_next(Place query) {
    close(*query);
    while (query->next < query->servers.size()) {
        if (begin(*query)) {
            const int fd = query->socket.get();
            if (query->by_stream) {
                loop_.watch(
                    fd, [this, query] { send_stream(query); }, EventLoop::Ready::to_write);
            } else {
                loop_.watch(fd, [this, query] { take_datagram(query); });
            }
            set_timer();
            return;
        }
    }
    const Query ended = std::move(*query);
    queries_.erase(query);
    set_timer();
    ended.done(ended.refusal);
}

bool NameForwarder::begin(Query& query) {
    const SocketAddress& server = query.servers[query.next++];
    query.id = number_by_chance();
    query.sent = 0;
    query.got.clear();
    query.deadline = steady_clock::now() + patience_;
    set_dns_id(query.message, query.id);
    const int kind = query.by_stream ? SOCK_STREAM : SOCK_DGRAM;
    query.socket =
        UniqueFd{::socket(server.is_ipv6() ? AF_INET6 : AF_INET, kind | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    const bool is_connected =
        query.socket.valid() && (connect(query.socket.get(), server.get(), server.size()) == 0 ||
                                 (query.by_stream && errno == EINPROGRESS));
    const bool is_sent = is_connected && (query.by_stream ||
                                          send(query.socket.get(), query.message.data(), query.message.size(),
                                               MSG_NOSIGNAL) == static_cast<ssize_t>(query.message.size()));
    if (!is_sent) {
        query.socket.reset();
    }
    return is_sent;
}

void NameForwarder::close(Query& query) {
    loop_.forget(query.socket.get());
    loop_.forget(query.socket.get(), EventLoop::Ready::to_write);
    query.socket.reset();
}

/// What is no reply to the question may be anybody's, and the true one is yet to come.
void NameForwarder::take_datagram(Place query) {
    std::array<char, DnsQuestion::kMostBytes> bytes{};
    const ssize_t got = recv(query->socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (is_for_later(got)) {
        return;
    }
    if (got < 0) {
        try_next(query);  // nobody is there
        return;
    }
    const std::string_view reply{bytes.data(), std::min(static_cast<size_t>(got), bytes.size())};
    if (is_reply_to(reply, query->question, query->id)) {
        take_reply(query, static_cast<size_t>(got) > bytes.size() ? dns_too_long(query->question)
                                                                  : std::string{reply});
    }
}

void NameForwarder::send_stream(Place query) {
    std::string whole;
    whole += static_cast<char>(query->message.size() >> 8);
    whole += static_cast<char>(query->message.size() & 0xff);
    whole += query->message;
    const ssize_t sent = send(query->socket.get(), whole.data() + query->sent, whole.size() - query->sent,
                              MSG_DONTWAIT | MSG_NOSIGNAL);
    if (is_for_later(sent)) {
        return;
    }
    if (sent < 0) {
        try_next(query);
        return;
    }
    query->sent += static_cast<size_t>(sent);
    if (query->sent == whole.size()) {
        loop_.forget(query->socket.get(), EventLoop::Ready::to_write);
        loop_.watch(query->socket.get(), [this, query] { take_stream(query); });
    }
}

void NameForwarder::take_stream(Place query) {
    std::array<char, DnsQuestion::kMostBytes> bytes{};
    const ssize_t got = recv(query->socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (is_for_later(got)) {
        return;
    }
    std::string& all = query->got;
    if (got > 0) {
        all.append(bytes.data(), static_cast<size_t>(got));
    }
    const size_t size = all.size() < kLength ? 0
                                             : static_cast<size_t>(static_cast<unsigned char>(all[0])) << 8 |
                                                   static_cast<unsigned char>(all[1]);
    if (all.size() >= kLength && all.size() - kLength >= size) {
        std::string reply = all.substr(kLength, size);
        if (is_reply_to(reply, query->question, query->id)) {
            take_reply(query, std::move(reply));
        } else {
            try_next(query);
        }
    } else if (got <= 0) {
        try_next(query);
    }
}

void NameForwarder::take_reply(Place query, std::string reply) {
    set_dns_id(reply, query->question.id);
    if (is_refusal(reply)) {
        query->refusal = std::move(reply);
        try_next(query);
        return;
    }
    close(*query);
    const Query ended = std::move(*query);
    queries_.erase(query);
    set_timer();
    ended.done(std::move(reply));
}

void NameForwarder::take_time() {
    const auto now = steady_clock::now();
    std::vector<Place> late;
    for (auto each = queries_.begin(); each != queries_.end(); ++each) {
        if (each->deadline <= now) {
            late.push_back(each);
        }
    }
    for (const Place each : late) {
        try_next(each);
    }
    set_timer();
}

/// For the first whose time is over.
void NameForwarder::set_timer() {
    std::chrono::nanoseconds delay{};
    if (!queries_.empty()) {
        const auto first = std::ranges::min_element(queries_, {}, &Query::deadline)->deadline;
        delay = std::max<std::chrono::nanoseconds>(first - steady_clock::now(), std::chrono::milliseconds{1});
    }
    timer_.set(delay);
}

}  // namespace hull::container
