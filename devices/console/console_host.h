// The console that the whole machine has, as the host's side of a port.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "base/byte_sink.h"
#include "base/unique_fd.h"
#include "devices/console/port_host.h"

namespace hull::virtio {

/// Hands what the guest prints to a sink, and keeps what is typed until the guest reads it.
class ConsoleHost final : public PortHost {
  public:
    /// What is kept of what is typed.
    static constexpr size_t kInputRoom = 4096;

    /// `sink` must outlive the use of this object. `on_input_room` is called, on the port's thread, when
    /// receive() took less than was offered and would now take more.
    ConsoleHost(ByteSink& sink, std::function<void()> on_input_room);

    size_t write(std::span<const std::byte> bytes) override;
    size_t read(std::span<std::byte> target) override;
    [[nodiscard]] Waits waits(const Wishes& wishes) const override;
    void take_events(const Waits& waits) override;

    /// Offers bytes from outside; returns how many were taken from the front. Any thread.
    size_t receive(std::span<const uint8_t> bytes);
    /// The sink has room again. Any thread.
    void output_ready();

  private:
    ByteSink& sink_;
    const std::function<void()> on_input_room_;
    UniqueFd wake_ = make_eventfd();
    std::atomic<bool> sink_is_full_{false};
    std::mutex mutex_;  // guards all below
    std::string typed_;
    bool input_waits_ = false;  // receive() took less than it was offered
};

}  // namespace hull::virtio
