// A Dockerfile, taken apart into its instructions' words.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hull::container {

/// What stands below an instruction up to a line of its name (POSIX.1-2017, Shell & Utilities, 2.7.4).
struct HereDocument {
    std::string word;             ///< as the instruction has it: "<<-'EOF'"
    std::string name;             ///< "EOF"
    std::string text{};           ///< whole lines, as they are written
    bool is_literal = false;      ///< the name was quoted: nothing in the text is to be expanded
    bool drops_tabs = false;      ///< those at the beginnings of lines: "<<-"
    bool has_descriptor = false;  ///< "3<<EOF", which only a shell understands

    /// The lines without the tabs that are to be dropped.
    [[nodiscard]] std::string content() const;
};

/// An instruction as it is written: nothing of it is checked yet but its form.
struct DockerfileLine {
    unsigned number = 0;                  ///< of the line on which it begins, from 1
    std::string keyword;                  ///< in small letters: "run"
    std::string code;                     ///< all of it, continued lines joined, as builds print it
    std::vector<std::string> flags;       ///< "--chown=1:1"
    std::vector<std::string> arguments;   ///< of ENV and LABEL keys and values in turn
    bool is_list = false;                 ///< they were a JSON list (the exec form)
    std::vector<HereDocument> documents;  ///< of ADD and COPY, which are not among the arguments, and of RUN
};

struct Dockerfile {
    char escape = '\\';  ///< or '`': of line ends and of what is special in words
    std::vector<DockerfileLine> lines;
    std::vector<std::string> warnings;
};

/// Reads one as dockerd 20.10's classic builder does (Docker's Dockerfile reference, "Format"): parser
/// directives, comments, continued lines, flags, JSON lists; and BuildKit's here-documents. What is not known
/// is an instruction, too: parse_stages() refuses it. At most kMostDockerfileBytes, lines of at most 65,535
/// bytes. Throws ApiError (400). Any thread.
Dockerfile parse_dockerfile(std::string_view text);

inline constexpr size_t kMostDockerfileBytes = size_t{4} << 20;

/// One instruction without continued lines, as ONBUILD has it; its here-documents have no text yet. Throws
/// ApiError (400).
DockerfileLine parse_dockerfile_line(std::string_view code, char escape);

/// The spaces of ASCII.
bool is_space(char byte);
std::string_view trim(std::string_view text);
std::string to_lower(std::string_view text);
std::string to_upper(std::string_view text);
/// As Go prints a text with %q, but that bytes above ASCII are left as they are.
std::string in_quotes(std::string_view text);

}  // namespace hull::container
