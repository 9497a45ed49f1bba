// The command line of `hull boot`: a machine or an Error, and a machine's JSON makes the same machine again.
// Input: words, a line each.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "tests/fuzz/input.h"
#include "vmm/main/options.h"

namespace {

using namespace hull;
using test::require;

std::string json_of(const std::vector<std::string>& words) {
    const MachineConfig config = parse_boot_options(words).config;
    config.check();
    return config.to_json();
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::vector<std::string> words{"--kernel=fuzz"};
    std::string word;
    for (const uint8_t byte : std::span{data, size}) {
        if (byte == '\n') {
            // No files of the host's.
            if (!word.starts_with("--config")) {
                words.push_back(word);
            }
            word.clear();
        } else {
            // Neither zeros, which no word has, nor what is no UTF-8, which JSON has not.
            const auto letter = static_cast<char>(byte & 0x7f);
            word += letter != 0 ? letter : ' ';
        }
    }
    std::string json;
    try {
        json = json_of(words);
    } catch (const Error& error) {
        require(error.status() == ExitStatus::usage || error.status() == ExitStatus::no_resources);
        return 0;
    }
    const UniqueFd file{memfd_create("fuzz", MFD_CLOEXEC)};
    require(write(file.get(), json.data(), json.size()) == static_cast<ssize_t>(json.size()));
    try {
        require(json_of({"--config=/proc/self/fd/" + std::to_string(file.get())}) == json);
    } catch (const Error&) {
        require(false);
    }
    return 0;
}
