// A guest's driver gone wild on a disk's queue: requests that are mostly as they should be, and bytes changed
// anywhere in the rings, descriptors and headers.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "devices/block/block_queue.h"
#include "devices/block/bounce.h"
#include "devices/block/joined.h"
#include "devices/virtio/ring_layout.h"
#include "tests/fuzz/input.h"
#include "tests/support/memory_disk.h"
#include "tests/support/recording_calls.h"
#include "tests/support/virtio_driver.h"

namespace {

using namespace hull;
using test::require;
using namespace hull::virtio;

constexpr uint64_t kRings = 0x1000;
constexpr uint64_t kHeaders = 0x4000;
constexpr uint64_t kData = 0x8000;
constexpr uint64_t kEnd = 0x20000;
constexpr uint16_t kQueueSize = 16;
constexpr uint64_t kDiskSize = 32 * 512;

const PartitionTable& partition_table() {
    static constexpr uint64_t kSizes[] = {kDiskSize, kDiskSize / 2};
    static const PartitionTable kTable{kSizes, 512, "fuzz"};
    return kTable;
}

/// A guest with a disk, which may be made of two partitions. Both have the same contents.
struct Guest {
    explicit Guest(uint8_t choice) {
        const uint64_t features = ((choice & 1) != 0 ? feature(VIRTIO_RING_F_INDIRECT_DESC) : 0) |
                                  ((choice & 2) != 0 ? feature(VIRTIO_RING_F_EVENT_IDX) : 0);
        joined = (choice & 16) != 0;
        if (joined) {
            backend = std::make_unique<JoinedBackend>(std::move(backend), partition_table(), kQueueSize);
        }
        state.limits = {joined ? partition_table().disk_size() : kDiskSize, (choice & 4) != 0};
        state.write_through = (choice & 8) != 0;
        state.id = "fuzz";
        queue.emplace(ActiveQueue{0, VirtQueue::make(memory, driver.config(), features).value(), kick.get()});
        worker.emplace(*queue, calls, state, *backend, policy);
    }

    void add(test::FuzzInput& input) {
        static constexpr uint32_t kTypes[] = {VIRTIO_BLK_T_IN,
                                              VIRTIO_BLK_T_OUT,
                                              VIRTIO_BLK_T_FLUSH,
                                              VIRTIO_BLK_T_GET_ID,
                                              VIRTIO_BLK_T_DISCARD,
                                              VIRTIO_BLK_T_WRITE_ZEROES,
                                              VIRTIO_BLK_T_WRITE_ZEROES + 1,
                                              VIRTIO_BLK_T_IN};
        const uint32_t type = kTypes[input.byte() % 8];
        uint64_t sector = input.byte() % 40;
        const uint8_t shape = input.byte();
        if (joined) {
            // Where something begins or ends: the table, either partition, the disk.
            const uint64_t places[] = {0, 2048 - 4, 4096 - 4, partition_table().disk_size() / 512 - 36};
            sector += places[shape >> 6];
        }
        const auto head = static_cast<uint16_t>(number % 4 * 4);
        const uint64_t header = kHeaders + number % 64 * 64;
        require(memory.write(GuestAddress{header}, virtio_blk_outhdr{type, 0, sector}));
        require(
            memory.write(GuestAddress{kData}, virtio_blk_discard_write_zeroes{sector, shape, shape & 1U}));
        const bool clears = type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES;
        const uint32_t length = clears ? 16 : type == VIRTIO_BLK_T_GET_ID ? 20 : 512U * (shape & 7U);
        const bool writable = type == VIRTIO_BLK_T_IN || type == VIRTIO_BLK_T_GET_ID;
        const test::Buffer buffers[] = {
            {header, 16, false}, {kData, length, writable}, {header + 32, 1, true}};
        (shape & 8) != 0 ? driver.add_indirect(buffers, head) : driver.add(buffers, head);
        ++number;
    }

    void serve() {
        worker->take();
        std::vector<BlockBackend::End> ends;
        do {
            backend->wait(ends, BlockBackend::kForever);
            for (const BlockBackend::End& end : std::exchange(ends, {})) {
                worker->take_end(end);
            }
        } while (worker->under_way() > 0);
        static_cast<void>(queue->queue.interrupt_is_wanted());
        static_cast<void>(queue->queue.ask_for_kicks());
    }

    const GuestRange ranges[1] = {GuestRange::of(0, kEnd)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    test::DriverQueue driver{memory, kRings, kQueueSize};
    UniqueFd kick = make_eventfd();
    bool joined = false;
    std::unique_ptr<test::MemoryDisk> owned = std::make_unique<test::MemoryDisk>(kDiskSize);
    test::MemoryDisk& disk = *owned;
    std::unique_ptr<BlockBackend> backend =
        std::make_unique<BounceBackend>(std::move(owned), 512, 512, kQueueSize);
    test::RecordingCalls calls;
    BlockState state;
    std::optional<ActiveQueue> queue;
    WakePolicy policy{true};
    std::optional<BlockQueue> worker;
    uint64_t number = 0;
};

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    test::FuzzInput input{{data, size}};
    Guest guest{input.byte()};
    const std::vector<std::byte> before = guest.disk.contents;
    while (!input.empty() && guest.number < 1000) {
        switch (input.byte() % 4) {
            case 0:
            case 1:
                guest.add(input);
                break;
            case 2: {
                // Rings and headers lie below kData.
                const uint64_t address = input.half_word() % (kData - kRings) + kRings;
                require(guest.memory.write(GuestAddress{address}, input.byte()));
                break;
            }
            default:
                guest.serve();
                break;
        }
    }
    guest.serve();
    require(!guest.state.limits.readonly || guest.disk.contents == before);
    // Whatever was done, another guest's disk works.
    Guest other{0};
    const uint8_t read[] = {0, 1, 1};
    test::FuzzInput request{read};
    other.add(request);
    other.serve();
    require(other.calls.broken.empty() && other.driver.take_used().size() == 1);
    return 0;
}
