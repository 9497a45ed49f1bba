#include "container/network/datagram_relay.h"

#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace hull::container {

namespace {

constexpr size_t kMostBytes = size_t{64} << 10;  // no datagram has more
constexpr int kAtATime = 16;                     // then others have their turn

/// A message with where at the host it was met, or is to be sent from.
class Message {
  public:
    Message(sockaddr_in6& address, void* bytes, size_t size) : part_{bytes, size} {
        header_.msg_name = &address;
        header_.msg_namelen = sizeof address;
        header_.msg_iov = &part_;
        header_.msg_iovlen = 1;
        header_.msg_control = control_;
        header_.msg_controllen = sizeof control_;
    }
    ssize_t receive(int socket, in6_pktinfo& met_at) {
        const ssize_t got = recvmsg(socket, &header_, MSG_DONTWAIT);
        for (cmsghdr* part = CMSG_FIRSTHDR(&header_); got >= 0 && part != nullptr;
             part = CMSG_NXTHDR(&header_, part)) {
            if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
                memcpy(&met_at, CMSG_DATA(part), sizeof met_at);
            }
        }
        return got;
    }
    void send(int socket, in6_pktinfo from) {
        if (!IN6_IS_ADDR_LINKLOCAL(&from.ipi6_addr)) {
            from.ipi6_ifindex = 0;  // the routes know better
        }
        cmsghdr* const part = CMSG_FIRSTHDR(&header_);
        part->cmsg_level = IPPROTO_IPV6;
        part->cmsg_type = IPV6_PKTINFO;
        part->cmsg_len = CMSG_LEN(sizeof from);
        memcpy(CMSG_DATA(part), &from, sizeof from);
        sendmsg(socket, &header_, MSG_DONTWAIT | MSG_NOSIGNAL);  // one that is lost is lost, as ever
    }

  private:
    iovec part_;
    msghdr header_{};
    alignas(cmsghdr) char control_[CMSG_SPACE(sizeof(in6_pktinfo))]{};
};

/// One of this host's that is not its loopback's; 0.0.0.0 where it has none.
SocketAddress other_address() {
    const std::vector<std::string> own = own_addresses();
    const auto found =
        std::ranges::find_if(own, [](const std::string& ip) { return !ip.starts_with("127."); });
    return found == own.end() ? SocketAddress{} : SocketAddress::parse(*found, 0).value();
}

}  // namespace

DatagramRelay::DatagramRelay(EventLoop& loop, std::chrono::milliseconds patience)
    : loop_{loop}, patience_{patience} {}

DatagramRelay::~DatagramRelay() {
    while (!clients_.empty()) {
        forget(clients_.begin());
    }
    for (const Port& port : ports_) {
        loop_.forget(port.socket.get());
    }
}

void DatagramRelay::add(UniqueFd socket, const SocketAddress& to) {
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
    room_.resize(kMostBytes);
    const Port& port = ports_.emplace_back(Port{std::move(socket), to});
    loop_.watch(port.socket.get(), [this, &port] { take(port); });
}

void DatagramRelay::take(const Port& port) {
    for (int count = 0; count < kAtATime; ++count) {
        sockaddr_in6 from{};
        in6_pktinfo met_at{};
        const ssize_t got = Message{from, room_.data(), room_.size()}.receive(port.socket.get(), met_at);
        if (got < 0) {
            return;
        }
        auto client = find(port, from);
        if (client == clients_.end()) {
            client = add_client(port, from);
        }
        if (client != clients_.end()) {
            client->met_at = met_at;
            hear(client);
            ::send(client->socket.get(), room_.data(), static_cast<size_t>(got), MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
}

void DatagramRelay::give_back(Clients::iterator client) {
    for (int count = 0; count < kAtATime; ++count) {
        const ssize_t got = recv(client->socket.get(), room_.data(), room_.size(), MSG_DONTWAIT);
        if (got < 0) {
            return;  // or nobody listens there, which who sends over IPv4 is told, and here nobody
        }
        hear(client);
        Message{client->address, room_.data(), static_cast<size_t>(got)}.send(client->port->socket.get(),
                                                                              client->met_at);
    }
}

DatagramRelay::Clients::iterator DatagramRelay::find(const Port& port, const sockaddr_in6& address) {
    return std::ranges::find_if(clients_, [&](const Client& client) {
        return client.port == &port && memcmp(&client.address, &address, sizeof address) == 0;
    });
}

/// The end where the host has no socket for it.
DatagramRelay::Clients::iterator DatagramRelay::add_client(const Port& port, const sockaddr_in6& address) {
    if (clients_.size() == kMostClients) {
        forget(clients_.begin());
    }
    UniqueFd fd{socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    // A user network lets no guest answer to the loopback, but where that is asked for.
    if (port.to.ip() == "127.0.0.1") {
        const SocketAddress from = other_address();
        static_cast<void>(bind(fd.get(), from.get(), from.size()));  // else it is not answered
    }
    if (!fd.valid() || connect(fd.get(), port.to.get(), port.to.size()) != 0) {
        return clients_.end();
    }
    const int number = fd.get();
    const auto client = clients_.insert(
        clients_.end(), {.port = &port, .address = address, .met_at = {}, .socket = std::move(fd)});
    loop_.watch(number, [this, client] { give_back(client); });
    if (clients_.size() == 1) {
        loop_.set_deadline(patience_, [this] { forget_silent(); });
    }
    return client;
}

void DatagramRelay::hear(Clients::iterator client) {
    client->heard = Clock::now();
    clients_.splice(clients_.end(), clients_, client);
}

void DatagramRelay::forget(Clients::iterator client) {
    loop_.forget(client->socket.get());
    clients_.erase(client);
}

void DatagramRelay::forget_silent() {
    const Clock::time_point now = Clock::now();
    while (!clients_.empty() && clients_.front().heard + patience_ <= now) {
        forget(clients_.begin());
    }
    if (!clients_.empty()) {
        const auto left = clients_.front().heard + patience_ - now;
        loop_.set_deadline(std::chrono::ceil<std::chrono::milliseconds>(left), [this] { forget_silent(); });
    }
}

}  // namespace hull::container
