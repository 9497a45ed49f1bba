#include "container/main/usage.h"

#include <boost/program_options.hpp>
#include <cstdio>
#include <sstream>

#include "base/error.h"

namespace hull::container {

namespace options = boost::program_options;

std::optional<options::variables_map> Usage::read(const std::vector<std::string>& arguments,
                                                  OptionValues* words, size_t least, size_t most) {
    known.add_options()("help,h", options::value<OptionValues>()->zero_tokens(), "print this");
    const std::string advice = std::string{"see 'hull "} + name + " --help'";
    options::variables_map values = read_command_line(known, arguments, advice.c_str(), words);
    if (values.count("help") > 0) {
        std::ostringstream all;
        all << text << "\n" << known;
        std::fputs(all.str().c_str(), stdout);
        return std::nullopt;
    }
    if (words != nullptr && (words->size() < least || words->size() > most)) {
        throw Error{ExitStatus::usage, std::string{"cannot do 'hull "} + name + "'",
                    words->size() < least ? missing : "'" + words->at(most) + "' is too much", advice};
    }
    return values;
}

}  // namespace hull::container
