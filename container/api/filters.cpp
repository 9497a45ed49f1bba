#include "container/api/filters.h"

#include <boost/json/parse.hpp>

#include "base/printable.h"
#include "container/api/api_error.h"
#include "container/api/request_target.h"

namespace hull::container {

namespace json = boost::json;

Filters parse_filters(std::string_view text) {
    Filters filters;
    if (text.empty()) {
        return filters;
    }
    boost::system::error_code error;
    const json::value parsed = json::parse(text, error);
    if (error || !parsed.is_object()) {
        throw ApiError{400, "invalid filters: they are no JSON object"};
    }
    for (const auto& filter : parsed.get_object()) {
        const std::string name{filter.key()};
        std::vector<std::string>& all = filters[name];
        if (const json::array* values = filter.value().if_array()) {
            for (const json::value& value : *values) {
                if (!value.is_string()) {
                    throw ApiError{400, "invalid filter '" + name + "': a value is no text"};
                }
                all.emplace_back(value.get_string());
            }
        } else if (const json::object* members = filter.value().if_object()) {
            for (const auto& member : *members) {
                if (member.value() == json::value(true)) {
                    all.emplace_back(member.key());
                }
            }
        } else {
            throw ApiError{400, "invalid filter '" + name + "': its values are no list"};
        }
    }
    return filters;
}

bool is_true(const std::string& name, const std::string& value) {
    const bool is_it = value == "true" || value == "1";
    if (!is_it && value != "false" && value != "0") {
        throw ApiError{400, "invalid filter '" + name + "=" + printable(value) + "'"};
    }
    return is_it;
}

}  // namespace hull::container
