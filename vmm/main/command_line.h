// What the command lines of hull's commands have in common.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <string>
#include <vector>

namespace hull {

/// Every option has these, one for each time that it was given.
using OptionValues = std::vector<std::string>;

/// Adds what says how the machine's process is confined (apply_jail_option()).
void add_jail_options(boost::program_options::options_description& known);

/// Takes a command line apart. Words that belong to no option, behind "--" or not, go to `words` where that
/// is given. Throws Error (usage), with `advice`, for such words otherwise, options that are not `known`, and
/// flags that come twice.
boost::program_options::variables_map read_command_line(
    const boost::program_options::options_description& known, const std::vector<std::string>& arguments,
    const char* advice, OptionValues* words = nullptr);

/// The value of an option that has one. `values` has at least one. Throws Error (usage) where it has more.
const std::string& single_value(const OptionValues& values, const std::string& option);

}  // namespace hull
