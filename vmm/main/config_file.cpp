#include "vmm/main/config_file.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <set>

#include "base/error.h"

namespace hull {

namespace json = boost::json;

namespace {

/// Takes the parser's events. A refusal sets `why` and stops the parser, whose place then tells the line.
class SettingsHandler {
  public:
    // The names that Boost.JSON looks for.
    // NOLINTBEGIN(readability-identifier-naming)
    static constexpr size_t max_object_size = 1000;
    static constexpr size_t max_array_size = 1000;
    static constexpr size_t max_key_size = 1000;
    static constexpr size_t max_string_size = size_t{1} << 20;
    // NOLINTEND(readability-identifier-naming)

    std::vector<Setting> settings;
    std::string why;

    bool on_document_begin(json::error_code& /*error*/) { return true; }
    bool on_document_end(json::error_code& /*error*/) { return true; }

    bool on_object_begin(json::error_code& error) {
        return in_object_ ? refuse("an object inside the object has no meaning here", error)
                          : (in_object_ = true);
    }
    bool on_object_end(size_t /*size*/, json::error_code& /*error*/) { return true; }
    bool on_array_begin(json::error_code& error) {
        if (!in_object_) {
            return refuse(kNoObject, error);
        }
        return in_list_ ? refuse("a list inside a list has no meaning here", error) : (in_list_ = true);
    }
    bool on_array_end(size_t /*size*/, json::error_code& /*error*/) {
        in_list_ = false;
        return true;
    }

    bool on_key_part(json::string_view part, size_t /*size*/, json::error_code& /*error*/) {
        text_ += part;
        return true;
    }
    bool on_key(json::string_view part, size_t /*size*/, json::error_code& error) {
        key_ = std::exchange(text_, {}) + std::string{part};
        if (key_.find('\0') != std::string::npos) {
            return refuse(kZeroByte, error);
        }
        return keys_.insert(key_).second || refuse("'" + key_ + "' comes twice", error);
    }
    bool on_string_part(json::string_view part, size_t /*size*/, json::error_code& /*error*/) {
        text_ += part;
        return true;
    }
    bool on_string(json::string_view part, size_t /*size*/, json::error_code& error) {
        return take(std::exchange(text_, {}) + std::string{part}, error);
    }
    bool on_number_part(json::string_view part, json::error_code& /*error*/) {
        text_ += part;
        return true;
    }
    bool on_int64(int64_t /*value*/, json::string_view part, json::error_code& error) {
        return on_digits(part, error);
    }
    bool on_uint64(uint64_t /*value*/, json::string_view part, json::error_code& error) {
        return on_digits(part, error);
    }
    bool on_double(double /*value*/, json::string_view part, json::error_code& error) {
        return on_digits(part, error);
    }
    bool on_bool(bool value, json::error_code& error) { return take(value ? "true" : "false", error); }
    bool on_null(json::error_code& error) {
        return refuse(in_object_ ? "null is no value" : kNoObject, error);
    }
    bool on_comment_part(json::string_view /*part*/, json::error_code& /*error*/) { return true; }
    bool on_comment(json::string_view /*part*/, json::error_code& /*error*/) { return true; }

  private:
    static constexpr const char* kNoObject = "it is not a JSON object (\"{ … }\")";
    static constexpr const char* kZeroByte = "a zero byte has no meaning here";

    bool on_digits(json::string_view part, json::error_code& error) {
        return take(std::exchange(text_, {}) + std::string{part}, error);
    }
    bool take(std::string value, json::error_code& error) {
        if (!in_object_) {
            return refuse(kNoObject, error);
        }
        // Would end a path or a command line early wherever it is handed on.
        if (value.find('\0') != std::string::npos) {
            return refuse(kZeroByte, error);
        }
        settings.push_back({key_, std::move(value)});
        return true;
    }
    bool refuse(std::string reason, json::error_code& error) {
        why = std::move(reason);
        error = json::error::syntax;
        return false;
    }

    bool in_object_ = false;
    bool in_list_ = false;
    std::string key_;
    std::string text_;  // of a key or value that arrives in parts
    std::set<std::string> keys_;
};

}  // namespace

std::vector<Setting> parse_config(std::string_view text, const std::string& name) {
    json::basic_parser<SettingsHandler> parser{json::parse_options{}};
    json::error_code error;
    const size_t good = parser.write_some(false, text.data(), text.size(), error);
    SettingsHandler& handler = parser.handler();
    std::string why = handler.why;
    if (error && why.empty()) {
        why = error == json::error::incomplete ? "it ends in the middle" : error.message();
    }
    const bool rest_is_blank =
        std::all_of(text.begin() + static_cast<ptrdiff_t>(good), text.end(),
                    [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; });
    if (why.empty() && !rest_is_blank) {
        why = "there is more behind the closing brace";
    }
    if (why.empty() && !parser.done()) {
        why = "it ends in the middle";
    }
    if (!why.empty()) {
        const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(good), '\n');
        throw Error{ExitStatus::usage, "cannot use configuration file '" + name + "'",
                    "line " + std::to_string(line) + ": " + why, "mend it"};
    }
    return std::move(handler.settings);
}

}  // namespace hull
