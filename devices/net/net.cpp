#include "devices/net/net.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "devices/net/frame_stream.h"
#include "devices/net/layout.h"
#include "devices/net/tap.h"
#include "devices/virtio/queue_worker.h"

namespace hull::virtio {

namespace {

constexpr uint16_t kQueueSize = 256;
constexpr uint16_t kControlQueueSize = 64;

/// 5.1.3: frames whose checksum or segments the other one completes, in both directions.
constexpr uint64_t kOffloads = feature(VIRTIO_NET_F_CSUM) | feature(VIRTIO_NET_F_HOST_TSO4) |
                               feature(VIRTIO_NET_F_HOST_TSO6) | feature(VIRTIO_NET_F_HOST_ECN) |
                               feature(VIRTIO_NET_F_GUEST_CSUM) | feature(VIRTIO_NET_F_GUEST_TSO4) |
                               feature(VIRTIO_NET_F_GUEST_TSO6) | feature(VIRTIO_NET_F_GUEST_ECN);

uint64_t features_of(NetOffloads offloads) {
    switch (offloads) {
        case NetOffloads::none:
            break;
        case NetOffloads::checked:
            return feature(VIRTIO_NET_F_GUEST_CSUM);
        case NetOffloads::all:
            return kOffloads;
    }
    return 0;
}

}  // namespace

Net::Net(NetSettings settings, std::vector<NetLink> links)
    : settings_{std::move(settings)},
      queue_sizes_(2 * links.size(), kQueueSize),
      to_guest_{settings_.frames_per_second, settings_.bytes_per_second},
      from_guest_{settings_.frames_per_second, settings_.bytes_per_second} {
    for (NetLink& link : links) {
        pairs_.push_back(
            std::make_unique<Pair>(std::move(link), settings_.stream, name_of_pair(pairs_.size())));
    }
    if (pairs_.size() > 1) {
        queue_sizes_.push_back(kControlQueueSize);
        control_worker_.emplace(ThreadKind::net, settings_.name + "-ctrl");
    }
}

uint32_t Net::type() const {
    return VIRTIO_ID_NET;
}

uint64_t Net::features() const {
    return feature(VIRTIO_NET_F_MAC) | feature(VIRTIO_NET_F_MRG_RXBUF) | feature(VIRTIO_NET_F_STATUS) |
           feature(VIRTIO_F_RING_RESET) | (settings_.mtu != 0 ? feature(VIRTIO_NET_F_MTU) : 0) |
           (pairs_.size() > 1 ? feature(VIRTIO_NET_F_MQ) | feature(VIRTIO_NET_F_CTRL_VQ) : 0) |
           features_of(settings_.offloads);
}

void Net::read_configuration(uint64_t offset, std::span<std::byte> data) const {
    virtio_net_config config{};
    std::ranges::copy(settings_.mac, config.mac);
    config.status = link_is_up_ ? VIRTIO_NET_S_LINK_UP : 0;
    config.max_virtqueue_pairs = static_cast<uint16_t>(pairs_.size());
    config.mtu = settings_.mtu;
    const auto bytes = std::as_bytes(std::span{&config, 1});
    if (offset < bytes.size()) {
        const std::span<const std::byte> rest = bytes.subspan(static_cast<size_t>(offset));
        std::memcpy(data.data(), rest.data(), std::min(data.size(), rest.size()));
    }
}

void Net::activate(Activation activation) {
    // 5.1.2: without VIRTIO_NET_F_MQ there is one pair, whatever the device could have.
    const bool several = (activation.features & feature(VIRTIO_NET_F_MQ)) != 0;
    const size_t pairs = several ? pairs_.size() : 1;
    for (ActiveQueue& queue : activation.queues) {
        const size_t number = queue.index / 2;
        if (number < pairs) {
            Pair& pair = *pairs_[number];
            (queue.index % 2 == 0 ? pair.receive : pair.transmit).emplace(std::move(queue));
        } else if (queue.index == 2 * pairs) {
            control_queue_.emplace(std::move(queue));
        }
    }
    if (settings_.offloads == NetOffloads::all) {
        pairs_.front()->worker.call([this, features = activation.features] {
            if (!set_tap_offloads(pairs_.front()->link.get(), features)) {
                log_.warning(settings_.name + ": the host refuses the guest's offloads");
            }
            use_pairs(pairs_used_);
        });
    }
    for (size_t number = 0; number < pairs; ++number) {
        if (pairs_[number]->receive && pairs_[number]->transmit) {
            start(*pairs_[number], number, activation);
        }
    }
    if (control_queue_) {
        control_worker_->start([this, &driver = activation.driver](int stop_fd) {
            serve_chains(*control_queue_, driver, stop_fd,
                         [this](const DescriptorChain& chain) { return control(chain); });
        });
    }
}

std::string Net::name_of_pair(size_t number) const {
    return settings_.name + (number == 0 ? "" : "-" + std::to_string(number));
}

bool Net::serve_by_kernel(Pair& pair, GuestMemory& memory, uint64_t features, DriverCalls& driver,
                          int stop_fd) {
    if (!pair.vhost || !pair.vhost->start(memory, features, *pair.receive, *pair.transmit, pair.link.get())) {
        return false;
    }
    pair.vhost->relay_calls(stop_fd, driver, *pair.receive, *pair.transmit);
    pair.vhost->stop();
    return true;
}

void Net::start(Pair& pair, size_t number, const Activation& activation) {
    DriverCalls& driver = activation.driver;
    const NetQueues::Sides sides{.receive = *pair.receive,
                                 .transmit = *pair.transmit,
                                 .driver = driver,
                                 .link_fd = pair.link.get(),
                                 .program = settings_.offloads != NetOffloads::all,
                                 .stream = pair.stream ? &*pair.stream : nullptr,
                                 .merge = (activation.features & feature(VIRTIO_NET_F_MRG_RXBUF)) != 0,
                                 .headers = (activation.features & feature(VIRTIO_NET_F_GUEST_CSUM)) != 0,
                                 .to_guest = to_guest_,
                                 .from_guest = from_guest_};
    pair.worker.start([this, &pair, number, &memory = activation.memory, features = activation.features,
                       sides, watch = watch(pair, driver)](int stop_fd) {
        if (serve_by_kernel(pair, memory, features, sides.driver, stop_fd)) {
            return;
        }
        if (pair.vhost) {
            log_.warning(name_of_pair(number) +
                         ": the host's kernel does not take its queues (vhost-net), so hull serves them");
        }
        NetQueues queues{sides};
        queues.serve(stop_fd, watch);
    });
}

NetQueues::LinkWatch Net::watch(Pair& pair, DriverCalls& driver) {
    NetQueues::LinkWatch watch{.changed =
                                   [this, &driver](bool is_up) {
                                       link_is_up_ = is_up;
                                       driver.configuration_changed();
                                   },
                               .find = nullptr};
    if (settings_.find_stream) {
        watch.find = [this, &pair] {
            pair.link.reset();
            pair.link = settings_.find_stream();
            *pair.stream = FrameStream{pair.link.get()};  // what had not left whole is lost with the old one
            return pair.link.get();
        };
    }
    return watch;
}

uint32_t Net::control(const DescriptorChain& chain) {
    ChainReader reader = chain.reader();
    const auto header = reader.read<virtio_net_ctrl_hdr>();
    const auto count = reader.read<uint16_t>();
    const bool is_pairs = header && count && header->class_of_frames == VIRTIO_NET_CTRL_MQ &&
                          header->cmd == VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET;
    const bool done = is_pairs && *count >= 1 && *count <= pairs_.size() && use_pairs(*count);
    ChainWriter writer = chain.writer();
    const uint8_t answer = done ? VIRTIO_NET_OK : VIRTIO_NET_ERR;
    return writer.write(answer) ? sizeof answer : 0;
}

bool Net::use_pairs(size_t count) {
    bool done = true;
    for (size_t number = 0; number < pairs_.size() && pairs_.size() > 1; ++number) {
        Pair& pair = *pairs_[number];
        const bool attach = number < count;
        if (attach != pair.attached) {
            // Else the host would spread frames over queues that nobody looks at.
            if (attach_tap_queue(pair.link.get(), attach)) {
                pair.attached = attach;
            } else {
                done = false;
            }
        }
    }
    if (done) {
        pairs_used_ = count;
    }
    return done;
}

void Net::reset() {
    stop();
    pairs_used_ = 1;  // 5.1.6.5.5: until the driver asks for more
}

void Net::save(StateWriter& state) const {
    state.put(static_cast<uint16_t>(pairs_used_));
}

void Net::load(StateReader& state) {
    pairs_used_ = state.get<uint16_t>();
    state.require(pairs_used_ >= 1 && pairs_used_ <= pairs_.size(),
                  "its driver uses queues that are not there");
}

void Net::stop() {
    if (control_worker_) {
        control_worker_->stop();
    }
    control_queue_.reset();
    for (const auto& pair : pairs_) {
        pair->worker.stop();
        pair->receive.reset();
        pair->transmit.reset();
    }
}

}  // namespace hull::virtio
