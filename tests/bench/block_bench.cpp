// What one read of 4 KiB costs in the model of a disk: the queue, the request and its answer, on a disk in
// memory.
//   hull_block_bench ROUNDS [driver]
// Prints the time of a round; with "driver", of what the guest's driver does in one, which is to be
// subtracted. For instructions, the difference of two runs, divided by the rounds that one has more:
//   valgrind --tool=callgrind --callgrind-out-file=/dev/null hull_block_bench 1000
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <utility>
#include <vector>

#include "devices/block/block_queue.h"
#include "tests/support/memory_disk.h"
#include "tests/support/recording_calls.h"
#include "tests/support/virtio_driver.h"

using namespace hull;
using namespace hull::virtio;

namespace {

constexpr uint64_t kHeader = 0x8000;
constexpr uint64_t kStatus = 0x8100;
constexpr uint64_t kData = 0x10000;
constexpr uint32_t kBlock = 4096;
constexpr uint16_t kQueueSize = 256;

}  // namespace

int main(int argc, char** argv) {
    const long rounds = argc == 2 || argc == 3 ? std::atol(argv[1]) : 0;
    const bool driver_only = argc == 3;
    if (rounds <= 0) {
        std::fputs("hull_block_bench ROUNDS [driver]\n", stderr);
        return 2;
    }
    const GuestRange ranges[] = {GuestRange::of(0, 0x20000)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    test::DriverQueue driver{memory, 0x1000, kQueueSize};
    const UniqueFd kick = make_eventfd();
    test::MemoryDisk disk{1 << 20};
    test::RecordingCalls calls;
    BlockState state;
    state.limits = {disk.contents.size(), false};
    ActiveQueue queue{0, VirtQueue::make(memory, driver.config(), feature(VIRTIO_RING_F_EVENT_IDX)).value(),
                      kick.get()};
    BlockQueue worker{queue, calls, state, disk};

    if (!memory.write(GuestAddress{kHeader}, virtio_blk_outhdr{VIRTIO_BLK_T_IN, 0, 8})) {
        return 1;
    }
    const test::Buffer buffers[] = {{kHeader, 16, false}, {kData, kBlock, true}, {kStatus, 1, true}};
    driver.add(buffers);
    driver.set_available_index(0);  // the chain is there, and is made available below
    std::vector<BlockBackend::End> ends;
    const auto begin = std::chrono::steady_clock::now();
    for (long round = 0; round < rounds; ++round) {
        driver.make_available(0);
        if (driver_only) {
            continue;
        }
        // As BlockQueue::serve() does, without its wait.
        queue.queue.hold_kicks();
        worker.take();
        static_cast<void>(queue.queue.ask_for_kicks());
        disk.wait(ends, BlockBackend::kForever);
        for (const BlockBackend::End& end : ends) {
            worker.take_end(end);
        }
        ends.clear();
        if (queue.queue.interrupt_is_wanted()) {
            calls.used_buffers(0);
        }
    }
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begin;
    if (!driver_only && driver.take_used().size() != static_cast<uint16_t>(rounds)) {
        std::fputs("hull_block_bench: not every request was answered\n", stderr);
        return 1;
    }
    std::printf("%.1f ns\n", taken.count() / static_cast<double>(rounds));
    return 0;
}
