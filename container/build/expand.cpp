#include "container/build/expand.h"

#include <cctype>
#include <utility>

#include "container/api/api_error.h"
#include "container/build/dockerfile.h"

namespace hull::container {

namespace {

/// Goes through a word once. `${…}` may stand in `${…}`, to a depth.
class Expander {
  public:
    /// Errors have `whole` for what is expanded.
    Expander(std::string_view text, std::string_view whole, char escape, const Lookup& look_up)
        : whole_{whole}, rest_{text}, escape_{escape}, look_up_{look_up} {}

    std::string run() { return take_up_to('\0'); }

    std::string run_over_text() {
        std::string result;
        take_text(result, '\0');
        return result;
    }

    /// What run() gave, at spaces that were not quoted.
    [[nodiscard]] std::vector<std::string> words() {
        end_word();
        return std::move(words_);
    }

  private:
    static constexpr unsigned kMostDepth = 32;
    static constexpr size_t kMostResult = size_t{1} << 20;

    [[noreturn]] void refuse(const std::string& why) const {
        throw ApiError{400, "failed to process " + in_quotes(whole_) + ": " + why};
    }

    void add(std::string& result, const std::string& part) const {
        result += part;
        if (result.size() > kMostResult) {
            refuse("it becomes larger than 1 MiB");
        }
    }

    char take() {
        const char byte = rest_.front();
        rest_.remove_prefix(1);
        return byte;
    }

    /// To the end, or to a mark, which is taken, too.
    std::string take_up_to(char mark) {
        std::string result;
        // What stands in a substitution is split when all of it is known.
        const bool is_outermost = depth_ == 0;
        while (!rest_.empty()) {
            const char byte = rest_.front();
            if (mark != '\0' && byte == mark) {
                take();
                return result;
            }
            std::string part;
            bool is_raw = true;
            if (byte == '\'') {
                part = take_single_quoted();
            } else if (byte == '"') {
                part = take_double_quoted();
            } else if (byte == '$') {
                part = take_variable();
                is_raw = false;
            } else if (byte == escape_) {
                take();
                if (rest_.empty()) {
                    break;  // at the end it means nothing
                }
                part = take();
            } else {
                part = take();
                is_raw = false;
            }
            if (is_outermost) {
                add_to_words(part, is_raw);
            }
            add(result, part);
        }
        if (mark != '\0') {
            refuse("syntax error: missing '}'");
        }
        return result;
    }

    std::string take_single_quoted() {
        take();
        const size_t end = rest_.find('\'');
        if (end == std::string_view::npos) {
            refuse("unexpected end of statement while looking for matching single-quote");
        }
        std::string result{rest_.substr(0, end)};
        rest_.remove_prefix(end + 1);
        return result;
    }

    std::string take_double_quoted() {
        take();
        std::string result;
        if (!take_text(result, '"')) {
            refuse("unexpected end of statement while looking for matching double-quote");
        }
        return result;
    }

    /// What only variables are special in, up to a mark, which is taken, too; false where that is missing.
    bool take_text(std::string& result, char mark) {
        while (!rest_.empty()) {
            if (rest_.front() == '$') {
                add(result, take_variable());
                continue;
            }
            const char byte = take();
            if (mark != '\0' && byte == mark) {
                return true;
            }
            const char next = rest_.empty() ? '\0' : rest_.front();
            const bool is_escaping =
                byte == escape_ && next != '\0' && (next == mark || next == '$' || next == escape_);
            result += is_escaping ? take() : byte;
        }
        add(result, "");
        return false;
    }

    /// Letters, digits and underscores; digits alone, or one of the shell's special names.
    std::string take_name() {
        constexpr std::string_view kSpecial = "@*#?-$!0";
        std::string name;
        const auto is_digit = [&] { return !rest_.empty() && rest_.front() >= '0' && rest_.front() <= '9'; };
        if (is_digit()) {
            while (is_digit()) {
                name += take();
            }
            return name;
        }
        if (!rest_.empty() && kSpecial.find(rest_.front()) != std::string_view::npos) {
            return {take()};
        }
        while (!rest_.empty() &&
               (std::isalnum(static_cast<unsigned char>(rest_.front())) != 0 || rest_.front() == '_')) {
            name += take();
        }
        return name;
    }

    std::string take_variable() {
        take();
        if (!rest_.starts_with('{')) {
            const std::string name = take_name();
            return name.empty() ? "$" : look_up_(name).value_or("");
        }
        take();
        if (rest_.empty()) {
            refuse("syntax error: missing '}'");
        }
        if (rest_.front() == '{' || rest_.front() == '}' || rest_.front() == ':') {
            refuse("syntax error: bad substitution");
        }
        const std::string name = take_name();
        if (rest_.empty()) {
            refuse("missing ':' in substitution");
        }
        const std::optional<std::string> value = look_up_(name);
        const char sign = take();
        if (sign == '}') {
            return value.value_or("");
        }
        if (sign != ':') {
            refuse("missing ':' in substitution");
        }
        if (rest_.empty()) {
            refuse("syntax error: missing '}'");
        }
        const char modifier = take();
        if (++depth_ > kMostDepth) {
            refuse("it is nested too deeply");
        }
        const std::string word = take_up_to('}');
        --depth_;
        const bool is_set = value && !value->empty();
        switch (modifier) {
            case '+':
                return is_set ? word : "";
            case '-':
                return is_set ? *value : word;
            case '?':
                if (!is_set) {
                    const std::string why =
                        value ? "is not allowed to be empty" : "is not allowed to be unset";
                    refuse(name + ": " + (word.empty() ? why : word));
                }
                return *value;
            default:
                refuse(std::string{"unsupported modifier ("} + modifier + ") in substitution");
        }
    }

    void add_to_words(const std::string& part, bool is_raw) {
        if (is_raw) {
            word_ += part;
            return;
        }
        for (const char byte : part) {
            if (is_space(byte)) {
                end_word();
            } else {
                word_ += byte;
            }
        }
    }

    void end_word() {
        if (!word_.empty()) {
            words_.push_back(std::exchange(word_, {}));
        }
    }

    std::string_view whole_;
    std::string_view rest_;
    char escape_;
    const Lookup& look_up_;
    unsigned depth_ = 0;
    std::string word_;
    std::vector<std::string> words_;
};

}  // namespace

std::string expand_word(std::string_view word, char escape, const Lookup& look_up) {
    return Expander{word, word, escape, look_up}.run();
}

std::string expand_text(std::string_view text, char escape, const Lookup& look_up) {
    return Expander{text, "a here-document", escape, look_up}.run_over_text();
}

std::vector<std::string> expand_words(std::string_view word, char escape, const Lookup& look_up) {
    Expander expander{word, word, escape, look_up};
    static_cast<void>(expander.run());
    return expander.words();
}

}  // namespace hull::container
