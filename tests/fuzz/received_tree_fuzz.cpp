// Files that a guest sends back: whatever it sends, nothing gets out of the folder.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/unique_fd.h"
#include "guest/agent/protocol.h"
#include "tests/fuzz/input.h"
#include "tests/support/frames.h"
#include "vmm/agent/received_tree.h"

namespace {

using namespace hull;
using test::require;
namespace fs = std::filesystem;

/// A folder with one for the tree in it, and nothing else.
struct Place {
    static std::string make_folder() {
        std::string name = "/tmp/hull-tree-fuzz-XXXXXX";
        require(mkdtemp(name.data()) != nullptr);
        return name;
    }
    ~Place() { fs::remove_all(folder); }
    std::string folder = make_folder();
    std::string tree = folder + "/a/tree";
};

/// Names that mean something, and bytes that need not.
std::string make_path(test::FuzzInput& input) {
    static const char* const kNames[] = {"a", "b", "c", "d", "..", ".", "", "/", "/etc", "tree"};
    std::string path;
    for (int left = input.byte() % 5; left >= 0; --left) {
        const uint8_t which = input.byte();
        path += which < 240 ? kNames[which % 10] : std::string(1, static_cast<char>(input.byte() | 1));
        path += left > 0 ? "/" : "";
    }
    return path;
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static const Place place;
    fs::remove_all(place.folder + "/a");
    fs::create_directories(place.tree);
    test::FuzzInput input{{data, size}};
    ReceivedTree tree{UniqueFd{open(place.tree.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)},
                      {.bytes = 200'000, .entries = 30}};
    bool goes_on = true;
    while (!input.empty() && goes_on) {
        static constexpr uint32_t kKinds[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFREG,
                                              S_IFDIR, S_IFLNK, S_IFCHR, 0};
        const uint8_t what = input.byte();
        std::string bytes;
        if (what < 160) {
            bytes = test::frame(agent::kEntry, 0, [&](agent::FrameWriter& writer) {
                writer.add_text(agent::kPath, make_path(input).c_str());
                writer.add_number(agent::kMode, kKinds[what % 8] | 07777);
                writer.add_text(agent::kTarget, make_path(input).c_str());
            });
        } else if (what < 240) {
            bytes = test::raw_frame(agent::kData, 0, std::string(input.half_word(), 'x'));
        } else {
            std::string payload;
            for (int left = input.byte(); left > 0; --left) {
                payload += static_cast<char>(input.byte());
            }
            bytes = test::raw_frame(agent::kEntry + input.byte() % 4, 0, payload);
        }
        const auto* words = reinterpret_cast<const uint8_t*>(bytes.data());
        goes_on = tree.take({agent::load_word(words), 0, words + agent::kHeaderSize,
                             static_cast<uint32_t>(bytes.size() - agent::kHeaderSize)})
                      .has_value();
    }
    // Nothing is beside the tree, and each of its links stays inside.
    require(std::distance(fs::directory_iterator{place.folder}, fs::directory_iterator{}) == 1);
    require(std::distance(fs::directory_iterator{place.folder + "/a"}, fs::directory_iterator{}) == 1);
    uint64_t total = 0;
    for (const auto& entry : fs::recursive_directory_iterator{place.tree}) {
        std::error_code error;
        if (entry.is_symlink()) {
            const std::string target = fs::weakly_canonical(entry.path(), error);
            require(error || target == place.tree || target.starts_with(place.tree + "/"));
        } else if (entry.is_regular_file()) {
            total += entry.file_size();
            require((entry.status().permissions() & fs::perms{07000}) == fs::perms::none);
        }
    }
    require(total <= 200'000);
    return 0;
}
