#include "vmm/machine/snapshot.h"

#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/error.h"
#include "base/mapping.h"
#include "base/printable.h"
#include "base/random.h"
#include "base/small_file.h"

namespace hull {

namespace {

static_assert(std::endian::native == std::endian::little);

using namespace std::string_view_literals;

constexpr std::string_view kStateMagic = "HULLSNAP"sv;
constexpr std::string_view kMemoryMagic = "HULLMEMO"sv;
constexpr uint64_t kPage = 4096;
constexpr uint32_t kMostSections = 1024;
constexpr size_t kMostName = 255;
constexpr uint32_t kMostRegions = 64;
constexpr std::string_view kItsMemory = "the snapshot's memory"sv;

uint64_t checksum(std::string_view name, std::span<const std::byte> content, uint64_t number) {
    return XXH3_64bits_withSeed(content.data(), content.size(),
                                XXH3_64bits_withSeed(name.data(), name.size(), number));
}

bool is_zero(std::span<const std::byte> page) {
    // Each byte is like the one before it, and the first is zero: memcmp() has the fastest loop there is.
    return page.front() == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

/// Never 0, which is an empty chunk's.
uint64_t checksum_of(std::span<const std::byte> chunk) {
    return is_zero(chunk) ? 0 : std::max<uint64_t>(XXH3_64bits(chunk.data(), chunk.size()), 1);
}

/// Calls each(chunk, its place in the file) for the regions one after the other.
template <typename Regions, typename Each>
void for_each_chunk(const Regions& regions, Each each) {
    uint64_t place = 0;
    for (const std::span<const std::byte> region : regions) {
        for (uint64_t at = 0; at < region.size(); at += SnapshotMemory::kChunk) {
            const auto chunk = region.subspan(at, std::min(SnapshotMemory::kChunk, region.size() - at));
            each(chunk, place + at);
        }
        place += region.size();
    }
}

[[noreturn]] void refuse_write(std::string_view what, int cause) {
    throw Error{cause == ENOSPC ? ExitStatus::no_resources : ExitStatus::bad_file,
                std::string{"cannot write "}.append(what), errno_text(cause),
                "make room, or write the snapshot elsewhere"};
}

void write_at(int fd, std::span<const std::byte> bytes, uint64_t place, std::string_view what) {
    while (!bytes.empty()) {
        const ssize_t done = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(place));
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            refuse_write(what, errno);
        }
        bytes = bytes.subspan(static_cast<size_t>(done));
        place += static_cast<uint64_t>(done);
    }
}

/// Leaves out the pages that are zero.
void write_chunk(int fd, std::span<const std::byte> chunk, uint64_t place) {
    size_t begin = 0;  // of what is to be written
    for (size_t at = 0; at < chunk.size(); at += kPage) {
        if (is_zero(chunk.subspan(at, kPage))) {
            write_at(fd, chunk.subspan(begin, at - begin), place + begin, kItsMemory);
            begin = at + kPage;
        }
    }
    if (begin < chunk.size()) {
        write_at(fd, chunk.subspan(begin), place + begin, kItsMemory);
    }
}

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span{text});
}

/// What stands behind the memory.
std::array<std::byte, kPage> last_page(std::span<const std::byte> id) {
    std::array<std::byte, kPage> page{};
    std::ranges::copy(bytes_of(kMemoryMagic), page.begin());
    std::ranges::copy(id, page.begin() + kMemoryMagic.size());
    return page;
}

}  // namespace

void SnapshotState::add(std::string name, std::vector<std::byte> content) {
    sections_.emplace_back(std::move(name), std::move(content));
}

std::vector<std::byte> SnapshotState::to_bytes() const {
    StateWriter writer;
    for (const char character : kStateMagic) {
        writer.put(static_cast<uint8_t>(character));
    }
    writer.put(kVersion);
    writer.put(static_cast<uint32_t>(sections_.size()));
    uint64_t number = 0;
    for (const auto& [name, content] : sections_) {
        writer.put_bytes(bytes_of(name));
        writer.put_bytes(content);
        writer.put(checksum(name, content, number++));
    }
    return writer.bytes();
}

SnapshotState SnapshotState::parse(std::span<const std::byte> bytes, const std::string& file) {
    const auto refuse = [&file](const std::string& why, std::string_view advice) {
        throw Error{ExitStatus::bad_file, "cannot use the snapshot's state '" + file + "'", why, advice};
    };
    if (bytes.size() < kStateMagic.size() ||
        !std::ranges::equal(bytes.first(kStateMagic.size()), bytes_of(kStateMagic))) {
        refuse("it is no such file", "give the folder that 'hull ctl … snapshot' has written");
    }
    StateReader reader{bytes.subspan(kStateMagic.size())};
    SnapshotState state;
    state.file_ = file;
    uint32_t version = 0;
    std::string reading = "its header";
    try {
        version = reader.get<uint32_t>();
        const uint32_t count = version == kVersion ? reader.get<uint32_t>() : 0;
        reader.require(count <= kMostSections, "it has too many sections");
        for (uint32_t number = 0; number < count; ++number) {
            reading = "its section " + std::to_string(number + 1);
            const auto name = reader.get_bytes();
            reader.require(name.size() <= kMostName, "its name is too long");
            const std::string text{reinterpret_cast<const char*>(name.data()), name.size()};
            reading += " ('" + printable(text) + "')";
            const auto content = reader.get_bytes();
            reader.require(reader.get<uint64_t>() == checksum(text, content, number),
                           "its checksum is wrong");
            state.add(text, {content.begin(), content.end()});
        }
        reading = "its end";
        if (version == kVersion) {
            reader.end();
        }
    } catch (const Error& /*names a part of a machine*/) {
        refuse(reading + " is damaged", "it was changed after it was written; use another snapshot");
    }
    if (version != kVersion) {
        refuse("it is of version " + std::to_string(version) + ", and this hull knows version " +
                   std::to_string(kVersion),
               "restore it with the hull that wrote it");
    }
    return state;
}

SnapshotState SnapshotState::read(const std::filesystem::path& file) {
    const std::string text = file_text(file);
    return parse(bytes_of(text), file.string());
}

std::span<const std::byte> SnapshotState::section(std::string_view name) const {
    const auto found = std::ranges::find(sections_, name, [](const auto& section) { return section.first; });
    if (found == sections_.end()) {
        throw Error{ExitStatus::bad_file, "cannot use the snapshot's state '" + file_ + "'",
                    "it has no section '" + std::string{name} + "'", "use another snapshot"};
    }
    return found->second;
}

SnapshotMemory SnapshotMemory::write(const GuestMemory& memory, int fd) {
    SnapshotMemory written;
    take_random(written.id_);
    std::vector<std::span<const std::byte>> regions;
    for (const GuestMemory::Region& region : memory.regions()) {
        written.regions_.push_back(region.range);
        regions.emplace_back(region.mapping.bytes());
    }
    for_each_chunk(regions, [&](std::span<const std::byte> chunk, uint64_t place) {
        const uint64_t sum = checksum_of(chunk);
        written.checksums_.push_back(sum);
        if (sum != 0) {
            write_chunk(fd, chunk, place);
        }
    });
    write_at(fd, last_page(written.id_), written.size(), kItsMemory);
    if (fdatasync(fd) != 0) {
        refuse_write(kItsMemory, errno);
    }
    return written;
}

void write_whole(int fd, std::span<const std::byte> bytes, std::string_view what) {
    write_at(fd, bytes, 0, what);
    if (fdatasync(fd) != 0) {
        refuse_write(what, errno);
    }
}

uint64_t SnapshotMemory::size() const {
    uint64_t sum = 0;
    for (const GuestRange& region : regions_) {
        sum += region.size();
    }
    return sum;
}

std::vector<std::byte> SnapshotMemory::to_bytes() const {
    StateWriter writer;
    writer.begin("memory");
    writer.put_bytes(id_);
    writer.put(static_cast<uint32_t>(regions_.size()));
    for (const GuestRange& region : regions_) {
        writer.put(raw(region.start()));
        writer.put(region.size());
    }
    writer.put_bytes(std::as_bytes(std::span{checksums_}));
    return writer.bytes();
}

SnapshotMemory SnapshotMemory::parse(std::span<const std::byte> section) {
    StateReader reader{section};
    SnapshotMemory memory;
    reader.begin("memory");
    const auto id = reader.get_bytes();
    reader.require(id.size() == memory.id_.size(), "it has no identity");
    std::ranges::copy(id, memory.id_.begin());
    const auto count = reader.get<uint32_t>();
    reader.require(count >= 1 && count <= kMostRegions, "it has an impossible number of regions");
    uint64_t chunks = 0;
    for (uint32_t number = 0; number < count; ++number) {
        const auto start = reader.get<uint64_t>();
        const auto size = reader.get<uint64_t>();
        const auto range = GuestRange::make(GuestAddress{start}, size);
        reader.require(range && start % kPage == 0 && size % kPage == 0 &&
                           (memory.regions_.empty() || memory.regions_.back().last() < range->start()),
                       "its regions make no sense");
        memory.regions_.push_back(*range);
        chunks += (size - 1) / kChunk + 1;
    }
    const auto sums = reader.get_bytes();
    reader.require(sums.size() % sizeof(uint64_t) == 0 && sums.size() / sizeof(uint64_t) == chunks,
                   "it has not one checksum for each part of the memory");
    memory.checksums_.resize(chunks);
    std::memcpy(memory.checksums_.data(), sums.data(), sums.size());
    reader.end();
    return memory;
}

void SnapshotMemory::check(const InputFile& file) const {
    const auto refuse = [&file](std::string_view why) {
        throw Error{ExitStatus::bad_file, "cannot use the snapshot's memory '" + file.path.string() + "'",
                    why, "give the memory that was written together with the state"};
    };
    if (file.size != size() + kPage) {
        refuse("it has another size than the state says");
    }
    std::array<std::byte, kPage> found{};
    read_exactly(file, kItsMemory, size(), found.data(), found.size());
    if (found != last_page(id_)) {
        refuse("it belongs to another state");
    }
}

void SnapshotMemory::verify(const InputFile& file) const {
    check(file);
    const Mapping whole = Mapping::of_file(file, kItsMemory);
    std::vector<std::span<const std::byte>> regions;
    std::span<const std::byte> rest{whole.bytes()};
    for (const GuestRange& region : regions_) {
        regions.push_back(rest.first(region.size()));
        rest = rest.subspan(region.size());
    }
    auto expected = checksums_.begin();
    for_each_chunk(regions, [&](std::span<const std::byte> chunk, uint64_t place) {
        if (checksum_of(chunk) != *expected++) {
            throw Error{ExitStatus::bad_file, "cannot use the snapshot's memory '" + file.path.string() + "'",
                        "what lies from byte " + std::to_string(place) + " on is not what was written",
                        "it was damaged after it was written; use another snapshot"};
        }
    });
}

}  // namespace hull
