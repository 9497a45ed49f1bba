// How a command of hulld's is used.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <optional>
#include <string>
#include <vector>

#include "vmm/main/command_line.h"

namespace hull::container {

/// A command's options and words, and what its --help says.
struct Usage {
    const char* name;
    const char* missing = "no image is named";  ///< what is wrong where words are
    const char* text;                           ///< with a line's end
    boost::program_options::options_description known{"Options", 100, 50};

    /// Takes a command line apart. Where `words` is null no word is known; otherwise `least` to `most` are.
    /// Nothing where only its help was wanted, which is printed then. Throws Error (usage).
    std::optional<boost::program_options::variables_map> read(const std::vector<std::string>& arguments,
                                                              OptionValues* words = nullptr, size_t least = 0,
                                                              size_t most = 0);
};

}  // namespace hull::container
