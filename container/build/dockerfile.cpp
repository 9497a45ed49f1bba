#include "container/build/dockerfile.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cstdio>
#include <optional>
#include <utility>

#include "container/api/api_error.h"

namespace hull::container {

namespace json = boost::json;

namespace {

constexpr size_t kMostLine = 65'535;
constexpr std::string_view kBlanks = " \t\v\f\r";  // what stands between words

[[noreturn]] void refuse(const std::string& why) {
    throw ApiError{400, why};
}

std::string_view trim_left(std::string_view text) {
    while (!text.empty() && is_space(text.front())) {
        text.remove_prefix(1);
    }
    return text;
}

/// What is before the first blanks, and behind them; the second is none where there are none.
std::pair<std::string_view, std::optional<std::string_view>> split_once(std::string_view text) {
    const size_t at = text.find_first_of(kBlanks);
    if (at == std::string_view::npos) {
        return {text, std::nullopt};
    }
    const std::string_view rest = text.substr(at);
    return {text.substr(0, at), rest.substr(std::min(rest.find_first_not_of(kBlanks), rest.size()))};
}

std::vector<std::string> split_at_blanks(std::string_view text) {
    std::vector<std::string> words;
    while (!text.empty()) {
        const auto [word, rest] = split_once(text);
        words.emplace_back(word);
        text = rest.value_or("");
    }
    return words;
}

/// Words in which quotes and what is escaped are kept as they are: the expansion takes them away.
std::vector<std::string> quoted_words(std::string_view text, char escape) {
    std::vector<std::string> words;
    std::string word;
    bool is_in_word = false;
    char quote = '\0';
    const auto end = [&] {
        if (is_in_word) {
            words.push_back(std::exchange(word, {}));
        }
        is_in_word = false;
    };
    for (size_t at = 0; at < text.size(); ++at) {
        const char byte = text[at];
        if (quote == '\0' && is_space(byte)) {
            end();
            continue;
        }
        if (byte == escape && quote != '\'') {
            if (at + 1 == text.size()) {
                break;  // one at the end means nothing
            }
            is_in_word = true;
            word += byte;
            word += text[++at];
            continue;
        }
        if (byte == quote) {
            quote = '\0';
        } else if (quote == '\0' && (byte == '\'' || byte == '"')) {
            quote = byte;
        }
        is_in_word = true;
        word += byte;
    }
    end();
    return words;
}

/// The elements of a JSON list of texts; nothing where it is something else. Throws where they are not texts.
std::optional<std::vector<std::string>> list_in(std::string_view text) {
    if (!trim_left(text).starts_with('[')) {
        return std::nullopt;
    }
    boost::system::error_code error;
    const json::value value = json::parse(json::string_view{text.data(), text.size()}, error);
    if (error || !value.is_array()) {
        return std::nullopt;
    }
    std::vector<std::string> list;
    for (const json::value& each : value.get_array()) {
        if (!each.is_string()) {
            refuse("when using JSON array syntax, arrays must be comprised of strings only");
        }
        if (each.get_string().find('\0') != json::string::npos) {
            refuse("a text of the JSON array has a NUL");
        }
        list.emplace_back(each.get_string());
    }
    return list;
}

/// A here-document's beginning, if the word is one: digits, "<<", perhaps "-", and a name.
std::optional<HereDocument> document_in(const std::string& word) {
    const size_t digits = std::min(word.find_first_not_of("0123456789"), word.size());
    std::string_view rest = std::string_view{word}.substr(digits);
    if (!rest.starts_with("<<")) {
        return std::nullopt;
    }
    rest.remove_prefix(2);
    HereDocument document{.word = word, .name = {}, .has_descriptor = digits > 0};
    document.drops_tabs = rest.starts_with('-');
    rest.remove_prefix(document.drops_tabs ? 1 : 0);
    for (const char byte : rest) {
        if (byte == '\'' || byte == '"' || byte == '\\') {
            document.is_literal = true;
        } else {
            document.name += byte;
        }
    }
    const bool is_one = !document.name.empty() && document.name.find_first_of("<$`") == std::string::npos;
    return is_one ? std::optional{std::move(document)} : std::nullopt;
}

std::vector<HereDocument> documents_in(std::string_view rest, char escape) {
    std::vector<HereDocument> documents;
    for (const std::string& word : quoted_words(rest, escape)) {
        if (auto document = document_in(word)) {
            documents.push_back(*std::move(document));
        }
    }
    return documents;
}

/// Sources of COPY and ADD.
void take_documents(DockerfileLine& line) {
    std::vector<std::string> paths;
    for (std::string& word : line.arguments) {
        auto document = document_in(word);
        if (!document || document->has_descriptor) {
            paths.push_back(std::move(word));
            continue;
        }
        if (&word == &line.arguments.back()) {
            refuse(to_upper(line.keyword) + " cannot accept a heredoc as a destination");
        }
        if (document->name.find('/') != std::string::npos) {
            refuse("the here-document " + in_quotes(document->name) +
                   " is to be a file's name, and has a slash");
        }
        line.documents.push_back(*std::move(document));
    }
    line.arguments = std::move(paths);
}

/// "--name=value" words at the beginning, which are taken from `rest`.
std::vector<std::string> take_flags(std::string_view& rest) {
    std::vector<std::string> flags;
    for (;;) {
        rest = trim_left(rest);
        if (!rest.starts_with("--")) {
            return flags;
        }
        std::string word;
        char quote = '\0';
        size_t at = 0;
        for (; at < rest.size() && (quote != '\0' || !is_space(rest[at])); ++at) {
            char byte = rest[at];
            if (byte == quote) {
                quote = '\0';
                continue;
            }
            if (quote == '\0' && (byte == '\'' || byte == '"')) {
                quote = byte;
                continue;
            }
            if (byte == '\\') {
                if (++at == rest.size()) {
                    break;
                }
                byte = rest[at];
            }
            word += byte;
        }
        rest.remove_prefix(std::min(at, rest.size()));
        if (word == "--") {
            return flags;
        }
        flags.push_back(std::move(word));
    }
}

/// "KEY=VALUE KEY=VALUE", or in the old form "KEY ALL THE REST".
std::vector<std::string> pairs_in(std::string_view rest, const std::string& keyword, char escape) {
    const std::vector<std::string> words = quoted_words(rest, escape);
    if (words.empty()) {
        return {};
    }
    if (words.front().find('=') == std::string::npos) {
        const auto [key, value] = split_once(rest);
        if (!value) {
            refuse(to_upper(keyword) + " must have two arguments");
        }
        return {std::string{key}, std::string{*value}};
    }
    std::vector<std::string> pairs;
    for (const std::string& word : words) {
        const size_t sign = word.find('=');
        if (sign == std::string::npos) {
            refuse("Syntax error - can't find = in " + in_quotes(word) + ". Must be of the form: name=value");
        }
        pairs.push_back(word.substr(0, sign));
        pairs.push_back(word.substr(sign + 1));
    }
    return pairs;
}

void take_arguments(DockerfileLine& line, std::string_view rest, char escape) {
    const auto is_one_of = [&](std::initializer_list<std::string_view> keywords) {
        return std::ranges::find(keywords, line.keyword) != keywords.end();
    };
    if (is_one_of({"env", "label"})) {
        line.arguments = pairs_in(rest, line.keyword, escape);
    } else if (line.keyword == "arg") {
        line.arguments = quoted_words(rest, escape);
    } else if (is_one_of({"expose", "from"})) {
        line.arguments = split_at_blanks(rest);
    } else if (is_one_of({"add", "copy", "volume"})) {
        auto list = list_in(rest);
        line.is_list = list.has_value();
        line.arguments = list ? *std::move(list) : split_at_blanks(rest);
        if (!line.is_list && line.keyword != "volume") {
            take_documents(line);
        }
    } else if (line.keyword == "onbuild") {
        if (!rest.empty()) {
            DockerfileLine trigger = parse_dockerfile_line(rest, escape);
            line.arguments = {std::move(trigger.keyword)};
            line.documents = std::move(trigger.documents);
        }
    } else {
        if (line.keyword == "healthcheck") {
            const auto [type, command] = split_once(rest);
            if (!type.empty()) {
                line.arguments.emplace_back(type);
            }
            rest = command.value_or("");
        }
        const bool may_be_list = is_one_of({"cmd", "entrypoint", "run", "shell", "healthcheck"});
        const auto list = may_be_list ? list_in(rest) : std::nullopt;
        line.is_list = list.has_value();
        if (list) {
            line.arguments.insert(line.arguments.end(), list->begin(), list->end());
        } else if (!rest.empty()) {
            line.arguments.emplace_back(rest);
        }
        if (line.keyword == "run" && !line.is_list) {
            line.documents = documents_in(rest, escape);
        }
    }
}

/// The lines of a text, one after the other.
class Lines {
  public:
    explicit Lines(std::string_view text) : rest_{text} {}

    std::optional<std::string_view> next() {
        if (rest_.empty()) {
            return std::nullopt;
        }
        const size_t end = rest_.find('\n');
        std::string_view line = rest_.substr(0, end);
        rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
        ++number_;
        if (line.size() > kMostLine) {
            refuse("dockerfile line greater than max allowed size of " + std::to_string(kMostLine));
        }
        if (line.ends_with('\r')) {
            line.remove_suffix(1);
        }
        return line;
    }
    /// Of the line that was answered last.
    [[nodiscard]] unsigned number() const { return number_; }

  private:
    std::string_view rest_;
    unsigned number_ = 0;
};

void read_text(HereDocument& document, Lines& lines) {
    while (const auto line = lines.next()) {
        std::string_view end = *line;
        if (document.drops_tabs) {
            end.remove_prefix(std::min(end.find_first_not_of('\t'), end.size()));
        }
        if (end == document.name) {
            return;
        }
        document.text += *line;
        document.text += '\n';
    }
    refuse("unterminated heredoc: no line is " + in_quotes(document.name));
}

/// "# escape=`" and the like, which are such only before anything else.
class Directives {
  public:
    void look_at(std::string_view line, char& escape) {
        if (is_over_) {
            return;
        }
        const size_t sign = line.find('=');
        const bool may_be_one = line.starts_with('#') && sign != std::string_view::npos;
        const std::string name = may_be_one ? to_lower(trim(line.substr(1, sign - 1))) : "";
        const std::string_view value = may_be_one ? trim(line.substr(sign + 1)) : std::string_view{};
        if ((name != "escape" && name != "syntax") || value.empty()) {
            is_over_ = true;
            return;
        }
        if (std::ranges::find(seen_, name) != seen_.end()) {
            refuse("only one " + name + " parser directive can be used");
        }
        seen_.push_back(name);
        if (name == "escape") {
            if (value != "\\" && value != "`") {
                refuse("invalid escape token '" + std::string{value} + "' does not match ` or \\");
            }
            escape = value.front();
        }
    }

  private:
    bool is_over_ = false;
    std::vector<std::string> seen_;
};

/// Takes the escape character at a line's end away, where there is one.
bool is_continued(std::string_view& line, char escape) {
    const size_t last = line.find_last_not_of(" \t");
    if (last == std::string_view::npos || line[last] != escape) {
        return false;
    }
    line = line.substr(0, last);
    return true;
}

}  // namespace

std::string HereDocument::content() const {
    if (!drops_tabs) {
        return text;
    }
    std::string content;
    bool is_at_begin = true;
    for (const char byte : text) {
        if (!is_at_begin || byte != '\t') {
            content += byte;
            is_at_begin = byte == '\n';
        }
    }
    return content;
}

bool is_space(char byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

std::string_view trim(std::string_view text) {
    text = trim_left(text);
    while (!text.empty() && is_space(text.back())) {
        text.remove_suffix(1);
    }
    return text;
}

std::string to_lower(std::string_view text) {
    std::string lower{text};
    std::ranges::transform(lower, lower.begin(), [](char byte) {
        return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte - 'A' + 'a') : byte;
    });
    return lower;
}

std::string to_upper(std::string_view text) {
    std::string upper{text};
    std::ranges::transform(upper, upper.begin(), [](char byte) {
        return byte >= 'a' && byte <= 'z' ? static_cast<char>(byte - 'a' + 'A') : byte;
    });
    return upper;
}

std::string in_quotes(std::string_view text) {
    constexpr std::string_view kMarks = "\a\b\f\n\r\t\v\\\"";
    constexpr std::string_view kLetters = "abfnrtv\\\"";
    std::string result = "\"";
    for (const char byte : text) {
        if (const size_t mark = kMarks.find(byte); mark != std::string_view::npos) {
            result += '\\';
            result += kLetters[mark];
        } else if (static_cast<unsigned char>(byte) < ' ' || byte == '\x7f') {
            std::array<char, 5> hexadecimal{};
            std::snprintf(hexadecimal.data(), hexadecimal.size(), "\\x%02x",
                          static_cast<unsigned char>(byte));
            result += hexadecimal.data();
        } else {
            result += byte;
        }
    }
    return result + "\"";
}

DockerfileLine parse_dockerfile_line(std::string_view code, char escape) {
    DockerfileLine line;
    line.code = trim(code);
    const auto [keyword, behind] = split_once(line.code);
    line.keyword = to_lower(keyword);
    std::string_view rest = behind.value_or("");
    line.flags = take_flags(rest);
    take_arguments(line, trim(rest), escape);
    return line;
}

Dockerfile parse_dockerfile(std::string_view text) {
    if (text.size() > kMostDockerfileBytes) {
        refuse("the Dockerfile is larger than " + std::to_string(kMostDockerfileBytes >> 20) + " MiB");
    }
    if (text.find('\0') != std::string_view::npos) {
        refuse("the Dockerfile is no text: it has a NUL");
    }
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
    if (text.starts_with(kByteOrderMark)) {
        text.remove_prefix(kByteOrderMark.size());
    }
    Dockerfile file;
    Directives directives;
    Lines lines{text};
    while (const auto first = lines.next()) {
        std::string_view line = trim_left(*first);
        directives.look_at(line, file.escape);
        const unsigned number = lines.number();
        if (line.starts_with('#')) {
            line = {};
        }
        bool goes_on = is_continued(line, file.escape);
        std::string code{line};
        if (!goes_on && code.empty()) {
            continue;
        }
        bool has_empty_line = false;
        while (goes_on) {
            const auto further = lines.next();
            if (!further) {
                break;
            }
            std::string_view more = *further;
            if (trim_left(more).starts_with('#')) {
                continue;
            }
            if (trim(more).empty()) {
                has_empty_line = true;
                continue;
            }
            goes_on = is_continued(more, file.escape);
            code += more;
        }
        if (has_empty_line) {
            file.warnings.push_back("[WARNING]: Empty continuation line found in:\n    " + code);
        }
        if (trim(code).empty()) {
            continue;
        }
        file.lines.push_back(parse_dockerfile_line(code, file.escape));
        file.lines.back().number = number;
        for (HereDocument& document : file.lines.back().documents) {
            read_text(document, lines);
        }
    }
    if (!file.warnings.empty()) {
        file.warnings.emplace_back(
            "[WARNING]: Empty continuation lines will become errors in a future release.");
    }
    if (file.lines.empty()) {
        refuse("file with no instructions");
    }
    return file;
}

}  // namespace hull::container
