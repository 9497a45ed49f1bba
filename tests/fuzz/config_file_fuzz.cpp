// Configuration files: settings or an Error, nothing else.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/error.h"
#include "vmm/machine/config.h"
#include "vmm/machine/option_text.h"
#include "vmm/main/config_file.h"

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    try {
        for (const hull::Setting& setting :
             hull::parse_config({reinterpret_cast<const char*>(data), size}, "fuzzed")) {
            if (setting.value.find('\0') != std::string::npos) {
                std::abort();
            }
            // The values' own parsers, whatever the key is.
            for (const auto parse :
                 {+[](const std::string& text) { hull::parse_memory_size(text, "--memory"); },
                  +[](const std::string& text) { hull::parse_seconds(text, "--stop-timeout"); },
                  +[](const std::string& text) { hull::parse_number(text, "--cpus", 1, 254); },
                  +[](const std::string& text) { hull::ConsoleConfig::parse(text); }}) {
                try {
                    parse(setting.value);
                } catch (const hull::Error&) {
                }
            }
        }
    } catch (const hull::Error& error) {
        if (std::string_view{error.what()}.find("line ") == std::string_view::npos) {
            std::abort();
        }
    }
    return 0;
}
