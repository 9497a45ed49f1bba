// Docker's objects, as clients expect them.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "container/image/json.h"

namespace hull::container {

/// As Docker has what is empty. (With braces, the value of a container would be an array that has it.)
template <class Container>
boost::json::value or_null(Container container) {
    return container.empty() ? boost::json::value(nullptr) : boost::json::value(std::move(container));
}

/// As Docker has what it calls a set: an object whose members are empty ones; null where there is none.
boost::json::value set_of(const std::vector<std::string>& texts);

/// Null where there is none.
boost::json::value map_of(const std::map<std::string, std::string>& texts);

/// Whether there is a label as "NAME" or "NAME=VALUE" says.
bool has_label(const std::map<std::string, std::string>& labels, const std::string& wanted);

/// A Config and a HostConfig with every member that clients look for, as they are where nothing is said.
boost::json::object default_config();
boost::json::object default_host_config();

}  // namespace hull::container
