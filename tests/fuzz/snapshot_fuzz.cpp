// What claims to be a snapshot's state file: any bytes; or one whose checksums are right, of sections with
// any content. Input: which of the two, and then the bytes.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/fuzz/input.h"
#include "vmm/machine/snapshot.h"

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace hull;
    const auto bytes = std::as_bytes(std::span{data, size});
    if (bytes.empty()) {
        return 0;
    }
    const auto rest = bytes.subspan(1);
    try {
        if (bytes.front() == std::byte{0}) {
            const SnapshotState state = SnapshotState::parse(rest, "fuzz");
            // What is read is what would be written.
            const std::vector<std::byte> again = state.to_bytes();
            test::require(std::equal(again.begin(), again.end(), rest.begin(), rest.end()));
            return 0;
        }
        SnapshotState made;
        made.add("memory", {rest.begin(), rest.end()});
        const SnapshotState state = SnapshotState::parse(made.to_bytes(), "fuzz");
        const SnapshotMemory memory = SnapshotMemory::parse(state.section("memory"));
        test::require(!memory.regions().empty());
        const std::vector<std::byte> again = memory.to_bytes();
        test::require(std::equal(again.begin(), again.end(), rest.begin(), rest.end()));
    } catch (const Error& error) {
        test::require(error.status() == ExitStatus::bad_file);
    }
    return 0;
}
