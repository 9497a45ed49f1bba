// What the user says of a network device (--net).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "devices/net/net.h"
#include "devices/net/port_forward.h"
#include "vmm/machine/option_text.h"

namespace hull {

/// A network device of the guest's.
struct NetConfig {
    /// What is at its other side.
    enum class Kind {
        user,    ///< a network in user space, which needs no rights
        tap,     ///< a tap device of the host's
        socket,  ///< a program that takes a stream of frames, such as passt
        served,  ///< a vhost-user-net server, which has the queues
    };
    Kind kind = Kind::user;
    std::string tap;            ///< its name; Kind::tap only
    std::string socket;         ///< the unix socket that the program listens on; Kind::socket and served only
    uint32_t queues = 1;        ///< pairs of them; Kind::tap only
    std::optional<bool> vhost;  ///< whether the host's kernel serves them; none: where it can; Kind::tap only
    std::optional<virtio::MacAddress> mac;  ///< none: one by chance
    uint16_t mtu = 0;                       ///< the largest packet, in bytes; 0: what the other side has
    uint32_t pps = 0;                       ///< the most frames in a second each way; 0: any number
    uint64_t bps = 0;                       ///< the most bytes in a second each way; 0: any number
    // Kind::user only
    std::vector<virtio::PortForward> forwards;
    bool restricted = false;
    bool host_loopback = false;

    static constexpr uint16_t kLeastMtu = 1280;  ///< IPv6 needs so much (RFC 8200, 5)
    static constexpr uint16_t kMostMtu = 65521;  ///< so that a frame has at most 65535 bytes

    /// "user[,forward=[HOSTIP:]PORT:GUESTPORT[/udp]]…[,restrict][,host-loopback]",
    /// "tap=NAME[,queues=N][,vhost=on|off]" or "socket=PATH", and behind any of them
    /// "[,mac=XX:XX:XX:XX:XX:XX][,mtu=N][,pps=N][,bps=SIZE]"; or "socket=PATH,vhost-user[,mac=…][,mtu=N]"; as
    /// on the command line. Throws Error (usage).
    static NetConfig parse(const std::string& text);
    [[nodiscard]] std::string text() const;
    /// Whether vhost-net is to be used where the host has it. It knows no limits.
    [[nodiscard]] bool vhost_is_wanted() const { return vhost.value_or(pps == 0 && bps == 0); }
    /// The largest packet that the guest is told of, in bytes; 0 where it is told of none.
    [[nodiscard]] uint16_t mtu_in_use() const;

  private:
    /// False for a word that has no meaning there.
    bool take_word(const OptionWord& word);
    bool take_user_word(const OptionWord& word);
    bool take_tap_word(const OptionWord& word);
    bool take_socket_word(const OptionWord& word);
};

/// An address that was given to nobody (IEEE 802: locally administered), by chance.
virtio::MacAddress random_mac();
/// "02:00:5e:10:00:01".
std::string mac_text(const virtio::MacAddress& mac);

/// What remove() of a machine knows its network device of this number by, from 0.
inline std::string net_name(size_t number) {
    return "net" + std::to_string(number);
}

}  // namespace hull
