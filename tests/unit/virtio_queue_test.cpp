#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "devices/virtio/queue.h"
#include "tests/support/virtio_driver.h"

namespace hull::virtio {
namespace {

using test::Buffer;

constexpr uint64_t kEventIndex = uint64_t{1} << VIRTIO_RING_F_EVENT_IDX;
constexpr uint64_t kIndirect = uint64_t{1} << VIRTIO_RING_F_INDIRECT_DESC;
constexpr uint64_t kRings = 0x1000;
constexpr uint64_t kData = 0x10000;
constexpr uint64_t kEnd = 0x20000;  // of guest memory
constexpr uint16_t kSize = 8;

class VirtQueueTest : public testing::Test {
  protected:
    VirtQueue make(uint64_t features = 0) {
        return VirtQueue::make(memory_, driver_.config(), features).value();
    }
    std::string text_at(uint64_t address, size_t size) {
        std::string text(size, ' ');
        EXPECT_TRUE(memory_.read_bytes(GuestAddress{address}, std::as_writable_bytes(std::span{text})));
        return text;
    }
    void put_text(uint64_t address, std::string_view text) {
        ASSERT_TRUE(memory_.write_bytes(GuestAddress{address}, std::as_bytes(std::span{text})));
    }
    static DescriptorChain pop(VirtQueue& queue) { return std::move(queue.pop().value().value()); }

    const GuestRange ranges_[1] = {GuestRange::of(0, kEnd)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent};
    test::DriverQueue driver_{memory_, kRings, kSize};
};

TEST_F(VirtQueueTest, ARequestIsReadAndAnswered) {
    put_text(kData, "question");
    for (const bool indirect : {false, true}) {
        VirtQueue queue = make(kIndirect);
        test::DriverQueue driver{memory_, kRings, kSize};
        driver.set_available_index(0);
        const Buffer buffers[] = {{kData, 3, false},
                                  {kData + 3, 5, false},
                                  {kData + 100, 4, true},
                                  {kData + 200, 0, true},
                                  {kData + 300, 4, true}};
        indirect ? driver.add_indirect(buffers, 2) : driver.add(buffers, 2);
        DescriptorChain chain = pop(queue);
        EXPECT_EQ(chain.head(), 2);
        ChainReader reader = chain.reader();
        EXPECT_EQ(reader.remaining(), 8U);
        std::array<char, 6> start{};
        EXPECT_TRUE(reader.read_bytes(std::as_writable_bytes(std::span{start})));
        EXPECT_EQ((std::string{start.data(), 6}), "questi");
        EXPECT_EQ(reader.read<uint32_t>(), std::nullopt) << "two bytes are left";
        EXPECT_EQ(reader.read<uint16_t>(), 'o' | 'n' << 8);
        EXPECT_EQ(reader.remaining(), 0U);
        ChainWriter writer = chain.writer();
        EXPECT_EQ(writer.remaining(), 8U);
        EXPECT_TRUE(writer.write_bytes(std::as_bytes(std::span{"answer", 6})));
        EXPECT_FALSE(writer.write(uint32_t{0})) << "two bytes are left";
        EXPECT_EQ(writer.remaining(), 2U);
        queue.push(std::move(chain), 6);
        EXPECT_EQ(text_at(kData + 100, 4) + text_at(kData + 300, 2), "answer");
        const auto used = driver.take_used();
        ASSERT_EQ(used.size(), 1U);
        EXPECT_EQ(used[0].id, 2U);
        EXPECT_EQ(used[0].len, 6U);
        EXPECT_FALSE(queue.pop().value().has_value());
        ASSERT_TRUE(memory_.discard(GuestRange::of(kRings, 0x1000)));
    }
}

TEST_F(VirtQueueTest, GoesAroundItsRingsAndThroughTheIndexsEnd) {
    VirtQueue queue = make();
    for (uint32_t round = 0; round < 70'000; ++round) {
        const auto head = static_cast<uint16_t>(round % kSize);
        const Buffer buffer{kData + round % 1000, 16, true};
        driver_.add({&buffer, 1}, head);
        DescriptorChain chain = pop(queue);
        ASSERT_EQ(chain.head(), head);
        queue.push(std::move(chain), round);
        const auto used = driver_.take_used();
        ASSERT_EQ(used.size(), 1U);
        ASSERT_EQ(used[0].len, round);
    }
}

TEST_F(VirtQueueTest, ChainsMayBeGivenBackInAnyOrder) {
    VirtQueue queue = make();
    for (uint16_t head = 0; head < kSize; ++head) {
        const Buffer buffer{kData, 16, true};
        driver_.add({&buffer, 1}, head);
    }
    std::vector<DescriptorChain> chains;
    while (auto chain = queue.pop().value()) {
        chains.push_back(std::move(*chain));
    }
    ASSERT_EQ(chains.size(), kSize);
    for (const size_t index : {3, 0, 7, 1, 6, 2, 5, 4}) {
        queue.push(std::move(chains[index]), 0);
    }
    std::vector<uint32_t> order;
    for (const vring_used_elem& element : driver_.take_used()) {
        order.push_back(element.id);
    }
    EXPECT_THAT(order, testing::ElementsAre(3, 0, 7, 1, 6, 2, 5, 4));
}

TEST_F(VirtQueueTest, InterruptsAreGivenWhenTheyAreWanted) {
    const Buffer buffer{kData, 16, true};
    const auto serve = [&](VirtQueue& queue, test::DriverQueue& driver) {
        driver.add({&buffer, 1});
        queue.push(pop(queue), 0);
    };
    {
        VirtQueue queue = make();
        EXPECT_FALSE(queue.interrupt_is_wanted()) << "nothing was pushed";
        serve(queue, driver_);
        EXPECT_TRUE(queue.interrupt_is_wanted());
        EXPECT_FALSE(queue.interrupt_is_wanted()) << "it was told";
        driver_.set_available_flags(VRING_AVAIL_F_NO_INTERRUPT);
        serve(queue, driver_);
        EXPECT_FALSE(queue.interrupt_is_wanted());
    }
    ASSERT_TRUE(memory_.discard(GuestRange::of(kRings, 0x1000)));
    test::DriverQueue driver{memory_, kRings, kSize};
    VirtQueue queue = make(kEventIndex);
    driver.set_available_flags(VRING_AVAIL_F_NO_INTERRUPT);  // means nothing then
    driver.set_used_event(0);
    serve(queue, driver);
    EXPECT_TRUE(queue.interrupt_is_wanted());
    driver.set_used_event(2);
    serve(queue, driver);
    EXPECT_FALSE(queue.interrupt_is_wanted()) << "wanted for the third";
    serve(queue, driver);
    serve(queue, driver);
    EXPECT_TRUE(queue.interrupt_is_wanted()) << "the third was among them";
    serve(queue, driver);
    EXPECT_FALSE(queue.interrupt_is_wanted()) << "its wish was fulfilled";
}

TEST_F(VirtQueueTest, KicksAreAskedFor) {
    const Buffer buffer{kData, 16, true};
    {
        VirtQueue queue = make();
        queue.hold_kicks();
        EXPECT_EQ(driver_.used_flags(), VRING_USED_F_NO_NOTIFY);
        EXPECT_FALSE(queue.ask_for_kicks());
        EXPECT_EQ(driver_.used_flags(), 0);
        driver_.add({&buffer, 1});
        EXPECT_TRUE(queue.ask_for_kicks()) << "one is there already";
    }
    ASSERT_TRUE(memory_.discard(GuestRange::of(kRings, 0x1000)));
    test::DriverQueue driver{memory_, kRings, kSize};
    VirtQueue queue = make(kEventIndex);
    driver.add({&buffer, 1});
    queue.push(pop(queue), 0);
    EXPECT_EQ(driver.available_event(), 0) << "still the old wish, which the driver has passed";
    EXPECT_FALSE(queue.ask_for_kicks());
    EXPECT_EQ(driver.available_event(), 1);
    EXPECT_EQ(driver.used_flags(), 0);
}

TEST_F(VirtQueueTest, BadConfigurationsAreRefused) {
    struct Row {
        const char* what;
        std::function<void(QueueConfig&)> spoil;
    };
    const Row rows[] = {
        {"no entries", [](auto& config) { config.size = 0; }},
        {"no power of two", [](auto& config) { config.size = 6; }},
        {"too large", [](auto& config) { config.size = 2048; }},
        {"descriptors not aligned", [](auto& config) { config.descriptor_area = GuestAddress{kRings + 8}; }},
        {"available ring not aligned", [](auto& config) { config.driver_area = GuestAddress{kRings + 1}; }},
        {"used ring not aligned", [](auto& config) { config.device_area = GuestAddress{kRings + 2}; }},
        {"descriptors end outside", [](auto& config) { config.descriptor_area = GuestAddress{kEnd - 112}; }},
        {"available ring ends outside", [](auto& config) { config.driver_area = GuestAddress{kEnd - 20}; }},
        {"used ring ends outside", [](auto& config) { config.device_area = GuestAddress{kEnd - 68}; }},
        {"descriptors wrap", [](auto& config) { config.descriptor_area = GuestAddress{~uint64_t{15}}; }},
        {"available ring wraps", [](auto& config) { config.driver_area = GuestAddress{~uint64_t{1}}; }},
        {"used ring wraps", [](auto& config) { config.device_area = GuestAddress{~uint64_t{3}}; }},
    };
    for (const Row& row : rows) {
        QueueConfig config = driver_.config();
        row.spoil(config);
        EXPECT_FALSE(VirtQueue::make(memory_, config, 0)) << row.what;
    }
    // The last places that are right.
    QueueConfig config = driver_.config();
    config.descriptor_area = GuestAddress{kEnd - 128};
    EXPECT_TRUE(VirtQueue::make(memory_, config, 0));
    config.driver_area = GuestAddress{kEnd - 22};
    EXPECT_TRUE(VirtQueue::make(memory_, config, 0));
    config.device_area = GuestAddress{kEnd - 72};
    EXPECT_TRUE(VirtQueue::make(memory_, config, 0));
}

TEST_F(VirtQueueTest, HostileChainsAreRefused) {
    constexpr uint16_t kNext = VRING_DESC_F_NEXT;
    constexpr uint16_t kWrite = VRING_DESC_F_WRITE;
    constexpr uint16_t kTable = VRING_DESC_F_INDIRECT;
    struct Row {
        const char* what;
        std::function<void(test::DriverQueue&, GuestMemory&)> spoil;
    };
    const auto table = [](GuestMemory& memory, std::vector<vring_desc> descriptors) {
        ASSERT_TRUE(memory.write_bytes(GuestAddress{kData}, std::as_bytes(std::span{descriptors})));
    };
    const Row rows[] = {
        {"the index jumps", [](auto& driver, auto&) { driver.set_available_index(kSize + 2); }},
        {"the index goes back", [](auto& driver, auto&) { driver.set_available_index(0xffff); }},
        {"the head is no descriptor", [](auto& driver, auto&) { driver.make_available(kSize); }},
        {"the next is no descriptor",
         [](auto& driver, auto&) {
             driver.set_descriptor(0, {kData, 4, kNext, kSize});
             driver.make_available(0);
         }},
        {"a descriptor follows itself",
         [](auto& driver, auto&) {
             driver.set_descriptor(0, {kData, 4, kNext, 0});
             driver.make_available(0);
         }},
        {"two descriptors follow each other",
         [](auto& driver, auto&) {
             driver.set_descriptor(0, {kData, 0, kNext, 1});
             driver.set_descriptor(1, {kData, 0, kNext, 0});
             driver.make_available(0);
         }},
        {"something to read after something to write",
         [](auto& driver, auto&) {
             driver.set_descriptor(0, {kData, 4, kWrite | kNext, 1});
             driver.set_descriptor(1, {kData, 4, 0, 0});
             driver.make_available(0);
         }},
        {"a buffer outside of memory",
         [](auto& driver, auto&) {
             driver.set_descriptor(0, {kEnd - 4, 5, 0, 0});
             driver.make_available(0);
         }},
        {"a buffer that wraps",
         [](auto& driver, auto&) {
             driver.set_descriptor(0, {~uint64_t{0}, 2, 0, 0});
             driver.make_available(0);
         }},
        {"longer than 4 GiB",
         [](auto& driver, auto&) {
             driver.set_descriptor(0, {kData, 0xffff'ffff, kNext, 1});
             driver.set_descriptor(1, {kData, 4, 0, 0});
             driver.make_available(0);
         }},
        {"an indirect table that goes on",
         [&](auto& driver, auto& memory) {
             table(memory, {{kData, 4, 0, 0}});
             driver.set_descriptor(0, {kData, 16, kTable | kNext, 1});
             driver.make_available(0);
         }},
        {"an indirect table of half a descriptor",
         [](auto& driver, auto&) {
             driver.set_descriptor(0, {kData, 24, kTable, 0});
             driver.make_available(0);
         }},
        {"an empty indirect table",
         [](auto& driver, auto&) {
             driver.set_descriptor(0, {kData, 0, kTable, 0});
             driver.make_available(0);
         }},
        {"an indirect table outside of memory",
         [](auto& driver, auto&) {
             driver.set_descriptor(0, {kEnd - 16, 32, kTable, 0});
             driver.make_available(0);
         }},
        {"an indirect table that wraps",
         [](auto& driver, auto&) {
             driver.set_descriptor(0, {~uint64_t{15}, 32, kTable, 0});
             driver.make_available(0);
         }},
        {"a nested indirect table",
         [&](auto& driver, auto& memory) {
             table(memory, {{kData, 16, kTable, 0}});
             driver.set_descriptor(0, {kData, 16, kTable, 0});
             driver.make_available(0);
         }},
        {"a chain that leaves its indirect table",
         [&](auto& driver, auto& memory) {
             table(memory, {{kData, 4, kNext, 1}});
             driver.set_descriptor(0, {kData, 16, kTable, 0});
             driver.make_available(0);
         }},
        {"an indirect loop",
         [&](auto& driver, auto& memory) {
             table(memory, {{kData, 4, kNext, 1}, {kData, 4, kNext, 0}});
             driver.set_descriptor(0, {kData, 32, kTable, 0});
             driver.make_available(0);
         }},
    };
    for (const Row& row : rows) {
        SCOPED_TRACE(row.what);
        ASSERT_TRUE(memory_.discard(GuestRange::of(0, kEnd)));
        test::DriverQueue driver{memory_, kRings, kSize};
        VirtQueue queue = make(kIndirect);
        const Buffer good{kData, 4, true};
        driver.add({&good, 1}, 7);
        queue.push(pop(queue), 4);
        row.spoil(driver, memory_);
        EXPECT_FALSE(queue.pop().has_value());
        EXPECT_EQ(driver.take_used().size(), 1U) << "something was given back";
    }
}

TEST_F(VirtQueueTest, AChainInFlightCannotComeAgain) {
    VirtQueue queue = make();
    const Buffer buffer{kData, 4, true};
    driver_.add({&buffer, 1}, 3);
    DescriptorChain chain = pop(queue);
    driver_.make_available(3);
    EXPECT_FALSE(queue.pop().has_value());
    queue.push(std::move(chain), 0);
}

TEST_F(VirtQueueTest, AChainIsAsLongAsTheQueueAndNotLonger) {
    for (const bool indirect : {false, true}) {
        VirtQueue queue = make(kIndirect);
        test::DriverQueue driver{memory_, kRings, kSize};
        driver.set_available_index(0);
        const std::vector<Buffer> longest(kSize, Buffer{kData, 4, true});
        indirect ? driver.add_indirect(longest) : driver.add(longest);
        DescriptorChain chain = pop(queue);
        EXPECT_EQ(chain.writable().size(), kSize);
        queue.push(std::move(chain), 0);
    }
    VirtQueue queue = make(kIndirect);
    test::DriverQueue driver{memory_, kRings, kSize};
    driver.set_available_index(0);
    const std::vector<Buffer> longer(kSize + 1, Buffer{kData, 4, true});
    driver.add_indirect(longer);
    EXPECT_STREQ(queue.pop().error().what, "a chain does not end");
}

TEST_F(VirtQueueTest, AnIndirectTableIsRefusedWhereItWasNotNegotiated) {
    VirtQueue queue = make();
    const Buffer buffer{kData, 4, true};
    driver_.add_indirect({&buffer, 1});
    EXPECT_FALSE(queue.pop().has_value());
}

/// The driver's side of a queue whose requests another program answers, in the order that a test wants.
TEST_F(VirtQueueTest, WhatItWritesIsLogged) {
    const auto written = [this] {
        std::vector<uint64_t> pages;
        memory_.take_written([&](const GuestRange& range) {
            for (uint64_t at = raw(range.start()); at < raw(range.last()); at += GuestMemory::kLogPage) {
                pages.push_back(at);
            }
        });
        return pages;
    };
    for (const uint64_t features : {uint64_t{0}, kEventIndex}) {
        // The used ring alone in a page, and not all of it in one.
        QueueConfig config = driver_.config();
        config.device_area = GuestAddress{0x4ff8};
        VirtQueue queue = VirtQueue::make(memory_, config, features).value();
        driver_.set_available_index(0);
        const Buffer buffers[] = {{kData, 4, false}, {kData + 0x1ffe, 4, true}, {kData + 0x8000, 4, true}};
        driver_.add(buffers, 0);
        memory_.start_write_log();
        EXPECT_THAT(written(), testing::IsEmpty());
        queue.hold_kicks();
        DescriptorChain chain = pop(queue);
        (void)written();
        queue.stage(std::move(chain), 1);
        queue.publish();
        EXPECT_THAT(written(),
                    testing::ElementsAre(0x4000, 0x5000, kData + 0x1000, kData + 0x2000, kData + 0x8000));
        EXPECT_FALSE(queue.ask_for_kicks());
        EXPECT_THAT(written(), testing::ElementsAre(0x4000, 0x5000));
        memory_.stop_write_log();
    }
}

class TakeOver : public VirtQueueTest {
  protected:
    void request(int head) {
        const Buffer buffer[] = {{kData, 4, true}};
        driver_.add(buffer, static_cast<uint16_t>(head));
    }
    /// As the other program does it.
    void answer(int head) {
        const uint64_t used = raw(driver_.config().device_area);
        ASSERT_TRUE(memory_.write(GuestAddress{used + 4 + 8 * (answered_ % kSize)},
                                  vring_used_elem{static_cast<uint32_t>(head), 0}));
        ASSERT_TRUE(memory_.write(GuestAddress{used + 2}, ++answered_));
    }
    void set_used_index(uint16_t index) {
        answered_ = index;
        ASSERT_TRUE(memory_.write(GuestAddress{raw(driver_.config().device_area) + 2}, index));
    }
    /// What is owed, and what the queue does then.
    std::vector<uint16_t> owed() {
        VirtQueue queue = make();
        const auto heads = queue.take_over();
        EXPECT_TRUE(heads) << heads.error().what;
        for (const uint16_t head : heads.value()) {
            auto chain = queue.pop_owed(head);
            EXPECT_TRUE(chain);
            queue.push(std::move(*chain), 0);
            ++answered_;
        }
        EXPECT_FALSE(queue.pop().value()) << "something is left";
        EXPECT_TRUE(queue.take_over().value().empty());
        request(7);
        EXPECT_EQ(pop(queue).head(), 7);
        return heads.value();
    }
    uint16_t answered_ = 0;
};

TEST_F(TakeOver, NothingIsOwedOfAFreshQueue) {
    EXPECT_THAT(owed(), testing::ElementsAre());
}

TEST_F(TakeOver, AllThatWasNeverAnsweredIsOwed) {
    for (const int head : {3, 0, 6}) {
        request(head);
    }
    EXPECT_THAT(owed(), testing::UnorderedElementsAre(0, 3, 6));
}

TEST_F(TakeOver, AFullQueueMayBeOwed) {
    for (uint16_t head = 0; head < kSize; ++head) {
        request(head);
    }
    EXPECT_EQ(owed().size(), kSize);
}

TEST_F(TakeOver, AnswersOutOfOrderAreSeen) {
    // Heads are used again and again, as drivers do.
    for (int round = 0; round < 5; ++round) {
        for (const int head : {0, 1, 2}) {
            request(head);
        }
        for (const int head : {2, 0, 1}) {
            answer(head);
        }
    }
    for (const int head : {4, 1, 0, 2}) {
        request(head);
    }
    answer(0);
    answer(2);
    request(2);
    EXPECT_THAT(owed(), testing::UnorderedElementsAre(4, 1, 2));
}

TEST_F(TakeOver, OneThatIsStuckIsFoundAmongManyThatPass) {
    request(5);
    for (int round = 0; round < 3; ++round) {
        request(1);
        answer(1);
    }
    EXPECT_THAT(owed(), testing::UnorderedElementsAre(5));
}

TEST_F(TakeOver, ADriverMayHaveWrittenEntriesAheadOfItsIndex) {
    for (const int head : {0, 1, 2, 3}) {
        request(head);
    }
    answer(1);
    answer(2);
    const uint64_t entries = raw(driver_.config().driver_area) + 4;
    ASSERT_TRUE(memory_.write(GuestAddress{entries + 2 * 4}, uint16_t{4}));
    ASSERT_TRUE(memory_.write(GuestAddress{entries + 2 * 5}, uint16_t{5}));
    EXPECT_THAT(make().take_over().value(), testing::UnorderedElementsAre(0, 3));
}

TEST_F(TakeOver, EachChainIsTakenOnceFromADriverThatGoesOn) {
    constexpr int kRounds = 3000;
    std::atomic<int> begun = 0;
    std::atomic<int> ended = 0;
    std::thread driver{[&] {
        while (ended < kRounds) {
            while (begun <= ended) {
                std::this_thread::yield();
            }
            // Over the entries of the oldest that were answered.
            for (const uint16_t head : std::initializer_list<uint16_t>{4, 5, 6, 7}) {
                driver_.make_available(head);
            }
            ++ended;
        }
    }};
    while (begun < kRounds) {
        driver_.set_available_index(0);
        set_used_index(0);
        for (const int head : {0, 3, 4, 5, 6, 7}) {
            request(head);
            answer(head);
        }
        request(0);
        request(3);
        VirtQueue queue = make();
        const int round = ++begun;
        std::vector<uint16_t> heads = queue.take_over().value();
        while (ended < round) {
            std::this_thread::yield();
        }
        while (auto chain = queue.pop().value()) {
            heads.push_back(chain->head());
        }
        EXPECT_THAT(heads, testing::UnorderedElementsAre(0, 3, 4, 5, 6, 7));
        if (HasFailure()) {
            begun = kRounds;
        }
    }
    driver.join();
}

TEST_F(TakeOver, IndicesWrap) {
    driver_.set_available_index(0xfffe);
    set_used_index(0xfffe);
    for (const int head : {1, 2, 3}) {
        request(head);
    }
    answer(2);
    EXPECT_THAT(owed(), testing::UnorderedElementsAre(1, 3));
}

TEST_F(TakeOver, WhatMakesNoSenseIsAnError) {
    const auto row = [&](const char* what, const std::function<void()>& scribble) {
        ASSERT_TRUE(memory_.discard(GuestRange::of(0, kEnd)));
        driver_.set_available_index(0);
        set_used_index(0);
        scribble();
        VirtQueue queue = make();
        EXPECT_FALSE(queue.take_over()) << what;
    };
    row("more than there are", [&] { driver_.set_available_index(kSize + 1); });
    row("used before it was available", [&] { set_used_index(1); });
    row("no head", [&] {
        request(0);
        ASSERT_TRUE(memory_.write(GuestAddress{raw(driver_.config().driver_area) + 4}, uint16_t{kSize}));
    });
    row("the same twice", [&] {
        request(1);
        request(1);
    });
}

TEST_F(TakeOver, AnOwedChainIsCheckedAsEveryOther) {
    const Buffer outside[] = {{kEnd, 4, true}};
    driver_.add(outside, 1);
    VirtQueue queue = make();
    ASSERT_EQ(queue.take_over().value().size(), 1U);
    EXPECT_FALSE(queue.pop_owed(1));
}

}  // namespace
}  // namespace hull::virtio
