// What a container is to be, whoever says so.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "container/image/image_config.h"
#include "container/network/subnet.h"
#include "vmm/agent/command_surroundings.h"

namespace hull::container {

/// A limit of a process's (setrlimit(2)).
struct ProcessLimit {
    uint32_t resource = 0;  ///< RLIMIT_…
    uint64_t soft = 0;      ///< all bits set: none
    uint64_t hard = 0;

    /// Docker's "NAME=SOFT[:HARD]", -1 for none. Throws Error (usage).
    static ProcessLimit parse(const std::string& text);
};

/// A folder that is in memory only.
struct TmpfsMount {
    std::string path;     ///< absolute
    uint64_t flags = 0;   ///< MS_…
    std::string options;  ///< of mount(2): "size=64m,mode=1777"

    /// Docker's "PATH[:OPTION,…]". Throws Error (usage).
    static TmpfsMount parse(const std::string& text);
};

/// A file or folder of the host's that is in the container, too, or a disk that is in no other machine.
struct SharedMount {
    /// How the machine has it. The guest may believe for a moment what it was told of files by a cached
    /// share.
    enum class By { share, cached_share, disk };
    static constexpr size_t kMostDisks = 16;  ///< of a container

    std::string source;  ///< absolute; a folder or a regular file; by disk: that, with an ext4 on it
    std::string target;  ///< absolute, without "..": in the container
    bool is_read_only = false;
    By by = By::share;
    /// Where nothing is in the folder yet, what the image has at the target is copied into it first.
    bool is_filled = false;
};

/// A socket of the host's that is in the container, too: who connects there is connected with the host's.
struct SharedSocket {
    static constexpr size_t kMost = 16;  ///< of a container

    std::string source;  ///< absolute
    std::string target;  ///< as SharedMount's
    uint32_t mode = 0;   ///< 0 to 0777; its owner is root
};

/// What the processes of a container may have together.
struct GroupLimits {
    std::optional<uint64_t> memory;       ///< bytes
    std::optional<uint64_t> kept_memory;  ///< bytes of it that they keep while the guest is short of memory
    std::optional<double> cpus;           ///< processors whose time they may use
    std::optional<uint32_t> processes;
};

/// Docker's sizes: bytes where no unit is given, or digits with K, M or G (powers of 1024). Throws Error
/// (usage), naming `option`.
uint64_t parse_size(const std::string& text, const std::string& option);

/// A plain value. The texts have no NUL.
struct ContainerConfig {
    std::string host_name;
    std::vector<std::string> command;      ///< the program first; not empty
    std::vector<std::string> environment;  ///< NAME=VALUE
    std::string user;                      ///< NAME|ID[:GROUP|ID]; empty: root
    std::string working_folder = "/";      ///< absolute
    bool tty = false;
    bool has_input = false;
    bool has_init = false;      ///< the command is the child of an init (agent::kInit)
    bool is_read_only = false;  ///< its root
    bool no_new_privileges = false;
    uint64_t capabilities = kDefaultCapabilities;  ///< bit N is capability N
    std::vector<ProcessLimit> limits;  ///< besides Docker's: a million open files, any number of processes
    std::vector<TmpfsMount> tmpfs;
    std::vector<SharedMount> shared;
    std::vector<SharedSocket> sockets;
    uint64_t shm_size = uint64_t{64} << 20;  ///< bytes of /dev/shm
    GroupLimits group;
    bool has_network = true;
    std::vector<Endpoint> endpoints;  ///< by its interfaces; none: the user network, where it has one
    /// Lines of /etc/hosts. Where one begins with kHostGateway, that is the host's address as the container's
    /// network has it.
    std::vector<std::string> extra_hosts;
    static constexpr std::string_view kHostGateway = "host-gateway";
    /// One of its networks was made by a user, whose containers are found by their names, or the host's name
    /// servers are out of its reach: whoever runs it answers its questions (NameService), at the address
    /// kNames.
    bool has_names = false;
    static constexpr uint32_t kNames = 0x7f00'000b;
    /// Of resolv.conf; none: the network's own. Where has_names is set those who are asked for what is not
    /// answered here; none: the host's.
    std::vector<std::string> name_servers;
    std::vector<std::string> search_domains;    ///< of resolv.conf
    std::vector<std::string> resolver_options;  ///< likewise
    std::vector<std::string> sysctls;           ///< "net.ipv4.ip_forward=1"
    /// Nothing of the guest's kernel is hidden or unwritable; the capabilities stand above.
    bool is_privileged = false;
    uint16_t rows = 0;  ///< of its terminal when it starts; 0: not known
    uint16_t columns = 0;

    /// The one over which all goes for which there is no other way; null where nothing leads out of its
    /// networks, or it has the user network.
    [[nodiscard]] const Endpoint* way_out() const;
};

/// What a user says beside an image; what is not said is the image's.
struct ImageOverrides {
    std::optional<std::vector<std::string>> entrypoint{};  ///< one empty text: none
    std::vector<std::string> command{};
    /// NAME=VALUE; NAME alone takes that variable away.
    std::vector<std::string> environment{};
    std::string user{};
    std::string working_folder{};
};

/// Puts into `config` (whose `tty` and `host_name` are set) what an image and a user say together, by
/// Docker's rules. Throws Error (usage) where there is no command.
void apply_image(ContainerConfig& config, const ImageConfig& image, const ImageOverrides& overrides);

/// The bits of a capability's name ("NET_ADMIN", "cap_net_admin", "ALL"); nothing if there is none of that
/// name.
std::optional<uint64_t> capability_bits(std::string name);

/// Takes such names out of `capabilities` and puts others in, as Docker
/// does. Throws Error (usage).
uint64_t change_capabilities(uint64_t capabilities, const std::vector<std::string>& added,
                             const std::vector<std::string>& dropped);

}  // namespace hull::container
