#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <string>

#include "tests/bench/request.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"
#include "tests/support/vsock_driver.h"

namespace hull::bench {

using namespace virtio;
using test::VsockDriver;

namespace {

constexpr uint32_t kSize = 64;

class VsockEcho final : public Request {
  public:
    VsockEcho() {
        // A program of the host's has connected to the guest's port 80.
        program_ = test::connect_unix(path_, SOCK_NONBLOCK);
        test::write_all(program_.get(), "CONNECT 80\n");
        driver_.offer(VsockDriver::kQueueSize);
        if (driver_.run().size() != 1) {
            throw std::runtime_error{"the guest was not asked for a stream"};
        }
        driver_.send(VsockDriver::header(VIRTIO_VSOCK_OP_RESPONSE, 80, VsockConnections::kFirstHostPort));
        driver_.run();
        static_cast<void>(read(program_.get(), bytes_.data(), bytes_.size()) > 0);  // OK
        header_.len = kSize;
        driver_.send(header_, std::string(kSize, 'x'));
        driver_.transmit_queue().set_available_index(1);  // it is there, and is made available by ask()
    }
    void ask() override {
        constexpr uint16_t kPacket = 2;
        header_.fwd_cnt = static_cast<uint32_t>(asked_) * kSize;
        static_cast<void>(driver_.memory().write(GuestAddress{VsockDriver::kTransmitData + 0x100}, header_));
        driver_.transmit_queue().make_available(kPacket);
        give_back();
        driver_.kick_transmit();
        ++asked_;
    }
    void serve() override {
        driver_.connections().take_turn(0);
        echoed_ += read(program_.get(), bytes_.data(), kSize) == kSize &&
                           write(program_.get(), bytes_.data(), kSize) == kSize
                       ? 1
                       : 0;
        driver_.connections().take_turn(0);
    }
    bool all_came() override {
        give_back();
        return echoed_ == asked_ && came_ == asked_;
    }

  private:
    void give_back() {
        for (const vring_used_elem& used : driver_.receive_queue().take_used()) {
            ++came_;
            driver_.receive_queue().make_available(static_cast<uint16_t>(used.id));
        }
    }

    const test::TemporaryFolder folder_;
    const std::string path_ = folder_.path() / "vsock";
    UniqueFd listener_ = test::listen_unix(path_, SOCK_NONBLOCK);
    VsockDriver driver_{listener_.get(), path_, feature(VIRTIO_RING_F_EVENT_IDX)};
    UniqueFd program_;
    VsockHeader header_ = VsockDriver::header(VIRTIO_VSOCK_OP_RW, 80, VsockConnections::kFirstHostPort);
    std::array<char, kSize> bytes_{};
    long asked_ = 0;
    long echoed_ = 0;
    long came_ = 0;
};

}  // namespace

std::unique_ptr<Request> make_vsock_echo() {
    return std::make_unique<VsockEcho>();
}

}  // namespace hull::bench
