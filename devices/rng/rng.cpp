#include "devices/rng/rng.h"

#include <linux/virtio_ids.h>
#include <sys/random.h>

#include <algorithm>
#include <utility>

#include "devices/virtio/queue_worker.h"

namespace hull::virtio {

uint32_t Rng::type() const {
    return VIRTIO_ID_RNG;
}

void Rng::activate(Activation activation) {
    if (activation.queues.empty()) {
        return;
    }
    queue_ = std::move(activation.queues.front());
    worker_.start(
        [this, &driver = activation.driver](int stop_fd) { serve_chains(*queue_, driver, stop_fd, fill); });
}

uint32_t Rng::fill(const DescriptorChain& chain) {
    size_t written = 0;
    for (const iovec& segment : chain.writable()) {
        const size_t size = std::min(segment.iov_len, kMostPerRequest - written);
        const ssize_t got = getrandom(segment.iov_base, size, 0);
        if (got != static_cast<ssize_t>(segment.iov_len)) {
            written += got > 0 ? static_cast<size_t>(got) : 0;
            break;  // what was given is one piece, from the front
        }
        written += segment.iov_len;
    }
    return static_cast<uint32_t>(written);
}

void Rng::reset() {
    worker_.stop();
    queue_.reset();
}

}  // namespace hull::virtio
