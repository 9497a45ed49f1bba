// The daemon's configuration file.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <filesystem>
#include <string>
#include <vector>

namespace hull::container {

/// /etc/hull/daemon.json for root, $XDG_CONFIG_HOME/hull/daemon.json or ~/.config/hull/daemon.json for
/// others; empty where there is no home.
std::filesystem::path default_daemon_config();

/// The options of a command line (`arguments`, which was read as `given`) and, of those that it does not
/// have, the ones of the JSON file that --config names, or of `by_default` where that is there. Its keys are
/// the options' names; those that may be given several times have lists, and those without a value true or
/// false. Throws Error: usage for a malformed file and for a key that is no option; bad_file where the one
/// that was named cannot be read.
boost::program_options::variables_map with_config_file(
    const boost::program_options::options_description& known, const std::vector<std::string>& arguments,
    const boost::program_options::variables_map& given, const std::filesystem::path& by_default);

}  // namespace hull::container
