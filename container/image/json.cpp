#include "container/image/json.h"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cstdint>

#include "base/error.h"
#include "base/printable.h"

namespace hull::container {

namespace json = boost::json;

namespace {

constexpr const char* kAdvice = "get or make it again";

const json::object& empty_object() {
    static const json::object object;
    return object;
}

/// Of what was parsed and of what was made here, which may be without a sign.
std::optional<int64_t> whole_number(const json::value& value) {
    if (value.is_int64()) {
        return value.get_int64();
    }
    const bool fits = value.is_uint64() && value.get_uint64() <= static_cast<uint64_t>(INT64_MAX);
    return fits ? std::optional{static_cast<int64_t>(value.get_uint64())} : std::nullopt;
}

json::value parse_json(std::string_view text, const std::string& tried) {
    boost::system::error_code error;
    json::value value = json::parse(text, error);
    if (error) {
        throw Error{ExitStatus::bad_file, tried, "it is no JSON", kAdvice};
    }
    return value;
}

}  // namespace

void JsonObject::refuse(std::string_view why) const {
    throw Error{ExitStatus::bad_file, *tried_, printable(why), advice_};  // a key may be anything
}

const json::value* JsonObject::find(std::string_view key) const {
    const json::value* const value = object_->if_contains(key);
    return value == nullptr || value->is_null() ? nullptr : value;
}

std::string JsonObject::text_of(const json::value& value, std::string_view key) const {
    const json::string* const text = value.if_string();
    if (text == nullptr || text->find('\0') != json::string::npos) {
        refuse("'" + std::string{key} + "' is no text");
    }
    return {text->data(), text->size()};
}

const json::array& JsonObject::array(std::string_view key) const {
    static const json::array none;
    const json::value* const value = find(key);
    if (value != nullptr && !value->is_array()) {
        refuse("'" + std::string{key} + "' is no list");
    }
    return value == nullptr ? none : value->get_array();
}

std::string JsonObject::text(std::string_view key) const {
    const json::value* const value = find(key);
    return value == nullptr ? std::string{} : text_of(*value, key);
}

std::vector<std::string> JsonObject::texts(std::string_view key) const {
    std::vector<std::string> result;
    for (const json::value& value : array(key)) {
        result.push_back(text_of(value, key));
    }
    return result;
}

bool JsonObject::flag(std::string_view key) const {
    const json::value* const value = find(key);
    if (value != nullptr && !value->is_bool()) {
        refuse("'" + std::string{key} + "' is neither true nor false");
    }
    return value != nullptr && value->get_bool();
}

uint64_t JsonObject::number(std::string_view key) const {
    const json::value* const value = find(key);
    const auto number = value == nullptr ? std::nullopt : whole_number(*value);
    if (!number || *number < 0) {
        refuse("'" + std::string{key} + "' is no number from 0 on");
    }
    return static_cast<uint64_t>(*number);
}

std::optional<int64_t> JsonObject::integer(std::string_view key) const {
    const json::value* const value = find(key);
    if (value == nullptr) {
        return std::nullopt;
    }
    const auto number = whole_number(*value);
    if (!number) {
        refuse("'" + std::string{key} + "' is no whole number of 64 bits");
    }
    return number;
}

std::map<std::string, std::string> JsonObject::text_map(std::string_view key) const {
    std::map<std::string, std::string> result;
    const JsonObject members = object(key);
    for (const std::string& name : members.keys()) {
        if (name.find('\0') != std::string::npos) {
            refuse("a name in '" + std::string{key} + "' has a NUL in it");
        }
        result.emplace(name, members.text(name));
    }
    return result;
}

JsonObject JsonObject::object(std::string_view key) const {
    const json::value* const value = find(key);
    if (value != nullptr && !value->is_object()) {
        refuse("'" + std::string{key} + "' is no object");
    }
    return {value == nullptr ? empty_object() : value->get_object(), *tried_, advice_};
}

std::vector<JsonObject> JsonObject::objects(std::string_view key) const {
    std::vector<JsonObject> result;
    for (const json::value& value : array(key)) {
        if (!value.is_object()) {
            refuse("'" + std::string{key} + "' is no list of objects");
        }
        result.emplace_back(value.get_object(), *tried_, advice_);
    }
    return result;
}

std::vector<std::string> JsonObject::keys() const {
    std::vector<std::string> result;
    for (const auto& entry : *object_) {
        result.emplace_back(entry.key());
    }
    return result;
}

json::object parse_json_object(std::string_view text, const std::string& tried) {
    json::value value = parse_json(text, tried);
    if (!value.is_object()) {
        throw Error{ExitStatus::bad_file, tried, "it is no JSON object", kAdvice};
    }
    return std::move(value.get_object());
}

json::array parse_json_array(std::string_view text, const std::string& tried) {
    json::value value = parse_json(text, tried);
    if (!value.is_array()) {
        throw Error{ExitStatus::bad_file, tried, "it is no JSON list", kAdvice};
    }
    return std::move(value.get_array());
}

json::object members_of(const std::map<std::string, std::string>& texts) {
    json::object all;
    for (const auto& [key, value] : texts) {
        all[key] = value;
    }
    return all;
}

}  // namespace hull::container
