#include "devices/legacy/serial.h"

#include <linux/serial_reg.h>

#include <algorithm>
#include <utility>

namespace hull {

namespace {

constexpr uint8_t kInterrupts = 0x0f;    // of the interrupt enable register
constexpr uint8_t kModemOutputs = 0x1f;  // of the modem control register

}  // namespace

Serial::Serial(ByteSink& sink, IrqLine& irq, std::function<void()> on_input_room)
    : sink_{sink}, irq_{irq}, on_input_room_{std::move(on_input_room)} {}

// Registers are one byte wide. A wider access is taken as its first byte; the other bytes read as ones.

void Serial::read(uint64_t offset, std::span<std::byte> data) {
    std::unique_lock lock{mutex_};
    data[0] = std::byte{read_register(offset)};
    tell_input_room(std::move(lock));
}

void Serial::write(uint64_t offset, std::span<const std::byte> data) {
    std::unique_lock lock{mutex_};
    write_register(offset, std::to_integer<uint8_t>(data[0]));
    tell_input_room(std::move(lock));
}

void Serial::tell_input_room(std::unique_lock<std::mutex> lock) {
    if (input_waits_ && input_room() > 0) {
        input_waits_ = false;
        lock.unlock();  // the callee may call receive()
        on_input_room_();
    }
}

size_t Serial::receive(std::span<const uint8_t> bytes) {
    const std::lock_guard lock{mutex_};
    const size_t taken = std::min(bytes.size(), input_room());
    for (size_t i = 0; i < taken; ++i) {
        fifo_[(fifo_start_ + fifo_size_++) % fifo_.size()] = bytes[i];
    }
    input_waits_ = taken < bytes.size();
    update_interrupt();
    return taken;
}

void Serial::output_ready() {
    const std::lock_guard lock{mutex_};
    if (!transmitter_empty_) {
        transmitter_empty_ = true;
        transmit_interrupt_ = true;
        update_interrupt();
    }
}

size_t Serial::input_room() const {
    const bool open = (interrupt_enable_ & UART_IER_RDI) != 0 &&
                      (modem_control_ & (UART_MCR_OUT2 | UART_MCR_LOOP)) == UART_MCR_OUT2;
    return open && !quiesced_ ? fifo_.size() - fifo_size_ : 0;
}

void Serial::quiesce() {
    const std::lock_guard lock{mutex_};
    quiesced_ = true;
}

void Serial::resume() {
    std::unique_lock lock{mutex_};
    quiesced_ = false;
    tell_input_room(std::move(lock));
}

void Serial::save(StateWriter& state) const {
    const std::lock_guard lock{mutex_};
    state.begin("serial");
    state.put(static_cast<uint8_t>(fifo_size_));
    for (size_t index = 0; index < fifo_size_; ++index) {
        state.put(fifo_.at((fifo_start_ + index) % fifo_.size()));
    }
    for (const uint8_t value : {interrupt_enable_, fifo_control_, line_control_, modem_control_, scratch_,
                                divisor_low_, divisor_high_}) {
        state.put(value);
    }
    // A transmitter that is not empty becomes so at once where its sink has room, as another one has.
    state.put(transmit_interrupt_ || !transmitter_empty_);
    state.put(overrun_);
}

void Serial::load(StateReader& state) {
    const std::lock_guard lock{mutex_};
    state.begin("serial");
    fifo_start_ = 0;
    fifo_size_ = state.get<uint8_t>();
    state.require(fifo_size_ <= fifo_.size(), "more was received than there is room for");
    for (size_t index = 0; index < fifo_size_; ++index) {
        fifo_.at(index) = state.get<uint8_t>();
    }
    for (uint8_t* value : {&interrupt_enable_, &fifo_control_, &line_control_, &modem_control_, &scratch_,
                           &divisor_low_, &divisor_high_}) {
        *value = state.get<uint8_t>();
    }
    interrupt_enable_ &= kInterrupts;
    modem_control_ &= kModemOutputs;
    transmitter_empty_ = true;
    transmit_interrupt_ = state.get<bool>();
    overrun_ = state.get<bool>();
    // What the guest was not told yet it is told again: the interrupt controller may not have got it.
    interrupt_asserted_ = false;
    update_interrupt();
}

uint8_t Serial::read_register(uint64_t offset) {
    const bool divisor = (line_control_ & UART_LCR_DLAB) != 0;
    switch (offset) {
        case UART_RX: {
            if (divisor) {
                return divisor_low_;
            }
            if (fifo_size_ == 0) {
                return 0;
            }
            const uint8_t value = fifo_[fifo_start_];
            fifo_start_ = (fifo_start_ + 1) % fifo_.size();
            --fifo_size_;
            update_interrupt();
            return value;
        }
        case UART_IER:
            return divisor ? divisor_high_ : interrupt_enable_;
        case UART_IIR: {
            const uint8_t identification = interrupt_identification();
            if ((identification & UART_IIR_ID) == UART_IIR_THRI) {
                transmit_interrupt_ = false;  // told now
                update_interrupt();
            }
            const bool fifo = (fifo_control_ & UART_FCR_ENABLE_FIFO) != 0;
            return static_cast<uint8_t>(identification | (fifo ? 0xc0 : 0));
        }
        case UART_LCR:
            return line_control_;
        case UART_MCR:
            return modem_control_;
        case UART_LSR: {
            const int ready = fifo_size_ > 0 ? UART_LSR_DR : 0;
            const int empty = transmitter_empty_ ? UART_LSR_THRE | UART_LSR_TEMT : 0;
            const int overrun = std::exchange(overrun_, false) ? UART_LSR_OE : 0;
            update_interrupt();
            return static_cast<uint8_t>(ready | empty | overrun);
        }
        case UART_MSR:
            return modem_status();
        default:
            return scratch_;
    }
}

void Serial::write_register(uint64_t offset, uint8_t value) {
    const bool divisor = (line_control_ & UART_LCR_DLAB) != 0;
    switch (offset) {
        case UART_TX:
            if (divisor) {
                divisor_low_ = value;
            } else {
                transmit(value);
            }
            break;
        case UART_IER:
            if (divisor) {
                divisor_high_ = value;
                break;
            }
            // Enabling the interrupt while the transmitter is empty calls at once; drivers test for this.
            if ((value & UART_IER_THRI) != 0 && (interrupt_enable_ & UART_IER_THRI) == 0) {
                transmit_interrupt_ = transmitter_empty_;
            }
            interrupt_enable_ = value & kInterrupts;
            break;
        case UART_FCR:
            if ((value & UART_FCR_CLEAR_RCVR) != 0) {
                fifo_size_ = 0;
            }
            fifo_control_ = value;
            break;
        case UART_LCR:
            line_control_ = value;
            break;
        case UART_MCR:
            modem_control_ = value & kModemOutputs;
            break;
        case UART_SCR:
            scratch_ = value;
            break;
        default:  // line and modem status are read-only
            break;
    }
    update_interrupt();
}

void Serial::transmit(uint8_t value) {
    if ((modem_control_ & UART_MCR_LOOP) != 0) {
        if (fifo_size_ < fifo_.size()) {
            fifo_[(fifo_start_ + fifo_size_++) % fifo_.size()] = value;
        } else {
            overrun_ = true;
        }
    } else {
        transmitter_empty_ = sink_.put({&value, 1});
    }
    transmit_interrupt_ = transmitter_empty_;
}

uint8_t Serial::interrupt_identification() const {
    // In the order of the data sheet's priorities.
    if ((interrupt_enable_ & UART_IER_RLSI) != 0 && overrun_) {
        return UART_IIR_RLSI;
    }
    if ((interrupt_enable_ & UART_IER_RDI) != 0 && fifo_size_ > 0) {
        return UART_IIR_RDI;
    }
    if ((interrupt_enable_ & UART_IER_THRI) != 0 && transmit_interrupt_) {
        return UART_IIR_THRI;
    }
    return UART_IIR_NO_INT;
}

uint8_t Serial::modem_status() const {
    if ((modem_control_ & UART_MCR_LOOP) == 0) {
        return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;  // somebody is there and listens
    }
    // Loopback joins each output to an input (data sheet, 8.6.7); drivers find the chip by it.
    int status = 0;
    status |= (modem_control_ & UART_MCR_RTS) != 0 ? UART_MSR_CTS : 0;
    status |= (modem_control_ & UART_MCR_DTR) != 0 ? UART_MSR_DSR : 0;
    status |= (modem_control_ & UART_MCR_OUT1) != 0 ? UART_MSR_RI : 0;
    status |= (modem_control_ & UART_MCR_OUT2) != 0 ? UART_MSR_DCD : 0;
    return static_cast<uint8_t>(status);
}

void Serial::update_interrupt() {
    const bool asserted = interrupt_identification() != UART_IIR_NO_INT;
    // Triggered on the rising edge alone, and for a transmitter that became empty again: the line falls
    // between two bytes faster than it could be seen.
    if (asserted && !interrupt_asserted_) {
        irq_.trigger();
    }
    interrupt_asserted_ = asserted;
}

}  // namespace hull
