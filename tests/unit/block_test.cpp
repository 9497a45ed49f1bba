#include "devices/block/block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <fstream>
#include <functional>
#include <mutex>
#include <thread>

#include "devices/block/file_backend.h"
#include "devices/virtio/mmio_transport.h"
#include "tests/support/fake_devices.h"
#include "tests/support/files.h"
#include "tests/support/manual_backend.h"
#include "tests/support/memory_disk.h"
#include "tests/support/mmio_driver.h"
#include "tests/support/recording_calls.h"
#include "tests/support/virtio_driver.h"

namespace hull::virtio {
namespace {

using test::Buffer;
using test::kVersion1;
using test::ManualBackend;
using Kind = BlockOperation::Kind;

constexpr uint64_t kRings = 0x1000;
constexpr uint64_t kHeader = 0x8000;
constexpr uint64_t kStatus = 0x8100;
constexpr uint64_t kData = 0x10000;
constexpr uint64_t kEnd = 0x40000;  // of guest memory
constexpr uint16_t kSize = 16;      // of the queue
constexpr uint64_t kDiskSize = 64 * 1024;
constexpr uint64_t kFlush = uint64_t{1} << VIRTIO_BLK_F_FLUSH;
constexpr uint8_t kNoAnswer = 0xee;

/// A guest's memory with a queue in it, and the device's side of that queue.
class Guest {
  public:
    explicit Guest(BlockLimits limits = {kDiskSize, false}, bool write_through = false) {
        state.limits = limits;
        state.id = "a name";
        state.write_through = write_through;
        queue.emplace(ActiveQueue{0, VirtQueue::make(memory, driver.config(), 0).value(), kick.get()});
    }

    void put_header(uint32_t type, uint64_t sector, uint64_t at = kHeader) {
        EXPECT_TRUE(memory.write(GuestAddress{at}, virtio_blk_outhdr{type, 0, sector}));
        EXPECT_TRUE(memory.write(GuestAddress{kStatus}, kNoAnswer));
    }
    /// The usual layout: header, data, status.
    void add(uint32_t type, uint64_t sector, uint32_t bytes, bool device_writes, uint16_t head = 0) {
        put_header(type, sector);
        std::vector<Buffer> buffers{{kHeader, 16, false}};
        if (bytes > 0) {
            buffers.push_back({kData, bytes, device_writes});
        }
        buffers.push_back({kStatus, 1, true});
        driver.add(buffers, head);
    }
    uint8_t status() { return memory.read<uint8_t>(GuestAddress{kStatus}).value(); }
    void fill(uint64_t address, uint64_t size, char value) {
        std::ranges::fill(memory.slice(GuestRange::of(address, size)).value(), static_cast<std::byte>(value));
    }
    bool is_filled(uint64_t address, uint64_t size, char value) {
        return std::ranges::all_of(memory.slice(GuestRange::of(address, size)).value(),
                                   [&](std::byte b) { return b == static_cast<std::byte>(value); });
    }
    /// Serves what is available with a backend that needs no waiting.
    void serve(BlockBackend& backend) {
        if (!worker) {
            worker.emplace(*queue, calls, state, backend);
        }
        std::vector<BlockBackend::End> ends;
        worker->take();
        do {
            backend.wait(ends, BlockBackend::kForever);
            for (const BlockBackend::End& end : std::exchange(ends, {})) {
                worker->take_end(end);
            }
        } while (worker->under_way() > 0);
    }

    const GuestRange ranges[1] = {GuestRange::of(0, kEnd)};
    GuestMemory memory{ranges, Mapping::Pages::transparent};
    test::DriverQueue driver{memory, kRings, kSize};
    UniqueFd kick = make_eventfd();
    test::RecordingCalls calls;
    BlockState state;
    std::optional<ActiveQueue> queue;
    std::optional<BlockQueue> worker;
};

TEST(BlockQueue, WritesReadsFlushesClearsAndTellsItsName) {
    Guest guest;
    test::MemoryDisk disk{kDiskSize};
    guest.fill(kData, 1024, 'w');
    guest.add(VIRTIO_BLK_T_OUT, 3, 1024, false);
    guest.serve(disk);
    EXPECT_EQ(guest.status(), VIRTIO_BLK_S_OK);
    EXPECT_EQ(disk.contents[3 * 512 - 1], std::byte{0});
    EXPECT_EQ(disk.contents[3 * 512], std::byte{'w'});
    EXPECT_EQ(disk.contents[5 * 512 - 1], std::byte{'w'});
    EXPECT_EQ(disk.contents[5 * 512], std::byte{0});

    guest.fill(kData, 2048, 'x');
    guest.add(VIRTIO_BLK_T_IN, 4, 1024, true);
    guest.serve(disk);
    EXPECT_EQ(guest.status(), VIRTIO_BLK_S_OK);
    EXPECT_TRUE(guest.is_filled(kData, 512, 'w'));
    EXPECT_TRUE(guest.is_filled(kData + 512, 512, '\0'));
    EXPECT_TRUE(guest.is_filled(kData + 1024, 1024, 'x')) << "beyond what was asked for";
    guest.add(VIRTIO_BLK_T_FLUSH, 0, 0, false);
    guest.serve(disk);
    EXPECT_EQ(guest.status(), VIRTIO_BLK_S_OK);

    guest.add(VIRTIO_BLK_T_GET_ID, 0, VIRTIO_BLK_ID_BYTES, true);
    guest.serve(disk);
    EXPECT_EQ(guest.status(), VIRTIO_BLK_S_OK);
    EXPECT_EQ((guest.memory.read<std::array<char, 7>>(GuestAddress{kData}).value()),
              (std::array{'a', ' ', 'n', 'a', 'm', 'e', '\0'}));

    for (const uint32_t type : {VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES}) {
        disk.contents.assign(kDiskSize, std::byte{'d'});
        EXPECT_TRUE(guest.memory.write(GuestAddress{kData}, virtio_blk_discard_write_zeroes{8, 16, 0}));
        guest.add(type, 0, 16, false);
        guest.serve(disk);
        EXPECT_EQ(guest.status(), VIRTIO_BLK_S_OK);
        EXPECT_EQ(std::ranges::count(disk.contents, std::byte{0}), 16 * 512);
        EXPECT_EQ(disk.contents[8 * 512], std::byte{0});
    }

    std::vector<uint32_t> written;
    for (const vring_used_elem& element : guest.driver.take_used()) {
        written.push_back(element.len);
    }
    EXPECT_THAT(written, testing::ElementsAre(1, 1025, 1, 21, 1, 1));
}

TEST(BlockQueue, TakesRequestsHoweverTheyAreCut) {
    Guest guest;
    test::MemoryDisk disk{kDiskSize};
    disk.contents.assign(kDiskSize, std::byte{'r'});
    guest.put_header(VIRTIO_BLK_T_IN, 1);
    // The header in two parts; the status behind the data in one buffer.
    const Buffer read[] = {
        {kHeader, 5, false}, {kHeader + 5, 11, false}, {kData, 100, true}, {kData + 100, 413, true}};
    guest.driver.add(read);
    guest.serve(disk);
    EXPECT_TRUE(guest.is_filled(kData, 512, 'r'));
    EXPECT_TRUE(guest.is_filled(kData + 512, 1, VIRTIO_BLK_S_OK));
    // The data behind the header in one buffer.
    guest.put_header(VIRTIO_BLK_T_OUT, 7, kData);
    guest.fill(kData + 16, 512, 'W');
    const Buffer write[] = {{kData, 16 + 300, false}, {kData + 316, 212, false}, {kStatus, 1, true}};
    guest.driver.add(write);
    guest.serve(disk);
    EXPECT_EQ(guest.status(), VIRTIO_BLK_S_OK);
    EXPECT_EQ(std::ranges::count(disk.contents, std::byte{'W'}), 512);
    EXPECT_EQ(disk.contents[7 * 512], std::byte{'W'});
}

/// What a hostile or broken driver asks for, and what it gets.
struct Hostile {
    const char* what;
    std::function<void(Guest&)> act;
    int status;  // of VIRTIO_BLK_S_, kNoAnswer where the device needs a reset
    bool readonly = false;
};

void clear_with(Guest& guest, uint32_t type, const virtio_blk_discard_write_zeroes& segment,
                uint32_t bytes = 16) {
    EXPECT_TRUE(guest.memory.write(GuestAddress{kData}, segment));
    guest.add(type, 0, bytes, false);
}

const Hostile kHostile[] = {
    {"no header at all",
     [](Guest& guest) {
         guest.put_header(VIRTIO_BLK_T_IN, 0);
         const Buffer buffers[] = {{kStatus, 1, true}};
         guest.driver.add(buffers);
     },
     kNoAnswer},
    {"half a header",
     [](Guest& guest) {
         guest.put_header(VIRTIO_BLK_T_IN, 0);
         const Buffer buffers[] = {{kHeader, 15, false}, {kStatus, 1, true}};
         guest.driver.add(buffers);
     },
     kNoAnswer},
    {"no room for the answer",
     [](Guest& guest) {
         guest.put_header(VIRTIO_BLK_T_OUT, 0);
         const Buffer buffers[] = {{kHeader, 16, false}, {kData, 512, false}};
         guest.driver.add(buffers);
     },
     kNoAnswer},
    {"an empty buffer for the answer",
     [](Guest& guest) {
         guest.put_header(VIRTIO_BLK_T_FLUSH, 0);
         const Buffer buffers[] = {{kHeader, 16, false}, {kStatus, 0, true}};
         guest.driver.add(buffers);
     },
     kNoAnswer},
    {"a read of nothing", [](Guest& guest) { guest.add(VIRTIO_BLK_T_IN, 0, 0, true); }, VIRTIO_BLK_S_IOERR},
    {"a write of nothing", [](Guest& guest) { guest.add(VIRTIO_BLK_T_OUT, 0, 0, false); },
     VIRTIO_BLK_S_IOERR},
    {"half a sector", [](Guest& guest) { guest.add(VIRTIO_BLK_T_IN, 0, 256, true); }, VIRTIO_BLK_S_IOERR},
    {"a read in the wrong direction", [](Guest& guest) { guest.add(VIRTIO_BLK_T_IN, 0, 512, false); },
     VIRTIO_BLK_S_IOERR},
    {"a write in the wrong direction", [](Guest& guest) { guest.add(VIRTIO_BLK_T_OUT, 0, 512, true); },
     VIRTIO_BLK_S_IOERR},
    {"the sector behind the last", [](Guest& guest) { guest.add(VIRTIO_BLK_T_IN, 128, 512, true); },
     VIRTIO_BLK_S_IOERR},
    {"across the end", [](Guest& guest) { guest.add(VIRTIO_BLK_T_OUT, 127, 1024, false); },
     VIRTIO_BLK_S_IOERR},
    {"a sector whose byte wraps",
     [](Guest& guest) { guest.add(VIRTIO_BLK_T_OUT, uint64_t{1} << 55, 512, false); }, VIRTIO_BLK_S_IOERR},
    {"the largest sector", [](Guest& guest) { guest.add(VIRTIO_BLK_T_IN, ~uint64_t{0}, 512, true); },
     VIRTIO_BLK_S_IOERR},
    {"an unknown type", [](Guest& guest) { guest.add(0x1234, 0, 512, true); }, VIRTIO_BLK_S_UNSUPP},
    {"the legacy type of SCSI commands", [](Guest& guest) { guest.add(VIRTIO_BLK_T_SCSI_CMD, 0, 512, true); },
     VIRTIO_BLK_S_UNSUPP},
    {"a name into too little room", [](Guest& guest) { guest.add(VIRTIO_BLK_T_GET_ID, 0, 19, true); },
     VIRTIO_BLK_S_IOERR},
    {"a write to what can only be read", [](Guest& guest) { guest.add(VIRTIO_BLK_T_OUT, 0, 512, false); },
     VIRTIO_BLK_S_IOERR, true},
    {"a discard of what can only be read",
     [](Guest& guest) {
         clear_with(guest, VIRTIO_BLK_T_DISCARD, {0, 8, 0});
     },
     VIRTIO_BLK_S_IOERR, true},
    {"zeros into what can only be read",
     [](Guest& guest) {
         clear_with(guest, VIRTIO_BLK_T_WRITE_ZEROES, {0, 8, 0});
     },
     VIRTIO_BLK_S_IOERR, true},
    {"a discard without its segment", [](Guest& guest) { clear_with(guest, VIRTIO_BLK_T_DISCARD, {}, 8); },
     VIRTIO_BLK_S_IOERR},
    {"two segments where one may be",
     [](Guest& guest) {
         clear_with(guest, VIRTIO_BLK_T_DISCARD, {0, 8, 0}, 32);
     },
     VIRTIO_BLK_S_IOERR},
    {"a discard of nothing",
     [](Guest& guest) {
         clear_with(guest, VIRTIO_BLK_T_DISCARD, {0, 0, 0});
     },
     VIRTIO_BLK_S_IOERR},
    {"a discard beyond the end",
     [](Guest& guest) {
         clear_with(guest, VIRTIO_BLK_T_DISCARD, {127, 2, 0});
     },
     VIRTIO_BLK_S_IOERR},
    {"a discard that wraps",
     [](Guest& guest) {
         clear_with(guest, VIRTIO_BLK_T_DISCARD, {~uint64_t{0}, 2, 0});
     },
     VIRTIO_BLK_S_IOERR},
    {"more at once than may be",
     [](Guest& guest) {
         clear_with(guest, VIRTIO_BLK_T_WRITE_ZEROES, {0, kMostSectorsAtOnce + 1, 0});
     },
     VIRTIO_BLK_S_IOERR},
    {"a discard with the flag of the other",
     [](Guest& guest) {
         clear_with(guest, VIRTIO_BLK_T_DISCARD, {0, 8, 1});
     },
     VIRTIO_BLK_S_UNSUPP},
    {"an unknown flag",
     [](Guest& guest) {
         clear_with(guest, VIRTIO_BLK_T_WRITE_ZEROES, {0, 8, 2});
     },
     VIRTIO_BLK_S_UNSUPP},
    {"an available index that jumped",
     [](Guest& guest) {
         guest.put_header(VIRTIO_BLK_T_IN, 0);
         guest.driver.set_available_index(kSize + 1);
     },
     kNoAnswer},
    {"a looping chain",
     [](Guest& guest) {
         guest.put_header(VIRTIO_BLK_T_IN, 0);
         guest.driver.set_descriptor(0, {kHeader, 16, VRING_DESC_F_NEXT, 0});
         guest.driver.make_available(0);
     },
     kNoAnswer},
};

TEST(BlockQueue, AHostileDriverCostsItsOwnDeviceOnly) {
    Guest other;
    test::MemoryDisk other_disk{kDiskSize};
    for (const Hostile& row : kHostile) {
        SCOPED_TRACE(row.what);
        Guest guest{{kDiskSize, row.readonly}};
        test::MemoryDisk disk{kDiskSize};
        disk.contents.assign(kDiskSize, std::byte{'d'});
        row.act(guest);
        guest.serve(disk);
        EXPECT_EQ(guest.status(), row.status);
        EXPECT_EQ(guest.calls.broken.empty(), row.status != kNoAnswer) << guest.calls.broken;
        EXPECT_EQ(std::ranges::count(disk.contents, std::byte{'d'}), ptrdiff_t{kDiskSize});
        if (row.status != kNoAnswer) {
            EXPECT_EQ(guest.driver.take_used().size(), 1U);
            guest.add(VIRTIO_BLK_T_IN, 0, 512, true);
            guest.serve(disk);
            EXPECT_EQ(guest.status(), VIRTIO_BLK_S_OK) << "it does not go on";
        }
        other.add(VIRTIO_BLK_T_OUT, 1, 512, false);
        other.serve(other_disk);
        EXPECT_EQ(other.status(), VIRTIO_BLK_S_OK);
    }
}

TEST(BlockQueue, TellsTheHostsErrors) {
    Guest guest;
    ManualBackend backend;
    guest.worker.emplace(*guest.queue, guest.calls, guest.state, backend);
    const std::pair<int, int> rows[] = {{-EIO, VIRTIO_BLK_S_IOERR},
                                        {-ENOSPC, VIRTIO_BLK_S_IOERR},
                                        {0, VIRTIO_BLK_S_IOERR},  // the file has become shorter
                                        {-EOPNOTSUPP, VIRTIO_BLK_S_UNSUPP}};
    for (const auto& [result, status] : rows) {
        guest.add(VIRTIO_BLK_T_OUT, 0, 512, false);
        guest.worker->take();
        ASSERT_EQ(guest.worker->under_way(), 1);
        guest.worker->take_end({0, result});
        EXPECT_EQ(guest.status(), status) << result;
        EXPECT_EQ(guest.worker->under_way(), 0);
    }
}

TEST(BlockQueue, GoesOnWhereLessWasDone) {
    Guest guest;
    ManualBackend backend;
    guest.worker.emplace(*guest.queue, guest.calls, guest.state, backend);
    guest.put_header(VIRTIO_BLK_T_IN, 2);
    const Buffer buffers[] = {
        {kHeader, 16, false}, {kData, 300, true}, {kData + 0x1000, 724, true}, {kStatus, 1, true}};
    guest.driver.add(buffers);
    guest.worker->take();
    guest.worker->take_end({0, 200});
    guest.worker->take_end({0, -EINTR});
    guest.worker->take_end({0, 100});
    guest.worker->take_end({0, 24});
    const iovec rest = backend.started.back().operation.memory.front();
    EXPECT_EQ(rest.iov_base, guest.memory.slice(GuestRange::of(kData + 0x1000 + 24, 1)).value().data());
    EXPECT_EQ(rest.iov_len, 700U);
    EXPECT_EQ(guest.status(), kNoAnswer);
    guest.worker->take_end({0, 700});
    EXPECT_EQ(guest.status(), VIRTIO_BLK_S_OK);
    ASSERT_EQ(backend.started.size(), 5U);
    const uint64_t offsets[] = {1024, 1224, 1224, 1324, 1348};
    for (size_t index = 0; index < 5; ++index) {
        EXPECT_EQ(backend.started[index].operation.offset, offsets[index]);
        EXPECT_EQ(backend.started[index].operation.length, 2048 - offsets[index]);
    }
}

TEST(BlockQueue, AFlushThatFailedIsNeverMadeGoodByALaterOne) {
    Guest guest;
    ManualBackend backend;
    guest.worker.emplace(*guest.queue, guest.calls, guest.state, backend);
    for (const int result : {0, -EIO, 0, 0}) {
        guest.add(VIRTIO_BLK_T_FLUSH, 0, 0, false);
        guest.worker->take();
        guest.worker->take_end({0, result});
        const bool first = backend.started.size() == 1;
        EXPECT_EQ(guest.status(), first ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
    }
}

TEST(BlockQueue, ADriverWithoutFlushHasEachWriteFlushed) {
    Guest guest{{kDiskSize, false}, true};
    ManualBackend backend;
    guest.worker.emplace(*guest.queue, guest.calls, guest.state, backend);
    guest.add(VIRTIO_BLK_T_OUT, 0, 512, false);
    guest.worker->take();
    guest.worker->take_end({0, 512});
    EXPECT_EQ(guest.status(), kNoAnswer) << "it is not on the disk yet";
    ASSERT_EQ(backend.started.size(), 2U);
    EXPECT_EQ(backend.started[1].operation.kind, Kind::flush);
    guest.worker->take_end({0, 0});
    EXPECT_EQ(guest.status(), VIRTIO_BLK_S_OK);
    guest.add(VIRTIO_BLK_T_IN, 0, 512, true);
    guest.worker->take();
    guest.worker->take_end({0, 512});
    EXPECT_EQ(backend.started.size(), 3U) << "a read needs none";
    EXPECT_EQ(guest.status(), VIRTIO_BLK_S_OK);
}

TEST(BlockQueue, TakesNoMoreThanItsLimitsLet) {
    Guest guest;
    ManualBackend backend;
    guest.state.requests.emplace(1);
    guest.worker.emplace(*guest.queue, guest.calls, guest.state, backend);
    for (uint16_t head = 0; head < 5; ++head) {
        guest.add(VIRTIO_BLK_T_FLUSH, 0, 0, false, static_cast<uint16_t>(head * 3));
    }
    guest.worker->take();
    EXPECT_EQ(backend.started.size(), 1U);
    EXPECT_GT(guest.worker->held_for().count(), 0);
    guest.state.requests.reset();
    guest.state.bytes.emplace(1000);
    guest.worker->take();
    EXPECT_EQ(backend.started.size(), 5U) << "flushes have no bytes";
    guest.worker->take_end({0, 0});
    guest.add(VIRTIO_BLK_T_OUT, 0, 4096, false, 0);
    guest.worker->take();
    EXPECT_EQ(backend.started.size(), 6U);
    EXPECT_GT(guest.worker->held_for(), std::chrono::seconds{2});
    guest.worker->take_end({3, 0});
    guest.add(VIRTIO_BLK_T_IN, 0, 512, true, 3);
    guest.worker->take();
    EXPECT_EQ(backend.started.size(), 6U) << "it was served before its time";
}

/// The device with its threads, behind a transport.
class BlockDeviceTest : public testing::Test {
  protected:
    std::vector<vring_used_elem> wait_for_used(size_t count) {
        std::vector<vring_used_elem> used;
        for (int tries = 0; used.size() < count && tries < 10'000; ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
            std::ranges::copy(guest_.driver.take_used(), std::back_inserter(used));
        }
        return used;
    }
    Guest guest_;
    test::CountingIrqLine irq_;
    test::TemporaryFolder folder_;
};

TEST_F(BlockDeviceTest, ServesAFileAndTellsWhatItIs) {
    const auto path = folder_.file("disk", std::string(kDiskSize, 'f'));
    const DiskImage image = open_disk_image(path, DiskUse::write, false);
    Block block{{.size = image.size, .id = "x"}, make_synchronous_backends(image)};
    MmioTransport transport{block, guest_.memory, irq_, "disk"};
    test::MmioDriver registers{transport};
    EXPECT_EQ(registers.get(VIRTIO_MMIO_DEVICE_ID), 2U);
    EXPECT_EQ(registers.get(VIRTIO_MMIO_CONFIG), kDiskSize / 512);
    EXPECT_EQ(registers.get(VIRTIO_MMIO_CONFIG + offsetof(virtio_blk_config, blk_size)), 512U);
    EXPECT_EQ(registers.get(VIRTIO_MMIO_CONFIG + sizeof(virtio_blk_config) + 64), 0U);
    registers.negotiate(kVersion1 | kFlush);
    registers.set_queue(0, guest_.driver.config());
    registers.start();
    guest_.fill(kData, 512, 'n');
    guest_.add(VIRTIO_BLK_T_OUT, 1, 512, false);
    registers.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    ASSERT_EQ(wait_for_used(1).size(), 1U);
    EXPECT_EQ(guest_.status(), VIRTIO_BLK_S_OK);
    std::ifstream file{path};
    std::string contents{std::istreambuf_iterator<char>{file}, {}};
    EXPECT_EQ(contents.substr(512, 512), std::string(512, 'n'));
    EXPECT_EQ(std::ranges::count(contents, 'n'), 512);

    registers.set(VIRTIO_MMIO_STATUS, 0);
    // By now: what the worker does comes before the end of a reset, but after what is seen in the ring.
    EXPECT_GE(irq_.count(), 1);
    guest_.add(VIRTIO_BLK_T_OUT, 2, 512, false);
    registers.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds{20});
    EXPECT_TRUE(guest_.driver.take_used().empty()) << "a device that was reset still served";
}

TEST_F(BlockDeviceTest, OffersWhatItsDiskCan) {
    const auto features = [](BlockSettings settings) {
        return Block{std::move(settings), make_synchronous_backends(DiskImage{})}.features();
    };
    const auto has = [](uint64_t set, unsigned bit) { return (set >> bit & 1) != 0; };
    const uint64_t plain = features({.size = kDiskSize, .id = {}});
    EXPECT_TRUE(has(plain, VIRTIO_BLK_F_FLUSH) && has(plain, VIRTIO_BLK_F_DISCARD) &&
                has(plain, VIRTIO_BLK_F_WRITE_ZEROES));
    EXPECT_FALSE(has(plain, VIRTIO_BLK_F_RO) || has(plain, VIRTIO_BLK_F_MQ));
    const uint64_t readonly = features({.size = kDiskSize, .readonly = true, .id = {}, .queues = 2});
    EXPECT_TRUE(has(readonly, VIRTIO_BLK_F_RO) && has(readonly, VIRTIO_BLK_F_MQ));
    EXPECT_FALSE(has(readonly, VIRTIO_BLK_F_DISCARD) || has(readonly, VIRTIO_BLK_F_WRITE_ZEROES));
}

/// What a reset finds under way is done before it answers.
class BlockResetTest : public BlockDeviceTest {
  protected:
    void reset_by(const std::function<void(test::MmioDriver&)>& reset);
};

void BlockResetTest::reset_by(const std::function<void(test::MmioDriver&)>& reset) {
    /// Ends an operation only when it is let go.
    class HoldingBackend final : public BlockBackend {
      public:
        HoldingBackend(std::atomic<bool>& held, std::atomic<bool>& go, int kick, int stop)
            : held_{held}, go_{go}, synchronous_{make_synchronous_backends(DiskImage{})(kSize, kick, stop)} {}
        void start(uint16_t slot, const BlockOperation& operation) override {
            slot_ = slot;
            length_ = static_cast<int32_t>(operation.length);
            held_ = true;
        }
        bool wait(std::vector<End>& ends, std::chrono::nanoseconds most) override {
            if (go_ && held_) {
                held_ = false;
                ends.push_back({slot_, length_});
                return true;
            }
            if (told_) {
                std::this_thread::sleep_for(std::chrono::milliseconds{1});
                return true;
            }
            told_ = !synchronous_->wait(ends, most);
            return !told_;
        }

      private:
        std::atomic<bool>& held_;
        std::atomic<bool>& go_;
        std::unique_ptr<BlockBackend> synchronous_;
        bool told_ = false;
        uint16_t slot_ = 0;
        int32_t length_ = 0;
    };
    std::atomic<bool> held{false};
    std::atomic<bool> go{false};
    Block block{{.size = kDiskSize, .id = {}}, [&](uint16_t /*size*/, int kick, int stop) {
                    return std::make_unique<HoldingBackend>(held, go, kick, stop);
                }};
    MmioTransport transport{block, guest_.memory, irq_, "disk"};
    test::MmioDriver registers{transport};
    registers.negotiate(kVersion1 | kFlush | feature(VIRTIO_F_RING_RESET));
    registers.set_queue(0, guest_.driver.config());
    registers.start();
    guest_.add(VIRTIO_BLK_T_IN, 0, 512, true);
    registers.set(VIRTIO_MMIO_QUEUE_NOTIFY, 0);
    while (!held) {
        std::this_thread::yield();
    }
    std::atomic<bool> is_reset{false};
    std::thread resetter{[&] {
        reset(registers);
        is_reset = true;
    }};
    std::this_thread::sleep_for(std::chrono::milliseconds{30});
    EXPECT_FALSE(is_reset) << "the host may still write into the guest's memory";
    go = true;
    resetter.join();
    EXPECT_EQ(guest_.driver.take_used().size(), 1U);
    EXPECT_EQ(guest_.status(), VIRTIO_BLK_S_OK);
}

TEST_F(BlockResetTest, TheDevicesWaits) {
    reset_by([](test::MmioDriver& registers) { registers.set(VIRTIO_MMIO_STATUS, 0); });
}

TEST_F(BlockResetTest, AQueuesWaits) {
    reset_by([](test::MmioDriver& registers) { registers.reset_queue(0); });
}

}  // namespace
}  // namespace hull::virtio
