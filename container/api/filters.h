// What clients want to see of a list.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hull::container {

/// By name what is wanted: any of the values, except where the filter is for labels, which are all wanted.
using Filters = std::map<std::string, std::vector<std::string>>;

/// The parameter "filters", in both forms that clients have: {"label": ["a=b"]} and {"label": {"a=b": true}};
/// empty where there is none. Throws ApiError (400) where it is neither.
Filters parse_filters(std::string_view text);

/// What a value of the filter `name` says that is true or false. Throws ApiError (400) where it is neither.
bool is_true(const std::string& name, const std::string& value);

}  // namespace hull::container
