#include "devices/console/descriptor_host.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/log.h"

namespace hull::virtio {

DescriptorHost::DescriptorHost(UniqueFd input, UniqueFd output, std::string name)
    : input_{std::move(input)}, output_{std::move(output)}, name_{std::move(name)} {}

size_t DescriptorHost::write(std::span<const std::byte> bytes) {
    const ssize_t written = ::write(output_.get(), bytes.data(), bytes.size());
    if (written >= 0) {
        return static_cast<size_t>(written);
    }
    if (errno == EAGAIN || errno == EINTR) {
        return 0;
    }
    if (!std::exchange(told_failure_, true)) {
        log_warning(name_ + ": cannot write what the guest sends: " + errno_text(errno) + "; it is dropped");
    }
    return bytes.size();
}

size_t DescriptorHost::read(std::span<std::byte> target) {
    if (!input_.valid()) {
        return 0;
    }
    const ssize_t got = ::read(input_.get(), target.data(), target.size());
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        input_.reset();  // its end
    }
    return got > 0 ? static_cast<size_t>(got) : 0;
}

PortHost::Waits DescriptorHost::waits(const Wishes& wishes) const {
    return {pollfd{wishes.input ? input_.get() : -1, POLLIN, 0},
            pollfd{wishes.output ? output_.get() : -1, POLLOUT, 0}};
}

}  // namespace hull::virtio
