#include "vmm/main/command_line.h"

#include <boost/program_options.hpp>
#include <set>
#include <string_view>

#include "base/error.h"

namespace hull {

namespace options = boost::program_options;

namespace {

/// What the parser itself lets pass: words that belong to no option, unless they are wanted, and flags that
/// come twice.
void refuse_what_cannot_be_meant(const options::parsed_options& given, const char* advice,
                                 OptionValues* words) {
    std::set<std::string> flags;
    for (const options::option& option : given.options) {
        if (option.position_key >= 0 && words != nullptr) {
            words->push_back(option.value.front());
            continue;
        }
        if (option.position_key >= 0) {
            throw Error{ExitStatus::usage, "cannot use '" + option.value.front() + "'",
                        "it belongs to no option", advice};
        }
        if (option.value.empty() && !flags.insert(option.string_key).second) {
            throw Error{ExitStatus::usage, "cannot use --" + option.string_key + " more than once",
                        "it is on already", "give it once"};
        }
    }
}

/// The sentence of an error with an option's name in it. Boost's own what() puts names in again and again
/// until no %canonical_option% is left, and so never ends where the command line itself has such a word.
std::string sentence(const options::error_with_option_name& error) {
    constexpr std::string_view kPlace = "%canonical_option%";
    std::string text = error.m_error_template;
    if (const size_t place = text.find(kPlace); place != std::string::npos) {
        text.replace(place, kPlace.size(), error.get_option_name());
    }
    return text;
}

}  // namespace

void add_jail_options(options::options_description& known) {
    const auto text = [] { return options::value<OptionValues>(); };
    known.add_options()  //
        ("jail", text()->value_name("HOW"),
         "what confines the machine's process: on (default), strict (a system call that is refused ends it) "
         "or off")  //
        ("jail-without", text()->value_name("LAYER[,…]"),
         "layers that this host lacks: namespaces, user, landlock, seccomp")  //
        ("jail-user", text()->value_name("USER[:GID]"),
         "for root: whom the machine's process is, by name or number (default: a user of its own)");
}

options::variables_map read_command_line(const options::options_description& known,
                                         const std::vector<std::string>& arguments, const char* advice,
                                         OptionValues* words) {
    options::variables_map values;
    try {
        using options::command_line_style::style_t;
        const int style = style_t::allow_long | style_t::long_allow_adjacent | style_t::long_allow_next |
                          style_t::allow_short | style_t::allow_dash_for_short | style_t::short_allow_next |
                          style_t::short_allow_adjacent | style_t::allow_sticky;
        options::command_line_parser parser{arguments};
        const options::parsed_options given = parser.options(known).style(style).run();
        refuse_what_cannot_be_meant(given, advice, words);
        options::store(given, values);
        options::notify(values);
    } catch (const options::error_with_option_name& error) {
        throw Error{ExitStatus::usage, "cannot read the command line", sentence(error), advice};
    } catch (const options::error& error) {
        throw Error{ExitStatus::usage, "cannot read the command line", error.what(), advice};
    }
    return values;
}

const std::string& single_value(const OptionValues& values, const std::string& option) {
    if (values.size() > 1) {
        throw Error{ExitStatus::usage, "cannot use --" + option + " more than once", "it has one value",
                    "give it once"};
    }
    return values.front();
}

}  // namespace hull
