// What a guest sends into its user network: frames that are mostly sound, with some bytes changed. It is
// restricted, so that nothing leaves for the host; the guest takes answers as slowly as it likes.
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "base/unique_fd.h"
#include "devices/net/layout.h"
#include "devices/net/user/user_network.h"
#include "tests/fuzz/input.h"

namespace {

using namespace hull;
using test::require;

using Bytes = std::vector<uint8_t>;
constexpr size_t kIp = sizeof(ether_header);

void append(Bytes& bytes, std::initializer_list<size_t> values) {
    for (const size_t value : values) {
        bytes.push_back(static_cast<uint8_t>(value));
    }
}

/// RFC 1071. `sum` is of what is not among the bytes.
uint16_t checksum(std::span<const uint8_t> bytes, uint32_t sum = 0) {
    for (size_t at = 0; at < bytes.size(); ++at) {
        sum += at % 2 == 0 ? uint32_t{bytes[at]} << 8 : bytes[at];
    }
    while (sum >> 16 != 0) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<uint16_t>(~sum);
}

void put_checksum(Bytes& frame, size_t at, uint16_t value) {
    frame.at(at) = static_cast<uint8_t>(value >> 8);
    frame.at(at + 1) = static_cast<uint8_t>(value);
}

Bytes ethernet(size_t type) {
    Bytes frame;
    append(frame, {0x52, 0x55, 0x0a, 0x00, 0x02, 0x02, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56});
    append(frame, {type >> 8, type & 0xff});
    return frame;
}

/// An IPv4 packet from the guest to one of the network's own addresses.
Bytes ipv4(uint8_t protocol, uint8_t host, const Bytes& payload) {
    Bytes frame = ethernet(ETHERTYPE_IP);
    const size_t length = 20 + payload.size();
    append(frame, {0x45, 0, length >> 8, length & 0xff, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 2, 15,
                   10,   0, 2,           host});
    frame.insert(frame.end(), payload.begin(), payload.end());
    return frame;
}

/// An IPv6 packet to the router.
Bytes ipv6(uint8_t next, const Bytes& payload) {
    Bytes frame = ethernet(ETHERTYPE_IPV6);
    append(frame, {0x60, 0, 0, 0, payload.size() >> 8, payload.size() & 0xff, next, 255});
    append(frame, {0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0x50, 0x54, 0, 0xff, 0xfe, 0x12, 0x34, 0x56});
    append(frame, {0xfe, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2});
    frame.insert(frame.end(), payload.begin(), payload.end());
    return frame;
}

Bytes udp(size_t port, Bytes payload) {
    Bytes packet;
    const size_t length = 8 + payload.size();
    append(packet, {0, 68, port >> 8, port & 0xff, length >> 8, length & 0xff, 0, 0});
    packet.insert(packet.end(), payload.begin(), payload.end());
    return packet;
}

Bytes make_frame(test::FuzzInput& input) {
    const size_t kind = input.byte();
    switch (kind % 8) {
        case 0: {
            Bytes frame = ethernet(ETHERTYPE_ARP);
            append(frame, {0,  1, 8, 0,  6, 4, 0, 1, 0x52, 0x54, 0,  0x12, 0x34, 0x56,
                           10, 0, 2, 15, 0, 0, 0, 0, 0,    0,    10, 0,    2,    kind >> 4});
            return frame;
        }
        case 1: {
            // DHCP: discover or request.
            Bytes dhcp{1, 1, 6, 0, 1, 2, 3, 4};
            dhcp.resize(28);
            append(dhcp, {0x52, 0x54, 0, 0x12, 0x34, 0x56});
            dhcp.resize(236);
            append(dhcp, {0x63, 0x82, 0x53, 0x63, 53, 1,   (kind & 16) != 0 ? size_t{3} : 1,
                          50,   4,    10,   0,    2,  15,  55,
                          2,    1,    3,    12,   1,  'g', 255});
            return ipv4(IPPROTO_UDP, 255, udp(67, dhcp));
        }
        case 2: {
            // TFTP, names, or another port.
            static constexpr uint16_t kPorts[] = {69, 53, 7, 547};
            return ipv4(IPPROTO_UDP, static_cast<uint8_t>(2 + (kind >> 4 & 1)),
                        udp(kPorts[kind >> 5 & 3], {0, 1, 'f', 0, 'o', 'c', 't', 'e', 't', 0}));
        }
        case 3: {
            // A part of a connection, which it refuses.
            Bytes tcp{0x40,         1,    0,    80, 0, 0, 0, 1, 0, 0, 0,   0, 0x60,
                      input.byte(), 0xff, 0xff, 0,  0, 0, 0, 2, 4, 5, 0xb4};
            return ipv4(IPPROTO_TCP, static_cast<uint8_t>(2 + (kind >> 4)), tcp);
        }
        case 4:
            return ipv4(IPPROTO_ICMP, static_cast<uint8_t>(2 + (kind >> 4)),
                        {8, 0, 0, 0, 0, 1, 0, 1, 'p', 'i', 'n', 'g'});
        case 5: {
            // Neighbor discovery: solicitations, advertisements, echo.
            static constexpr uint8_t kTypes[] = {133, 135, 136, 128};
            Bytes icmp{kTypes[kind >> 4 & 3], 0, 0, 0, 0, 0, 0, 0};
            append(icmp, {0xfe, 0xc0, 0, 0, 0, 0, 0,    0,    0, 0,    0,    0,
                          0,    0,    0, 2, 1, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56});
            return ipv6(IPPROTO_ICMPV6, icmp);
        }
        case 6:
            return ipv6(IPPROTO_UDP, udp((kind & 16) != 0 ? 547 : 69, {1, 2, 3, 4, 0, 1, 0, 2, 0, 0}));
        default: {
            Bytes frame = ethernet(input.half_word());
            frame.resize(kIp + input.byte());
            return frame;
        }
    }
}

/// Some bytes changed, mostly with checksums that fit again.
void spoil(Bytes& frame, test::FuzzInput& input) {
    const uint8_t how = input.byte();
    for (int change = 0; change < (how & 3); ++change) {
        frame[input.byte() % frame.size()] = input.byte();
    }
    if ((how & 4) != 0) {
        frame.resize(kIp + input.half_word() % 2000);
    }
    if ((how & 8) != 0) {
        return;
    }
    const bool is_ipv4 = frame.size() >= kIp + 20 && frame[12] == 8 && frame[13] == 0;
    const bool is_ipv6 = frame.size() >= kIp + 40 && frame[12] == 0x86;
    if (is_ipv4) {
        const size_t header = std::min<size_t>((frame[kIp] & 15U) * 4U, frame.size() - kIp);
        put_checksum(frame, kIp + 10, 0);
        put_checksum(frame, kIp + 10, checksum(std::span{frame}.subspan(kIp, header)));
        const auto payload = std::span{frame}.subspan(kIp + header);
        const uint8_t protocol = frame[kIp + 9];
        if (protocol == IPPROTO_ICMP && payload.size() >= 4) {
            put_checksum(frame, kIp + header + 2, 0);
            put_checksum(frame, kIp + header + 2, checksum(payload));
        } else if (protocol == IPPROTO_TCP && payload.size() >= 20) {
            put_checksum(frame, kIp + header + 16, 0);
            const uint32_t pseudo = ~checksum(std::span{frame}.subspan(kIp + 12, 8), IPPROTO_TCP) & 0xffffU;
            put_checksum(frame, kIp + header + 16,
                         checksum(payload, pseudo + static_cast<uint32_t>(payload.size())));
        }
    } else if (is_ipv6) {
        const auto payload = std::span{frame}.subspan(kIp + 40);
        const size_t at = frame[kIp + 6] == IPPROTO_UDP ? 6 : 2;
        if (payload.size() >= 8) {
            put_checksum(frame, kIp + 40 + at, 0);
            const uint32_t pseudo =
                ~checksum(std::span{frame}.subspan(kIp + 8, 32), frame[kIp + 6]) & 0xffffU;
            put_checksum(frame, kIp + 40 + at,
                         checksum(payload, pseudo + static_cast<uint32_t>(payload.size())));
        }
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    int pair[2] = {};
    require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    UniqueFd link{pair[0]};
    const UniqueFd guest{pair[1]};
    if ((input.byte() & 1) != 0) {
        const int least = 1;
        setsockopt(link.get(), SOL_SOCKET, SO_SNDBUF, &least, sizeof least);  // its answers have to wait
    }
    virtio::UserNetwork network{{.forwards = {}, .restricted = true}, std::move(link)};
    for (int frames = 0; !input.empty() && frames < 64; ++frames) {
        Bytes frame = make_frame(input);
        spoil(frame, input);
        Bytes message(sizeof(virtio_net_hdr_v1));
        message.insert(message.end(), frame.begin(), frame.end());
        static_cast<void>(write(guest.get(), message.data(), message.size()));
    }
    shutdown(guest.get(), SHUT_WR);
    network.serve();
    // Whatever it answered is a frame.
    std::array<uint8_t, 0x2'0000> answer{};
    for (ssize_t got = 0; (got = read(guest.get(), answer.data(), answer.size())) > 0;) {
        require(static_cast<size_t>(got) >= sizeof(virtio_net_hdr_v1) + sizeof(ether_header));
    }
    return 0;
}
