// A snapshot's two files: what was written is read again, and what was changed since is refused.
#include "vmm/machine/snapshot.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/errors.h"
#include "tests/support/files.h"

namespace hull {
namespace {

using test::expect_error;

std::vector<std::byte> bytes_of(std::string_view text) {
    const auto bytes = std::as_bytes(std::span{text});
    return {bytes.begin(), bytes.end()};
}

std::string text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

SnapshotState some_state() {
    SnapshotState state;
    state.add("config", bytes_of(R"({"cpus": 1})"));
    state.add("empty", {});
    state.add("vcpu 0", bytes_of("registers"));
    return state;
}

TEST(SnapshotState, HasTheSectionsThatWereWritten) {
    const SnapshotState state = SnapshotState::parse(some_state().to_bytes(), "state");
    EXPECT_EQ(text_of(state.section("config")), R"({"cpus": 1})");
    EXPECT_EQ(text_of(state.section("empty")), "");
    EXPECT_EQ(text_of(state.section("vcpu 0")), "registers");
    expect_error([&] { static_cast<void>(state.section("vcpu 1")); }, ExitStatus::bad_file,
                 {"'state'", "'vcpu 1'"});
}

TEST(SnapshotState, WithAnyByteChangedIsRefused) {
    const std::vector<std::byte> good = some_state().to_bytes();
    for (size_t at = 0; at < good.size(); ++at) {
        for (const std::byte change : {std::byte{0x01}, std::byte{0x80}, std::byte{0xff}}) {
            std::vector<std::byte> bad = good;
            bad[at] ^= change;
            expect_error([&] { SnapshotState::parse(bad, "the-file"); }, ExitStatus::bad_file, {"the-file"});
        }
    }
    const size_t registers = text_of(good).find("registers");
    std::vector<std::byte> bad = good;
    bad[registers] ^= std::byte{1};
    expect_error([&] { SnapshotState::parse(bad, "f"); }, ExitStatus::bad_file,
                 {"section 3 ('vcpu 0')", "damaged"});
}

TEST(SnapshotState, CutOffOrLengthenedIsRefused) {
    const std::vector<std::byte> good = some_state().to_bytes();
    for (size_t size = 0; size < good.size(); ++size) {
        expect_error([&] { SnapshotState::parse(std::span{good}.first(size), "f"); }, ExitStatus::bad_file,
                     {"'f'"});
    }
    std::vector<std::byte> longer = good;
    longer.push_back({});
    expect_error([&] { SnapshotState::parse(longer, "f"); }, ExitStatus::bad_file, {"its end is damaged"});
}

TEST(SnapshotState, OfAnotherVersionSaysSo) {
    std::vector<std::byte> other = some_state().to_bytes();
    other[8] = std::byte{77};
    expect_error([&] { SnapshotState::parse(other, "f"); }, ExitStatus::bad_file,
                 {"version 77", "version 1", "with the hull that wrote it"});
}

constexpr uint64_t kPage = 4096;
constexpr uint64_t kChunk = SnapshotMemory::kChunk;

class SnapshotMemoryTest : public testing::Test {
  protected:
    void poke(uint64_t address, std::string_view text) {
        ASSERT_TRUE(memory_.write_bytes(GuestAddress{address}, std::as_bytes(std::span{text})));
    }
    void write() {
        fd_ = UniqueFd{memfd_create("memory", MFD_CLOEXEC)};
        saved_.emplace(SnapshotMemory::parse(SnapshotMemory::write(memory_, fd_.get()).to_bytes()));
    }
    InputFile file() const {
        struct stat status {};
        fstat(fd_.get(), &status);
        return {duplicate(fd_.get()), static_cast<uint64_t>(status.st_size), "the-memory"};
    }
    void change(uint64_t offset, char to) const {
        ASSERT_EQ(pwrite(fd_.get(), &to, 1, static_cast<off_t>(offset)), 1);
    }

    const std::vector<GuestRange> ranges_{GuestRange::of(0, 2 * kChunk + 3 * kPage),
                                          GuestRange::of(0x1'0000'0000, kChunk)};
    GuestMemory memory_{ranges_, Mapping::Pages::transparent};
    UniqueFd fd_;
    std::optional<SnapshotMemory> saved_;
};

TEST_F(SnapshotMemoryTest, IsTheGuestsAgain) {
    poke(0, "first");
    poke(2 * kChunk + 3 * kPage - 4, "last");
    poke(0x1'0000'0000 + 5 * kPage, "high");
    write();
    EXPECT_EQ(saved_->regions(), ranges_);
    saved_->check(file());
    saved_->verify(file());
    const GuestMemory again{saved_->regions(), file()};
    for (const auto& region : memory_.regions()) {
        const auto copy = again.slice(region.range);
        ASSERT_TRUE(copy);
        EXPECT_EQ(std::memcmp(copy->data(), region.mapping.data(), copy->size()), 0);
    }
}

TEST_F(SnapshotMemoryTest, TakesNoRoomForZeros) {
    poke(kChunk, "alone");
    write();
    struct stat status {};
    fstat(fd_.get(), &status);
    EXPECT_EQ(static_cast<uint64_t>(status.st_size), 3 * kChunk + 3 * kPage + kPage);
    EXPECT_LE(static_cast<uint64_t>(status.st_blocks) * 512, 4 * kPage);
}

TEST_F(SnapshotMemoryTest, WithAnyPartChangedIsFound) {
    poke(kChunk + 1, "text");
    write();
    for (const uint64_t place : {uint64_t{0}, kChunk - 1, kChunk + 1, 2 * kChunk + 3 * kPage - 1,
                                 2 * kChunk + 3 * kPage, 3 * kChunk + 3 * kPage - 1}) {
        char before = 0;
        ASSERT_EQ(pread(fd_.get(), &before, 1, static_cast<off_t>(place)), 1);
        change(place, static_cast<char>(before + 1));
        saved_->check(file());
        expect_error([&] { saved_->verify(file()); }, ExitStatus::bad_file, {"the-memory", "from byte "});
        change(place, before);
    }
    saved_->verify(file());
}

TEST_F(SnapshotMemoryTest, OfAnotherStateIsRefused) {
    write();
    const UniqueFd first = std::move(fd_);
    const SnapshotMemory saved = *saved_;
    write();
    expect_error([&] { saved.check(file()); }, ExitStatus::bad_file, {"the-memory", "another state"});
    ASSERT_EQ(ftruncate(fd_.get(), static_cast<off_t>(kChunk)), 0);
    expect_error([&] { saved_->check(file()); }, ExitStatus::bad_file, {"another size"});
}

TEST_F(SnapshotMemoryTest, BelongsToItsMachineAlone) {
    poke(0, "saved");
    write();
    GuestMemory one{saved_->regions(), file()};
    GuestMemory two{saved_->regions(), file()};
    ASSERT_TRUE(one.write(GuestAddress{0}, std::array{'m', 'i', 'n', 'e', '!'}));
    EXPECT_EQ((two.read<std::array<char, 5>>(GuestAddress{0})), (std::array{'s', 'a', 'v', 'e', 'd'}));
    saved_->verify(file());
    // What is given back reads as zeros, not as the file's again.
    ASSERT_TRUE(one.discard(GuestRange::of(0, kPage)));
    EXPECT_EQ(one.read<uint64_t>(GuestAddress{0}), 0U);
}

TEST(SnapshotMemory, RefusesSectionsThatMakeNoSense) {
    struct Row {
        const char* what;
        uint32_t count;
        std::vector<std::pair<uint64_t, uint64_t>> regions;
        size_t sums;
    };
    const std::array<Row, 8> rows{{
        {"no regions", 0, {}, 0},
        {"too many", 1'000'000, {}, 0},
        {"empty region", 1, {{0, 0}}, 0},
        {"no whole pages", 1, {{0, 100}}, 1},
        {"wraps", 1, {{~uint64_t{0} - kPage + 1, 2 * kPage}}, 1},
        {"not in order", 2, {{kChunk, kPage}, {0, kPage}}, 2},
        {"overlap", 2, {{0, 2 * kPage}, {kPage, kPage}}, 2},
        {"a checksum too few", 1, {{0, 2 * kChunk}}, 1},
    }};
    for (const Row& row : rows) {
        StateWriter writer;
        writer.begin("memory");
        writer.put_bytes(std::array<std::byte, 16>{});
        writer.put(row.count);
        for (const auto& [start, size] : row.regions) {
            writer.put(start);
            writer.put(size);
        }
        writer.put_bytes(std::vector<std::byte>(row.sums * 8));
        SCOPED_TRACE(row.what);
        expect_error([&] { SnapshotMemory::parse(writer.bytes()); }, ExitStatus::bad_file, {"memory"});
    }
}

}  // namespace
}  // namespace hull
