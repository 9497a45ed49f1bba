#include "vmm/machine/device_files.h"

#include <utility>

#include "base/error.h"
#include "devices/net/frame_stream.h"
#include "devices/net/tap.h"

namespace hull {

namespace {

std::vector<virtio::NetLink> open_tap_links(const NetConfig& net) {
    std::vector<virtio::NetLink> links;
    for (UniqueFd& fd : virtio::open_tap(net.tap, net.queues)) {
        links.push_back({std::move(fd), UniqueFd{}});
        if (net.vhost_is_wanted()) {
            if (auto vhost = virtio::open_vhost_net()) {
                links.back().vhost = std::move(*vhost);
            } else if (net.vhost) {
                throw Error{ExitStatus::bad_file, "cannot use vhost-net for '" + net.text() + "'",
                            "/dev/vhost-net is not there, not this user's to open, or lacks what is needed",
                            "load the module vhost_net, or leave vhost=on out"};
            }
        }
    }
    return links;
}

}  // namespace

virtio::DiskImage open_disk(const DiskConfig& disk, const std::string& name) {
    return disk.parts.empty() ? virtio::open_disk_image(disk.path, disk.use, disk.direct)
                              : virtio::open_joined_image(disk.parts, name, disk.use, disk.direct);
}

std::vector<virtio::NetLink> open_net(const NetConfig& net) {
    if (net.kind == NetConfig::Kind::tap) {
        return open_tap_links(net);
    }
    std::vector<virtio::NetLink> links;
    links.push_back({virtio::connect_frame_stream(net.socket), UniqueFd{}});
    return links;
}

}  // namespace hull
