// A machine's configuration as a JSON file.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hull {

/// One key of a configuration file as the command-line option of the same name: texts as they stand, numbers
/// in decimal digits, true and false as such; a list gives one setting for each of its texts.
struct Setting {
    std::string key;
    std::string value;
};

/// Takes a JSON object apart. `name` is the file's, for messages. Keys that are no options are the caller's
/// to refuse. Throws Error (usage) with the line for malformed JSON, a key that comes twice, or a value of no
/// use.
std::vector<Setting> parse_config(std::string_view text, const std::string& name);

}  // namespace hull
