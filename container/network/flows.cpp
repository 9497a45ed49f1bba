#include "container/network/flows.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

namespace hull::container {

namespace {

constexpr size_t kMostFlows = size_t{1} << 16;  // of one container's, so many are forgotten

template <typename Value>
std::optional<Value> value_of(std::string_view bytes) {
    Value value{};
    if (bytes.size() < sizeof value) {
        return std::nullopt;
    }
    memcpy(&value, bytes.data(), sizeof value);
    return value;
}

/// The bytes of an attribute among those that lie in `all`; none where it is not there.
std::string_view attribute(std::string_view all, unsigned type) {
    while (const auto header = value_of<nlattr>(all)) {
        if (header->nla_len < NLA_HDRLEN || header->nla_len > all.size()) {
            break;
        }
        if ((header->nla_type & NLA_TYPE_MASK) == type) {
            return all.substr(NLA_HDRLEN, header->nla_len - NLA_HDRLEN);
        }
        all.remove_prefix(std::min<size_t>(NLA_ALIGN(header->nla_len), all.size()));
    }
    return {};
}

/// One direction of a flow. Numbers of the host's order, 0 where it has none.
struct Direction {
    uint32_t from = 0;
    uint32_t to = 0;
    uint8_t protocol = 0;
    uint16_t to_port = 0;

    explicit Direction(std::string_view tuple) {
        const std::string_view ip = attribute(tuple, CTA_TUPLE_IP);
        const std::string_view ports = attribute(tuple, CTA_TUPLE_PROTO);
        from = ntohl(value_of<uint32_t>(attribute(ip, CTA_IP_V4_SRC)).value_or(0));
        to = ntohl(value_of<uint32_t>(attribute(ip, CTA_IP_V4_DST)).value_or(0));
        protocol = value_of<uint8_t>(attribute(ports, CTA_PROTO_NUM)).value_or(0);
        to_port = ntohs(value_of<uint16_t>(attribute(ports, CTA_PROTO_DST_PORT)).value_or(0));
    }
};

/// A conversation with the kernel's conntrack.
class Conntrack {
  public:
    Conntrack() {
        const timeval patience{.tv_sec = 2, .tv_usec = 0};
        setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    }

    bool ask(uint16_t what, uint16_t flags, std::string_view attributes) {
        struct {
            nlmsghdr header;
            nfgenmsg about;
        } begin{};
        begin.header.nlmsg_len = static_cast<uint32_t>(sizeof begin + attributes.size());
        begin.header.nlmsg_type = static_cast<uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | what);
        begin.header.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
        begin.about.nfgen_family = AF_INET;
        std::string message(sizeof begin, '\0');
        memcpy(message.data(), &begin, sizeof begin);
        message += attributes;
        return send(socket_.get(), message.data(), message.size(), 0) == static_cast<ssize_t>(message.size());
    }

    /// Has `take` look at each flow that the kernel lists. False where it does not.
    template <typename Take>
    bool listen(const Take& take) {
        std::string room(size_t{64} << 10, '\0');
        for (;;) {
            const ssize_t got = recv(socket_.get(), room.data(), room.size(), 0);
            if (got <= 0) {
                return false;
            }
            std::string_view all{room.data(), static_cast<size_t>(got)};
            while (const auto header = value_of<nlmsghdr>(all)) {
                if (header->nlmsg_type == NLMSG_DONE) {
                    return true;
                }
                if (header->nlmsg_type == NLMSG_ERROR || header->nlmsg_len > all.size() ||
                    header->nlmsg_len < NLMSG_HDRLEN + sizeof(nfgenmsg)) {
                    return false;
                }
                constexpr size_t kBefore = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg));
                take(all.substr(kBefore, header->nlmsg_len - kBefore));
                all.remove_prefix(std::min<size_t>(NLMSG_ALIGN(header->nlmsg_len), all.size()));
            }
        }
    }

  private:
    UniqueFd socket_{socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER)};
};

/// Whether it came to one of the ports.
bool is_of(const Direction& flow, const std::vector<PublishedPort>& ports,
           const std::vector<std::string>& own) {
    const std::string to = SocketAddress{flow.to, 0}.ip();
    return flow.protocol == IPPROTO_UDP && std::ranges::any_of(ports, [&](const PublishedPort& port) {
               const std::string ip = port.host.ip();
               return port.is_udp && port.host.port() == flow.to_port &&
                      (ip == to || (ip == "0.0.0.0" && std::ranges::find(own, to) != own.end()));
           });
}

}  // namespace

bool forget_flows(uint32_t address, const std::vector<PublishedPort>& ports) {
    const std::vector<std::string> own = own_addresses();
    Conntrack kernel;
    std::vector<std::string> found;
    const bool is_listed =
        kernel.ask(IPCTNL_MSG_CT_GET, NLM_F_DUMP, {}) && kernel.listen([&](std::string_view flow) {
            const std::string_view tuple = attribute(flow, CTA_TUPLE_ORIG);
            const Direction there{tuple};
            const Direction back{attribute(flow, CTA_TUPLE_REPLY)};
            const bool is_meant = there.from == address || there.to == address || back.from == address ||
                                  is_of(there, ports, own);
            if (is_meant && found.size() < kMostFlows) {
                found.emplace_back(tuple);
            }
        });
    for (const std::string& tuple : found) {
        const nlattr header{.nla_len = static_cast<uint16_t>(NLA_HDRLEN + tuple.size()),
                            .nla_type = CTA_TUPLE_ORIG | NLA_F_NESTED};
        std::string attributes(NLA_HDRLEN, '\0');
        memcpy(attributes.data(), &header, sizeof header);
        kernel.ask(IPCTNL_MSG_CT_DELETE, 0, attributes + tuple);  // it may have ended by itself
    }
    return is_listed;
}

}  // namespace hull::container
