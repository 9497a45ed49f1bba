// What a machine's keeper opens for it.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "base/unique_fd.h"
#include "devices/block/disk_image.h"
#include "devices/net/net.h"
#include "devices/virtio/vhost_user.h"
#include "devices/virtio/vhost_user_device.h"
#include "devices/vsock/host_socket.h"
#include "vmm/machine/snapshot.h"

namespace hull {

/// What is at the host's side of a port: a listening socket, or what is read and written.
struct PortFiles {
    UniqueFd listener;
    UniqueFd input;
    UniqueFd output;
};

/// A program that serves a device, and how it is found again when it is gone; not at all where there is no
/// such function.
struct ServerFiles {
    virtio::VhostUser server;
    virtio::VhostUserDevice::Find find = nullptr;
};

/// The other side of a network device that no program serves.
struct NetFiles {
    std::vector<virtio::NetLink> links;               ///< one for each of its pairs of queues
    std::function<UniqueFd()> find_stream = nullptr;  ///< see virtio::NetSettings
};

/// A machine that was frozen, and is to go on.
struct FrozenMachine {
    SnapshotState state;
    InputFile memory;
    bool stays_paused = false;  ///< until the keeper resumes it
};

/// The files of a machine, opened by its keeper: it opens none itself.
struct MachineFiles {
    UniqueFd kvm;                      ///< from open_kvm()
    InputFile kernel;                  ///< none where it is frozen
    std::vector<InputFile> initramfs;  ///< likewise
    std::optional<FrozenMachine> frozen;
    std::vector<virtio::DiskImage>
        disks;  ///< of those MachineConfig::disks that are files, in the same order
    std::vector<ServerFiles> disk_servers;  ///< of those that are not, likewise
    std::vector<NetFiles> nets;             ///< of those MachineConfig::nets that have no server, likewise
    std::vector<ServerFiles> net_servers;   ///< of those that have one, likewise
    std::vector<virtio::VhostUser> shares;  ///< of MachineConfig::shares, likewise
    UniqueFd view;                          ///< to the server of MachineConfig::view
    std::vector<PortFiles> ports;           ///< of MachineConfig::ports, likewise
    UniqueFd vsock;                         ///< the listener of MachineConfig::vsock
    virtio::HostConnector vsock_connector;  ///< to the programs that listen for the guest
    UniqueFd console_output;                ///< where the console's output goes
    UniqueFd console_input;                 ///< where its input comes from; none where there is no input
    bool input_is_terminal = false;

    /// The numbers of all of them, -1 among them for what is none; not what the functions need.
    [[nodiscard]] std::vector<int> descriptors() const;
};

}  // namespace hull
