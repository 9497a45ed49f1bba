#include "vmm/api/request_body.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <utility>

namespace hull {

namespace json = boost::json;

RequestBody::RequestBody(const std::string& text, std::initializer_list<std::string_view> known)
    : RequestBody{[&text] {
                      boost::system::error_code error;
                      json::value value = json::parse(text, error);
                      if (error || !value.is_object()) {
                          refuse(error ? error.message() : "it is no object");
                      }
                      return std::move(value.get_object());
                  }(),
                  known} {}

RequestBody::RequestBody(json::object members, std::initializer_list<std::string_view> known)
    : members_{std::move(members)} {
    for (const auto& each : members_) {
        if (std::ranges::find(known, std::string_view{each.key()}) == known.end()) {
            refuse("unknown field `" + std::string{each.key()} + "`");
        }
    }
}

bool RequestBody::has(std::string_view name) const {
    const auto* const value = members_.if_contains(name);
    return value != nullptr && !value->is_null();
}

const json::value& RequestBody::member(std::string_view name) const {
    if (!has(name)) {
        refuse("missing field `" + std::string{name} + "`");
    }
    return members_.at(name);
}

std::string RequestBody::text(std::string_view name) const {
    const json::value& value = member(name);
    if (!value.is_string()) {
        refuse("`" + std::string{name} + "` is not a string");
    }
    std::string text{value.get_string()};
    if (text.find('\0') != std::string::npos) {
        refuse("`" + std::string{name} + "` has a zero byte in it");
    }
    return text;
}

std::string RequestBody::text(std::string_view name, const char* otherwise) const {
    return has(name) ? text(name) : otherwise;
}

bool RequestBody::flag(std::string_view name, bool otherwise) const {
    if (!has(name)) {
        return otherwise;
    }
    const json::value& value = member(name);
    if (!value.is_bool()) {
        refuse("`" + std::string{name} + "` is not a boolean");
    }
    return value.get_bool();
}

uint64_t RequestBody::number(std::string_view name, uint64_t least, uint64_t most) const {
    boost::system::error_code error;
    const auto value = member(name).to_number<uint64_t>(error);
    if (error || value < least || value > most) {
        refuse("`" + std::string{name} + "` is not a number from " + std::to_string(least) + " to " +
               std::to_string(most));
    }
    return value;
}

RequestBody RequestBody::object(std::string_view name, std::initializer_list<std::string_view> known) const {
    const json::value& value = member(name);
    if (!value.is_object()) {
        refuse("`" + std::string{name} + "` is no object");
    }
    return {value.get_object(), known};
}

void RequestBody::refuse_variant(const std::string& value, const char* expected) {
    refuse("unknown variant `" + value + "`, expected " + expected);
}

void RequestBody::refuse(const std::string& why) {
    throw BadBody{"An error occurred when deserializing the json body of a request: " + why + "."};
}

}  // namespace hull
