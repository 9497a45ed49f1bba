#include "devices/virtio/queue_worker.h"

#include <poll.h>

#include <utility>

#include "base/unique_fd.h"

namespace hull::virtio {

namespace {

/// Sleeps until a kick; false where the thread is to stop.
bool wait_for_kick(int kick_fd, int stop_fd) {
    pollfd entries[] = {{kick_fd, POLLIN, 0}, {stop_fd, POLLIN, 0}};
    while (poll(entries, 2, -1) < 0) {
    }
    if (entries[1].revents != 0) {
        return false;
    }
    drain_eventfd(kick_fd);
    return true;
}

}  // namespace

void serve_chains(ActiveQueue& queue, DriverCalls& driver, int stop_fd,
                  const std::function<uint32_t(const DescriptorChain&)>& serve) {
    do {
        queue.queue.hold_kicks();
        do {
            for (;;) {
                // A driver that never lets the queue run empty must not keep its reset from being done.
                if (is_readable(stop_fd)) {
                    return;
                }
                auto chain = queue.queue.pop();
                if (!chain) {
                    driver.needs_reset(chain.error().what);
                    return;
                }
                if (!*chain) {
                    break;
                }
                const uint32_t written = serve(**chain);
                queue.queue.push(std::move(**chain), written);
                if (queue.queue.interrupt_is_wanted()) {
                    driver.used_buffers(queue.index);
                }
            }
        } while (queue.queue.ask_for_kicks());
    } while (wait_for_kick(queue.kick_fd, stop_fd));
}

}  // namespace hull::virtio
