#include <utility>
#include <vector>

#include "devices/block/block_queue.h"
#include "tests/bench/request.h"
#include "tests/support/memory_disk.h"
#include "tests/support/recording_calls.h"
#include "tests/support/virtio_driver.h"

namespace hull::bench {

using namespace virtio;

namespace {

constexpr uint64_t kHeader = 0x8000;
constexpr uint64_t kStatus = 0x8100;
constexpr uint64_t kData = 0x10000;
constexpr uint32_t kBlock = 4096;
constexpr uint16_t kQueueSize = 256;

class BlockRead final : public Request {
  public:
    BlockRead() {
        state_.limits = {disk_.contents.size(), false};
        static_cast<void>(memory_.write(GuestAddress{kHeader}, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, 8}));
        const test::Buffer buffers[] = {{kHeader, 16, false}, {kData, kBlock, true}, {kStatus, 1, true}};
        driver_.add(buffers);
        driver_.set_available_index(0);  // the chain is there, and is made available by ask()
    }
    void ask() override {
        ++asked_;
        driver_.make_available(0);
    }
    // As BlockQueue::serve() does, without its wait.
    void serve() override {
        queue_.queue.hold_kicks();
        worker_.take();
        static_cast<void>(queue_.queue.ask_for_kicks());
        disk_.wait(ends_, BlockBackend::kForever);
        for (const BlockBackend::End& end : ends_) {
            worker_.take_end(end);
        }
        ends_.clear();
        if (queue_.queue.interrupt_is_wanted()) {
            calls_.used_buffers(0);
        }
    }
    bool all_came() override { return driver_.take_used().size() == static_cast<uint16_t>(asked_); }

  private:
    const GuestRange ranges_[1] = {GuestRange::of(0, 0x20000)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent};
    test::DriverQueue driver_{memory_, 0x1000, kQueueSize};
    UniqueFd kick_ = make_eventfd();
    test::MemoryDisk disk_{1 << 20};
    test::RecordingCalls calls_;
    BlockState state_;
    ActiveQueue queue_{
        0, VirtQueue::make(memory_, driver_.config(), feature(VIRTIO_RING_F_EVENT_IDX)).value(), kick_.get()};
    WakePolicy policy_{true};
    BlockQueue worker_{queue_, calls_, state_, disk_, policy_};
    std::vector<BlockBackend::End> ends_;
    unsigned asked_ = 0;
};

}  // namespace

std::unique_ptr<Request> make_block_read() {
    return std::make_unique<BlockRead>();
}

}  // namespace hull::bench
