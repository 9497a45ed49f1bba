// Devices that come and go on a machine's PCI bus, whatever its guest does there meanwhile.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "devices/bus/bus.h"
#include "devices/pci/bus.h"
#include "devices/rng/rng.h"
#include "tests/machine/guest_code.h"
#include "tests/machine/small_guest.h"
#include "tests/support/errors.h"
#include "tests/support/files.h"
#include "vmm/machine/device_files.h"
#include "vmm/machine/virtio_devices.h"

namespace hull {
namespace {

class HotplugMachineTest : public test::MachineTest {
  protected:
    HotplugMachineTest() { config_.bus = VirtioBus::pci; }

    void add(const std::string& disk) {
        const DiskConfig config = DiskConfig::parse(disk);
        machine_->add_disk(config, open_disk(config, config.id));
    }
    static std::vector<virtio::NetLink> some_links() {
        std::vector<virtio::NetLink> links;
        links.push_back({test::make_pipe().read_end, UniqueFd{}});
        return links;
    }
    const test::TemporaryFolder folder_;
    const std::string path_ = folder_.file("disk", std::string(65536, '\0'));
};

// Resets slot 1's device and rings all its doorbells, writes all over its MSI-X table and its configuration
// space, and looks at what is left, without end.
HULL_GUEST_CODE(hammer_slot_1, 32, R"(
    1: mov edi, 0xe0110000
    mov byte ptr [edi + 0x14], 0
    mov byte ptr [edi + 0x14], 0xff
    2: mov dword ptr [edi + 0x3000], edi
    mov [edi + 0x4000], edi
    mov eax, [edi + 0x4000]
    mov eax, [edi]
    mov [edi], eax
    add edi, 4
    cmp edi, 0xe0110100
    jb 2b
    mov edi, 0xe0008000
    3: mov eax, [edi]
    mov dword ptr [edi], 0xffffffff
    add edi, 4
    cmp edi, 0xe0008100
    jb 3b
    jmp 1b)")
TEST_F(HotplugMachineTest, ComeAndGoUnderAGuestThatHammersThem) {
    const auto status = run(hammer_slot_1(), [this] {
        size_t descriptors = 0;
        size_t threads = 0;
        // More doorbells in all than KVM takes at a time (1000).
        for (int round = 0; round <= 20; ++round) {
            add(path_ + ",id=disk,queues=64");
            machine_->remove("disk");
            if (round == 0) {
                descriptors = test::entries_of("/proc/self/fd");
                threads = test::entries_of("/proc/self/task");
            }
        }
        EXPECT_EQ(test::entries_of("/proc/self/fd"), descriptors);
        EXPECT_LE(test::threads_down_to(threads), threads);
        tell_machine(KeeperMessage::stop_now);
    });
    EXPECT_EQ(status, ExitStatus::forced_stop);
}

HULL_GUEST_CODE(idle, 32, "1: hlt\njmp 1b")
TEST_F(HotplugMachineTest, WhatCannotBeDoneIsToldAndChangesNothing) {
    config_.disks = {DiskConfig::parse(folder_.file("first", std::string(512, '\0')).string())};
    config_.rng = true;
    MachineFiles files = files_with(test::kernel_with(idle()));
    files.disks.push_back(open_disk(config_.disks.front(), "disk0"));
    run(std::move(files), [this] {
        using test::expect_error;
        const size_t descriptors = test::entries_of("/proc/self/fd");
        expect_error([&] { add(path_); }, ExitStatus::usage, {"cannot add disk", "no id"});
        expect_error([&] { add(path_ + ",id=disk0"); }, ExitStatus::usage, {"'disk0'", "the same id"});
        expect_error([&] { add(path_ + ",id=rng"); }, ExitStatus::usage, {"'rng'", "the same id"});
        expect_error([&] { add(path_ + "-none,id=x"); }, ExitStatus::bad_file, {path_ + "-none"});
        expect_error([&] { machine_->add_net("disk0", NetConfig{}, some_links()); }, ExitStatus::usage,
                     {"'disk0'", "the same id"});
        expect_error([&] { machine_->remove("x"); }, ExitStatus::usage, {"cannot remove", "'x'"});
        expect_error([&] { machine_->remove("rng"); }, ExitStatus::usage, {"cannot remove", "'rng'"});
        EXPECT_EQ(test::entries_of("/proc/self/fd"), descriptors);
        add(path_ + ",id=x");
        expect_error([&] { add(path_ + ",id=y"); }, ExitStatus::bad_file, {path_, "another"});
        machine_->remove("x");
        machine_->remove("disk0");
        EXPECT_LT(test::entries_of("/proc/self/fd"), descriptors);
        // The random numbers' device has one slot, and all others are free.
        const auto nth = [this](uint32_t number) { return path_ + ",readonly,id=" + std::to_string(number); };
        for (uint32_t number = 2; number < pci::PciBus::kSlots; ++number) {
            add(nth(number));
        }
        const size_t full = test::entries_of("/proc/self/fd");
        expect_error([&] { add(nth(99)); }, ExitStatus::no_resources, {"'99'", "31 slots", "taken"});
        EXPECT_EQ(test::entries_of("/proc/self/fd"), full);
        machine_->remove("7");
        add(nth(99));
        tell_machine(KeeperMessage::stop_now);
    });
}

TEST_F(HotplugMachineTest, NothingComesWhereThereIsNoPciBus) {
    config_.bus = VirtioBus::mmio;
    run(idle(), [this] {
        test::expect_error([&] { add(path_ + ",id=x"); }, ExitStatus::usage, {"PCI bus", "--bus pci"});
        test::expect_error([&] { machine_->add_net("n", NetConfig{}, some_links()); }, ExitStatus::usage,
                           {"--bus pci"});
        test::expect_error([&] { machine_->remove("x"); }, ExitStatus::usage, {"--bus pci"});
        tell_machine(KeeperMessage::stop_now);
    });
}

/// The devices without a guest, so that nobody but the test calls them.
class QuiescedDevicesTest : public test::KvmTest {
  protected:
    void add(const std::string& name) {
        devices_->add(std::make_unique<virtio::Rng>(), name, VirtioDevices::Stay::may_end);
    }
    std::vector<std::byte> state() {
        StateWriter state;
        devices_->save(state);
        return state.bytes();
    }
    void SetUp() override {
        KvmTest::SetUp();
        if (IsSkipped()) {
            return;
        }
        machine_.emplace();
        devices_.emplace(VirtioBus::pci, VirtioDevices::Surroundings{.vm = machine_->vm,
                                                                     .memory = machine_->memory,
                                                                     .ports = ports_,
                                                                     .memory_bus = memory_bus_,
                                                                     .platform = platform_});
    }

    std::optional<test::TinyMachine> machine_;
    Bus ports_;
    Bus memory_bus_;
    boot::Platform platform_;
    std::optional<VirtioDevices> devices_;
};

TEST_F(QuiescedDevicesTest, NoneComesOrGoesUntilTheyAreResumed) {
    add("stays");
    add("goes");
    for (const bool loads : {false, true}) {
        devices_->quiesce();
        const std::vector<std::byte> before = state();
        std::atomic<int> done = 0;
        std::thread adds{[&] {
            add("comes");
            ++done;
        }};
        std::thread removes{[&] {
            devices_->remove("goes");
            ++done;
        }};
        std::this_thread::sleep_for(std::chrono::milliseconds{200});
        EXPECT_EQ(done, 0);
        EXPECT_EQ(state(), before);
        if (loads) {
            StateReader reader{before};
            devices_->load(reader);
            reader.end();
        }
        devices_->resume();
        adds.join();
        removes.join();
        EXPECT_NE(state(), before);
        devices_->remove("comes");
        add("goes");
    }
}

}  // namespace
}  // namespace hull
