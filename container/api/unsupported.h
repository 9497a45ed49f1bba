// What Docker's clients may ask for and Hull does not do: each refused by its name, none passed over.
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>

namespace hull::container {

/// Looks at a create body and the HostConfig in it for whatever is not done here and is not as if it had not
/// been said. Throws ApiError (400, or 501 with the option's name).
void refuse_unsupported(const boost::json::object& body, const boost::json::object& host_config);

/// Throws ApiError where a container cannot have this network.
void refuse_network(const std::string& name);

/// Throws ApiError for a mount of this kind.
[[noreturn]] void refuse_mount(const std::string& kind);

/// What an option of --security-opt says of new privileges; none where it is of something else that is so in
/// any case. Throws ApiError where it is not.
std::optional<bool> asks_for_no_new_privileges(const std::string& option);

}  // namespace hull::container
