#include "devices/rng/rng.h"
#include "devices/virtio/queue_worker.h"
#include "tests/bench/request.h"
#include "tests/support/recording_calls.h"
#include "tests/support/virtio_driver.h"

namespace hull::bench {

using namespace virtio;

namespace {

class RngFill final : public Request {
  public:
    RngFill() {
        const test::Buffer buffers[] = {{0x8000, 64, true}};
        driver_.add(buffers);
        driver_.set_available_index(0);  // the chain is there, and is made available by ask()
    }
    void ask() override {
        ++asked_;
        driver_.make_available(0);
    }
    // The device's loop, which is told to stop with each request, so that it comes back.
    void serve() override {
        serve_chains(queue_, calls_, stop_.get(), [this](const DescriptorChain& chain) {
            signal_eventfd(stop_.get());
            return Rng::fill(chain);
        });
        drain_eventfd(stop_.get());
    }
    bool all_came() override { return driver_.take_used().size() == static_cast<uint16_t>(asked_); }

  private:
    const GuestRange ranges_[1] = {GuestRange::of(0, 0x10000)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent};
    test::DriverQueue driver_{memory_, 0x1000, 64};
    UniqueFd kick_ = make_eventfd();
    UniqueFd stop_ = make_eventfd();
    test::RecordingCalls calls_;
    ActiveQueue queue_{
        0, VirtQueue::make(memory_, driver_.config(), feature(VIRTIO_RING_F_EVENT_IDX)).value(), kick_.get()};
    unsigned asked_ = 0;
};

}  // namespace

std::unique_ptr<Request> make_rng_fill() {
    return std::make_unique<RngFill>();
}

}  // namespace hull::bench
