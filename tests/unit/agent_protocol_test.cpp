// The frames between host and agent: what one side writes the other reads, and nothing else passes.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "guest/agent/protocol.h"
#include "tests/support/frames.h"

namespace hull::agent {
namespace {

/// Feeds `bytes` in pieces of `piece` bytes and answers the types and sizes of the frames that come out.
std::vector<std::pair<uint32_t, uint32_t>> read_all(const std::string& bytes, size_t piece, size_t most,
                                                    bool& is_bad) {
    std::vector<uint8_t> room(kHeaderSize + most);
    FrameReader reader{room.data(), room.size()};
    std::vector<std::pair<uint32_t, uint32_t>> seen;
    for (size_t done = 0; done < bytes.size() && !reader.is_bad();) {
        const size_t count = std::min({piece, bytes.size() - done, reader.space_size()});
        if (count == 0) {
            ADD_FAILURE() << "no room, and no frame";
            break;
        }
        memcpy(reader.space(), bytes.data() + done, count);
        reader.add(count);
        done += count;
        for (Frame frame; reader.next(frame);) {
            seen.emplace_back(frame.type, frame.size);
        }
    }
    is_bad = reader.is_bad();
    return seen;
}

TEST(AgentProtocol, FramesComeOutWholeHoweverTheyAreCut) {
    std::string bytes = test::hello_frame() + test::raw_frame(kData, 0, std::string(100, 'x')) +
                        test::frame(kEnd, 0) + test::raw_frame(kData, 0, std::string(84, 'y'));
    for (const size_t piece : {1U, 2U, 11U, 12U, 13U, 64U, 1000U}) {
        bool is_bad = false;
        const auto seen = read_all(bytes, piece, 100, is_bad);
        EXPECT_FALSE(is_bad);
        EXPECT_EQ(seen, (std::vector<std::pair<uint32_t, uint32_t>>{
                            {kHello, 16}, {kData, 100}, {kEnd, 0}, {kData, 84}}))
            << piece;
    }
}

TEST(AgentProtocol, AFrameThatIsTooLargeIsRefusedAtItsHeader) {
    for (const uint32_t size : {101U, 0x7fff'ffffU, 0xffff'ffffU}) {
        std::string header = test::raw_frame(kData, 0, "");
        store_word(reinterpret_cast<uint8_t*>(header.data()) + 8, size);
        bool is_bad = false;
        EXPECT_TRUE(read_all(header, 12, 100, is_bad).empty());
        EXPECT_TRUE(is_bad) << size;
    }
}

TEST(AgentProtocol, FieldsKeepWhatWasPutIn) {
    const std::string bytes = test::frame(kRun, 7, [](FrameWriter& frame) {
        frame.add_text(kArgument, "");
        frame.add_number(kCapabilities, 0x8000'0000'0000'0001);
        frame.add_bytes(kContent, "a\0b", 3);
    });
    const Frame frame{kRun, 7, reinterpret_cast<const uint8_t*>(bytes.data()) + kHeaderSize,
                      static_cast<uint32_t>(bytes.size() - kHeaderSize)};
    FieldReader fields{frame};
    Field field;
    ASSERT_TRUE(fields.next(field));
    EXPECT_EQ(field.tag, kArgument);
    EXPECT_STREQ(field.text(), "");
    ASSERT_TRUE(fields.next(field));
    uint64_t value = 0;
    EXPECT_TRUE(field.number(value));
    EXPECT_EQ(value, 0x8000'0000'0000'0001);
    EXPECT_EQ(field.text(), nullptr);
    ASSERT_TRUE(fields.next(field));
    EXPECT_EQ(field.size, 3U);
    EXPECT_EQ(field.text(), nullptr) << "a zero in the middle";
    EXPECT_FALSE(field.number(value));
    EXPECT_FALSE(fields.next(field));
    EXPECT_FALSE(fields.is_bad());
}

TEST(AgentProtocol, AFieldThatEndsBehindItsFrameIsBad) {
    const std::string whole =
        test::frame(kFolder, 0, [](FrameWriter& frame) { frame.add_text(kPath, "/x"); }).substr(kHeaderSize);
    for (size_t size = 1; size < whole.size(); ++size) {
        const Frame frame{kFolder, 0, reinterpret_cast<const uint8_t*>(whole.data()),
                          static_cast<uint32_t>(size)};
        FieldReader fields{frame};
        Field field;
        EXPECT_FALSE(fields.next(field)) << size;
        EXPECT_TRUE(fields.is_bad()) << size;
    }
    std::string large = whole;
    store_word(reinterpret_cast<uint8_t*>(large.data()) + 4, 0xffff'ffff);
    const Frame frame{kFolder, 0, reinterpret_cast<const uint8_t*>(large.data()),
                      static_cast<uint32_t>(large.size())};
    FieldReader fields{frame};
    Field field;
    EXPECT_FALSE(fields.next(field));
    EXPECT_TRUE(fields.is_bad());
}

TEST(AgentProtocol, AFrameWithoutRoomHasNoSize) {
    std::array<uint8_t, kHeaderSize + 20> room{};
    FrameWriter frame{room.data(), room.size(), kFile, 0};
    frame.add_text(kPath, "12345678901");
    EXPECT_EQ(frame.size(), room.size());
    frame.add_bytes(kContent, "", 0);
    EXPECT_EQ(frame.size(), 0U);
}

}  // namespace
}  // namespace hull::agent
