// A 16550A UART (National Semiconductor PC16550D data sheet).
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>

#include "base/byte_sink.h"
#include "base/irq_line.h"
#include "devices/bus/bus.h"

namespace hull {

/// A UART with 16-byte receive FIFO. Transmission takes no time as long as the sink has room; without room
/// the transmitter shows as busy, so that it is the guest's driver that waits and never a vCPU thread. Any
/// thread may call any member.
class Serial final : public BusDevice {
  public:
    /// The number of ports that the registers take.
    static constexpr uint64_t kPorts = 8;

    /// `sink` and `irq` must outlive the port; where the sink makes the guest wait, output_ready() is called
    /// later. `on_input_room` is called, on a vCPU thread or by resume(), when receive()
    /// took less than was offered and would now take more.
    Serial(ByteSink& sink, IrqLine& irq, std::function<void()> on_input_room);

    void read(uint64_t offset, std::span<std::byte> data) override;
    void write(uint64_t offset, std::span<const std::byte> data) override;

    /// Offers bytes from outside; returns how many were taken from the front. None are taken until the
    /// guest's driver has the port open, which it shows by the receive interrupt and by OUT2, the output that
    /// in a PC lets interrupts through: what is typed early waits outside instead of being lost when the
    /// driver clears the FIFO. (A driver that only looks whether there is a chip enables interrupts too.)
    size_t receive(std::span<const uint8_t> bytes);

    /// The sink has room again.
    void output_ready();

    /// Takes no input until resume().
    void quiesce() override;
    void resume() override;
    void save(StateWriter& state) const override;
    void load(StateReader& state) override;

  private:
    [[nodiscard]] uint8_t read_register(uint64_t offset);
    void write_register(uint64_t offset, uint8_t value);
    void transmit(uint8_t value);
    [[nodiscard]] uint8_t interrupt_identification() const;
    [[nodiscard]] uint8_t modem_status() const;
    [[nodiscard]] size_t input_room() const;
    void update_interrupt();
    void tell_input_room(std::unique_lock<std::mutex> lock);

    ByteSink& sink_;
    IrqLine& irq_;
    const std::function<void()> on_input_room_;

    mutable std::mutex mutex_;  // guards all below
    std::array<uint8_t, 16> fifo_{};
    size_t fifo_start_ = 0;
    size_t fifo_size_ = 0;
    uint8_t interrupt_enable_ = 0;
    uint8_t fifo_control_ = 0;
    uint8_t line_control_ = 0;
    uint8_t modem_control_ = 0;
    uint8_t scratch_ = 0;
    uint8_t divisor_low_ = 1;
    uint8_t divisor_high_ = 0;
    bool transmitter_empty_ = true;
    bool transmit_interrupt_ = false;  // "transmitter empty" was not told yet
    bool overrun_ = false;             // a byte was lost in loopback
    bool input_waits_ = false;         // receive() took less than it was offered
    bool interrupt_asserted_ = false;
    bool quiesced_ = false;
};

}  // namespace hull
