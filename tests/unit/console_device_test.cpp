// The console device between a driver and the hosts of its ports.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/virtio_ids.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "devices/console/console.h"
#include "devices/console/console_host.h"
#include "devices/console/descriptor_host.h"
#include "devices/console/socket_host.h"
#include "tests/support/console_guest.h"
#include "tests/support/fake_devices.h"
#include "tests/support/files.h"
#include "tests/support/sockets.h"

namespace hull::virtio {
namespace {

using namespace std::chrono_literals;
using test::ConsoleGuest;
using test::FakePortHost;
using testing::Test;
using Texts = std::vector<std::string>;

constexpr uint64_t kMultiport = feature(VIRTIO_CONSOLE_F_MULTIPORT);
constexpr uint64_t kReset = feature(VIRTIO_F_RING_RESET);

std::string message(uint32_t id, uint16_t event, uint16_t value, const std::string& text = "") {
    const virtio_console_control control{.id = id, .event = event, .value = value};
    return std::string{reinterpret_cast<const char*>(&control), sizeof control} + text;
}

/// Two named ports. Queues: 4 and 5 are the first's, 6 and 7 the second's.
class PortsTest : public Test {
  protected:
    void start() {
        states_.assign(2, {});
        queues_.emplace(guest_->activation(kMultiport), std::span<const NamedPort>{ports_},
                        std::span{states_});
        for (int i = 0; i < 8; ++i) {
            guest_->offer(ConsoleGuest::kControlReceive);
        }
    }
    /// As Linux does it, up to both ports open.
    void bring_up() {
        start();
        guest_->send_control(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
        step();
        for (const uint32_t port : {1U, 2U}) {
            guest_->send_control(port, VIRTIO_CONSOLE_PORT_READY, 1);
            guest_->send_control(port, VIRTIO_CONSOLE_PORT_OPEN, 1);
        }
        step();
        static_cast<void>(guest_->take(ConsoleGuest::kControlReceive));
    }
    /// What the worker's thread does until there is nothing more to do at once.
    bool step() {
        for (uint16_t queue = 0; queue < guest_->queues.size(); ++queue) {
            guest_->kick(queue);
        }
        first_.wake();
        second_.wake();
        for (int i = 0; i < 20; ++i) {
            if (!queues_->turn() || !queues_->wait(never_.get())) {
                return false;
            }
            first_.wake();  // or it would wait
        }
        return true;
    }

    std::optional<ConsoleGuest> guest_{std::in_place, uint16_t{8}};
    FakePortHost first_;
    FakePortHost second_;
    std::vector<NamedPort> ports_{{"first", first_}, {"second", second_}};
    UniqueFd never_ = make_eventfd();
    std::vector<PortState> states_ = std::vector<PortState>(2);
    std::optional<ConsoleQueues> queues_;
};

TEST_F(PortsTest, TheDriverLearnsOfEachPortItsNameAndWhetherSomebodyIsThere) {
    second_.open = false;
    start();
    ASSERT_TRUE(step());
    EXPECT_EQ(guest_->take(ConsoleGuest::kControlReceive), Texts{}) << "before the driver is ready";
    guest_->send_control(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    ASSERT_TRUE(step());
    EXPECT_EQ(guest_->take(ConsoleGuest::kControlReceive),
              (Texts{message(1, VIRTIO_CONSOLE_PORT_ADD, 1), message(2, VIRTIO_CONSOLE_PORT_ADD, 1)}));
    guest_->send_control(2, VIRTIO_CONSOLE_PORT_READY, 1);
    guest_->send_control(1, VIRTIO_CONSOLE_PORT_READY, 1);
    ASSERT_TRUE(step());
    EXPECT_EQ(
        guest_->take(ConsoleGuest::kControlReceive),
        (Texts{message(1, VIRTIO_CONSOLE_PORT_NAME, 1, "first"), message(1, VIRTIO_CONSOLE_PORT_OPEN, 1),
               message(2, VIRTIO_CONSOLE_PORT_NAME, 1, "second")}));
    second_.open = true;
    ASSERT_TRUE(step());
    second_.open = false;
    ASSERT_TRUE(step());
    EXPECT_EQ(guest_->take(ConsoleGuest::kControlReceive),
              (Texts{message(2, VIRTIO_CONSOLE_PORT_OPEN, 1), message(2, VIRTIO_CONSOLE_PORT_OPEN, 0)}));
    EXPECT_GT(guest_->calls.interrupts[ConsoleGuest::kControlReceive], 0);
    EXPECT_GT(guest_->calls.interrupts[ConsoleGuest::kControlTransmit], 0);
}

TEST_F(PortsTest, WhatIsToBeToldWaitsForBuffersAndDoesNotPileUp) {
    queues_.emplace(guest_->activation(kMultiport), std::span<const NamedPort>{ports_}, std::span{states_});
    for (int i = 0; i < 1000; ++i) {
        guest_->send_control(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
        guest_->send_control(1, VIRTIO_CONSOLE_PORT_READY, 1);
        ASSERT_TRUE(step());
        first_.open = !first_.open;
    }
    for (int i = 0; i < 8; ++i) {
        guest_->offer(ConsoleGuest::kControlReceive);
    }
    ASSERT_TRUE(step());
    EXPECT_EQ(guest_->take(ConsoleGuest::kControlReceive),
              (Texts{message(1, VIRTIO_CONSOLE_PORT_ADD, 1), message(1, VIRTIO_CONSOLE_PORT_NAME, 1, "first"),
                     message(1, VIRTIO_CONSOLE_PORT_OPEN, 1), message(2, VIRTIO_CONSOLE_PORT_ADD, 1)}));
}

TEST_F(PortsTest, NobodyNewComesBeforeTheDriverKnowsThatTheLastOneHasLeft) {
    bring_up();
    EXPECT_FALSE(first_.last_wishes.next);
    for (int i = 0; i < 8; ++i) {  // one too few: the driver has taken the others
        second_.open = !second_.open;
        ASSERT_TRUE(step());
    }
    first_.open = false;
    ASSERT_TRUE(step());
    EXPECT_FALSE(first_.last_wishes.next);
    static_cast<void>(guest_->take(ConsoleGuest::kControlReceive));
    guest_->offer(ConsoleGuest::kControlReceive);
    ASSERT_TRUE(step());
    EXPECT_TRUE(first_.last_wishes.next);
}

TEST_F(PortsTest, InputWaitsUntilTheGuestHasThePortOpenAndForBuffers) {
    bring_up();
    guest_->send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
    ASSERT_TRUE(step());
    first_.waiting = "early";
    guest_->offer(4);
    ASSERT_TRUE(step());
    EXPECT_EQ(guest_->take(4), Texts{});
    guest_->send_control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    ASSERT_TRUE(step());
    EXPECT_EQ(guest_->take(4), Texts{"early"});
    first_.waiting = "more than a buffer";
    guest_->offer(4, 10);
    ASSERT_TRUE(step());
    EXPECT_EQ(guest_->take(4), Texts{"more than "});
    guest_->offer(4, 10);
    ASSERT_TRUE(step());
    EXPECT_EQ(guest_->take(4), Texts{"a buffer"});
    EXPECT_GE(guest_->calls.interrupts[4], 3);
}

TEST_F(PortsTest, OutputWaitsForItsHostAndHoldsUpNoOtherPort) {
    bring_up();
    first_.room = 3;
    guest_->send(5, "one ");
    guest_->send(5, "two ");
    guest_->send(7, "other");
    ASSERT_TRUE(step());
    EXPECT_EQ(first_.got, "one");
    EXPECT_EQ(guest_->take(5), Texts{});
    EXPECT_EQ(second_.got, "other");
    EXPECT_EQ(guest_->take(7).size(), 1U);
    first_.room = SIZE_MAX;
    ASSERT_TRUE(step());
    EXPECT_EQ(first_.got, "one two ");
    EXPECT_EQ(guest_->take(5).size(), 2U);
}

TEST_F(PortsTest, WhatWaitedForOneWhoHasLeftIsNotForTheNext) {
    bring_up();
    first_.room = 3;
    guest_->send(5, "secret");
    ASSERT_TRUE(step());
    first_.open = false;
    ASSERT_TRUE(step());
    first_.room = SIZE_MAX;
    first_.open = true;
    ASSERT_TRUE(step());
    EXPECT_EQ(first_.got, "sec");
    guest_->send(5, "public");
    ASSERT_TRUE(step());
    EXPECT_EQ(first_.got, "secpublic");
}

TEST_F(PortsTest, WhatTheGuestSentBeforeAResetIsCarriedBehindIt) {
    bring_up();
    first_.room = 1000;
    const std::string text(4000, 'x');
    for (int i = 0; i < 8; ++i) {
        guest_->send(5, text);
    }
    guest_->send(7, "last");
    queues_->keep_rest(PortQueues::Rest::all);
    EXPECT_EQ(second_.got, "last");
    EXPECT_EQ(first_.got.size(), 1000U);
    EXPECT_EQ(first_.kept_size(), 8 * text.size() - 1000);
    first_.room = SIZE_MAX;
    queues_.reset();
    guest_.emplace(uint16_t{8});
    bring_up();
    guest_->send(5, "new");
    ASSERT_TRUE(step());
    EXPECT_EQ(first_.got.size(), 8 * text.size() + 3);
    EXPECT_TRUE(first_.got.ends_with("xnew"));
}

TEST_F(PortsTest, AHostileDriverGetsNothingButItsDeviceStopped) {
    const test::Buffer outside[] = {{uint64_t{1} << 40, 100, false}};
    const test::Buffer read_only[] = {{ConsoleGuest::page(4, 0), 100, false}};
    const auto control = [this](uint32_t id, uint16_t event, uint16_t value) {
        return [this, id, event, value] { guest_->send_control(id, event, value); };
    };
    struct Row {
        const char* what;
        std::function<void()> act;
        bool stops;
    };
    const Row rows[] = {
        {"a port that is not there", control(0, VIRTIO_CONSOLE_PORT_READY, 1), false},
        {"a port far out", control(0xffff'fffe, VIRTIO_CONSOLE_PORT_OPEN, 1), false},
        {"an event that is none", control(1, 0xffff, 1), false},
        {"an event that is the device's", control(1, VIRTIO_CONSOLE_PORT_ADD, 1), false},
        {"a value that is none", control(1, VIRTIO_CONSOLE_PORT_OPEN, 7), false},
        {"ready twice", control(1, VIRTIO_CONSOLE_PORT_READY, 1), false},
        {"opened twice", control(1, VIRTIO_CONSOLE_PORT_OPEN, 1), false},
        {"a driver that failed", control(1, VIRTIO_CONSOLE_PORT_READY, 0), false},
        {"a device that failed", control(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 0), false},
        {"half a message", [this] { guest_->send(ConsoleGuest::kControlTransmit, "1234567"); }, false},
        {"a message without an end",
         [this] { guest_->send(ConsoleGuest::kControlTransmit, std::string(4096, '\1')); }, false},
        {"a message to be written", [this] { guest_->offer(ConsoleGuest::kControlTransmit); }, false},
        {"output without bytes", [this] { guest_->send(5, ""); }, false},
        {"output to be written", [this] { guest_->offer(5); }, false},
        {"a buffer that nothing fits in",
         [&] {
             guest_->queues[4].add(read_only);
             first_.waiting = "x";
         },
         true},
        {"output from outside of memory", [&] { guest_->queues[5].add(outside); }, true},
        {"an index that jumps", [this] { guest_->queues[5].set_available_index(100); }, true},
        {"a control index that jumps", [this] { guest_->queues[3].set_available_index(100); }, true},
        {"a head that is none", [this] { guest_->queues[3].make_available(100); }, true},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.what);
        queues_.reset();
        guest_.emplace(uint16_t{8});
        first_.got.clear();
        second_.got.clear();
        first_.waiting.clear();
        bring_up();
        row.act();
        EXPECT_EQ(step(), !row.stops);
        EXPECT_EQ(guest_->calls.broken.empty(), !row.stops) << guest_->calls.broken;
        // The second port works on, where the device does; and so does another device in any case.
        if (!row.stops) {
            guest_->send(7, "on");
            ASSERT_TRUE(step());
            EXPECT_EQ(second_.got, "on");
        }
        ConsoleGuest other{2};
        FakePortHost console;
        PortState state;
        ConsoleQueues others{other.activation(), console, state, never_.get()};
        other.send(1, "other");
        EXPECT_TRUE(others.turn());
        EXPECT_EQ(console.got, "other");
    }
}

TEST_F(PortsTest, AControlBufferThatIsTooSmallStopsTheDevice) {
    queues_.emplace(guest_->activation(kMultiport), std::span<const NamedPort>{ports_}, std::span{states_});
    guest_->offer(ConsoleGuest::kControlReceive, 7);
    guest_->send_control(VIRTIO_CONSOLE_BAD_ID, VIRTIO_CONSOLE_DEVICE_READY, 1);
    EXPECT_FALSE(step());
    EXPECT_NE(guest_->calls.broken, "");
}

/// Waits for what another thread does.
bool eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 2000; ++i) {
        if (holds()) {
            return true;
        }
        std::this_thread::sleep_for(5ms);
    }
    return false;
}

class ConsoleDeviceTest : public Test {
  protected:
    ConsoleGuest guest_{2};
    test::RecordingSink sink_;
    ConsoleHost host_{sink_, [] {}};
    Console console_{host_, ConsoleSize{.columns = 132, .rows = 43}};
};

TEST_F(ConsoleDeviceTest, TellsItsSizeAndASecondOne) {
    EXPECT_EQ(console_.type(), static_cast<uint32_t>(VIRTIO_ID_CONSOLE));
    EXPECT_EQ(console_.features(), feature(VIRTIO_CONSOLE_F_SIZE) | kReset);
    EXPECT_EQ(console_.queue_sizes().size(), 2U);
    const auto size = [this] {
        virtio_console_config config{};
        console_.read_configuration(0, std::as_writable_bytes(std::span{&config, 1}));
        return std::pair{int{config.cols}, int{config.rows}};
    };
    EXPECT_EQ(size(), (std::pair{132, 43}));
    console_.resize({.columns = 80, .rows = 25});
    EXPECT_EQ(guest_.calls.changes, 0) << "no driver is there yet";
    console_.activate(guest_.activation());
    EXPECT_EQ(guest_.calls.changes, 1) << "so that the driver reads the size";
    console_.resize({.columns = 100, .rows = 30});
    EXPECT_EQ(guest_.calls.changes, 2);
    EXPECT_EQ(size(), (std::pair{100, 30}));
    console_.reset();
    console_.resize({.columns = 1, .rows = 1});
    EXPECT_EQ(guest_.calls.changes, 2);
    std::array<std::byte, 8> beyond{};
    for (const uint64_t offset : {uint64_t{8}, sizeof(virtio_console_config), ~uint64_t{0}}) {
        console_.read_configuration(offset, beyond);
    }
}

TEST_F(ConsoleDeviceTest, WithoutATerminalThereIsNoSize) {
    Console plain{host_, std::nullopt};
    EXPECT_EQ(plain.features(), kReset);
    plain.activate(guest_.activation());
    plain.resize({.columns = 1, .rows = 1});
    EXPECT_EQ(guest_.calls.changes, 1);
    plain.reset();
}

TEST_F(ConsoleDeviceTest, WhatIsTypedWaitsUntilTheDriverIsUp) {
    const std::string text = "typed";
    EXPECT_EQ(host_.receive({reinterpret_cast<const uint8_t*>(text.data()), text.size()}), text.size());
    guest_.offer(0);
    console_.activate(guest_.activation());
    guest_.kick(0);
    std::this_thread::sleep_for(50ms);
    EXPECT_TRUE(guest_.queues[0].take_used().empty());
    std::array<std::byte, 4> size{};
    console_.read_configuration(0, size);
    Texts got;
    EXPECT_TRUE(eventually([&] { return !(got = guest_.take(0)).empty(); }));
    EXPECT_EQ(got, Texts{text});
    console_.reset();
}

TEST_F(ConsoleDeviceTest, ADriverThatNeverReadsTheSizeIsUpOnceItIsQuiet) {
    const std::string text = "typed";
    EXPECT_EQ(host_.receive({reinterpret_cast<const uint8_t*>(text.data()), text.size()}), text.size());
    guest_.offer(0);
    guest_.send(1, "hello");
    console_.activate(guest_.activation());
    Texts got;
    EXPECT_TRUE(eventually([&] { return !(got = guest_.take(0)).empty(); }));
    EXPECT_EQ(got, Texts{text});
    console_.reset();
    EXPECT_EQ(sink_.text, "hello");
}

TEST_F(ConsoleDeviceTest, StartsAnewBehindAReset) {
    for (const std::string text : {"one", "two"}) {
        ConsoleGuest guest{2};
        guest.send(1, text);
        console_.activate(guest.activation());
        console_.reset();
        EXPECT_EQ(guest.take(1).size(), 1U);
    }
    EXPECT_EQ(sink_.text, "onetwo");
}

TEST_F(ConsoleDeviceTest, ADriverMayLeaveQueuesOutOrKnowNothingOfPorts) {
    FakePortHost host;
    Console ports{{{"name", host}}};
    EXPECT_EQ(ports.features(), kMultiport | kReset);
    EXPECT_EQ(ports.queue_sizes().size(), 6U);
    ConsoleGuest guest{6};
    ports.activate(guest.activation(0));
    ports.reset();
    for (size_t left = 0; left < 6; ++left) {
        auto activation = guest.activation(kMultiport);
        activation.queues.erase(activation.queues.begin() + static_cast<ptrdiff_t>(left),
                                activation.queues.end());
        ports.activate(std::move(activation));
        ports.reset();
        auto console_activation = guest_.activation();
        console_activation.queues.erase(
            console_activation.queues.begin() + static_cast<ptrdiff_t>(std::min<size_t>(left, 1)),
            console_activation.queues.end());
        console_.activate(std::move(console_activation));
        console_.reset();
    }
    EXPECT_EQ(guest.calls.broken, "");
}

TEST(ConsoleHost, TakesWhatItHasRoomForAndTellsOfMore) {
    test::RecordingSink sink;
    int told = 0;
    ConsoleHost host{sink, [&] { ++told; }};
    const std::string text(5000, 'x');
    EXPECT_EQ(host.receive({reinterpret_cast<const uint8_t*>(text.data()), text.size()}),
              ConsoleHost::kInputRoom);
    std::array<std::byte, 100> some{};
    EXPECT_EQ(host.read(some), some.size());
    EXPECT_EQ(host.read(some), some.size());
    EXPECT_EQ(told, 1);
    sink.room = false;
    EXPECT_EQ(host.write(std::as_bytes(std::span{text})), 1024U);
    EXPECT_EQ(host.write(std::as_bytes(std::span{text})), 0U);
    sink.room = true;
    host.output_ready();
    EXPECT_EQ(host.write(std::as_bytes(std::span{text})), text.size());
    EXPECT_EQ(sink.text.size(), 1024 + text.size());
}

TEST(DescriptorHost, DropsWhatCannotBeWrittenAndWaitsForAPipe) {
    DescriptorHost full{{}, UniqueFd{open("/dev/full", O_WRONLY | O_CLOEXEC)}, "port x"};
    const std::string text(100'000, 'x');
    EXPECT_EQ(full.write(std::as_bytes(std::span{text})), text.size());
    std::array<std::byte, 10> some{};
    EXPECT_EQ(full.read(some), 0U);
    int ends[2] = {};
    ASSERT_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    const UniqueFd reader{ends[0]};
    DescriptorHost pipe{{}, UniqueFd{ends[1]}, "port y"};
    const size_t taken = pipe.write(std::as_bytes(std::span{text}));
    EXPECT_LT(taken, text.size());
    EXPECT_EQ(pipe.write(std::as_bytes(std::span{text})), 0U);
    EXPECT_EQ(pipe.waits({.output = true})[1].fd, ends[1]);
}

class SocketHostTest : public Test {
  protected:
    [[nodiscard]] UniqueFd client() const { return test::connect_unix(path_); }
    /// Whether anything happened.
    bool look(const PortHost::Wishes& wishes = {.input = true, .output = false, .next = true}) {
        PortHost::Waits waits = host_->waits(wishes);
        const bool happened = poll(waits.data(), waits.size(), 0) > 0;
        host_->take_events(waits);
        return happened;
    }
    std::string read() {
        std::array<std::byte, 100> bytes{};
        return {reinterpret_cast<const char*>(bytes.data()), host_->read(bytes)};
    }

    const test::TemporaryFolder folder_;
    const std::string path_ = folder_.path() / "s";
    std::optional<SocketHost> host_{test::listen_unix(path_, SOCK_NONBLOCK)};
};

TEST_F(SocketHostTest, ServesOneClientAfterTheOther) {
    EXPECT_FALSE(look());
    UniqueFd first = client();
    UniqueFd second = client();
    EXPECT_FALSE(look({.next = false})) << "not yet";
    EXPECT_TRUE(look());
    EXPECT_TRUE(host_->is_open());
    test::write_all(second.get(), "second");
    test::write_all(first.get(), "first");
    EXPECT_EQ(read(), "first");
    EXPECT_EQ(read(), "");
    first.reset();
    EXPECT_TRUE(look());
    EXPECT_FALSE(host_->is_open());
    EXPECT_TRUE(look());
    EXPECT_EQ(read(), "second");
}

TEST_F(SocketHostTest, WhatAClientLeavesBehindIsReadFirst) {
    UniqueFd first = client();
    test::write_all(first.get(), "left");
    first.reset();
    EXPECT_TRUE(look());
    EXPECT_TRUE(look({.input = false}));
    EXPECT_TRUE(host_->is_open());
    EXPECT_FALSE(look({.input = false})) << "it would wake the thread again and again";
    EXPECT_TRUE(look());
    EXPECT_EQ(read(), "left");
    EXPECT_EQ(read(), "");
    EXPECT_FALSE(host_->is_open());
}

TEST_F(SocketHostTest, AClientThatHasSentAllIsStillThere) {
    const UniqueFd only = client();
    EXPECT_TRUE(look());
    test::write_all(only.get(), "question");
    shutdown(only.get(), SHUT_WR);
    EXPECT_EQ(read(), "question");
    EXPECT_EQ(read(), "");
    EXPECT_TRUE(host_->is_open());
    EXPECT_FALSE(look());
    const std::string answer = "answer";
    EXPECT_EQ(host_->write(std::as_bytes(std::span{answer})), answer.size());
    std::array<char, 6> got{};
    EXPECT_EQ(::read(only.get(), got.data(), got.size()), 6);
}

}  // namespace
}  // namespace hull::virtio
