#include "container/main/daemon_config.h"

#include <unistd.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <cstdlib>

#include "base/error.h"
#include "base/printable.h"
#include "base/small_file.h"
#include "vmm/main/command_line.h"
#include "vmm/main/config_file.h"

namespace hull::container {

namespace options = boost::program_options;
namespace fs = std::filesystem;

namespace {

constexpr const char* kConfig = "config";

/// As a word of the command line; empty where it says what is so anyway.
std::string word_of(const options::options_description& known, const Setting& setting, const fs::path& file) {
    const std::string tried = "cannot use configuration file '" + file.string() + "'";
    const std::string name = "'" + printable(setting.key) + "'";
    const auto option = std::ranges::find_if(
        known.options(), [&](const auto& each) { return each->long_name() == setting.key; });
    if (option == known.options().end() || setting.key == kConfig || setting.key == "help") {
        throw Error{ExitStatus::usage, tried, name + " is nothing that can be set there",
                    "see 'hull daemon --help': the keys are called as the options are"};
    }
    if ((*option)->semantic()->max_tokens() > 0) {
        return "--" + setting.key + "=" + setting.value;
    }
    if (setting.value != "true" && setting.value != "false") {
        throw Error{ExitStatus::usage, tried, name + " is neither true nor false", "mend it"};
    }
    return setting.value == "true" ? "--" + setting.key : "";
}

}  // namespace

fs::path default_daemon_config() {
    if (geteuid() == 0) {
        return "/etc/hull/daemon.json";
    }
    const char* const config = std::getenv("XDG_CONFIG_HOME");
    if (config != nullptr && *config == '/') {
        return fs::path{config} / "hull/daemon.json";
    }
    const char* const home = std::getenv("HOME");
    return home == nullptr || *home != '/' ? fs::path{} : fs::path{home} / ".config/hull/daemon.json";
}

options::variables_map with_config_file(const options::options_description& known,
                                        const std::vector<std::string>& arguments,
                                        const options::variables_map& given, const fs::path& by_default) {
    const bool is_named = given.count(kConfig) > 0;
    const fs::path file =
        is_named ? fs::path{single_value(given[kConfig].as<OptionValues>(), kConfig)} : by_default;
    std::error_code ignored;
    if (!is_named && (file.empty() || !fs::exists(file, ignored))) {
        return given;
    }
    std::vector<std::string> words;
    for (const Setting& setting : parse_config(file_text(file), file)) {
        std::string word = word_of(known, setting, file);
        if (!word.empty() && given.count(setting.key) == 0) {
            words.push_back(std::move(word));
        }
    }
    words.insert(words.end(), arguments.begin(), arguments.end());
    return read_command_line(known, words, "see 'hull daemon --help', and the configuration file");
}

}  // namespace hull::container
