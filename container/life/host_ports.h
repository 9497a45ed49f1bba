// Where containers' ports are at the host.
#pragma once

#include <string>
#include <vector>

#include "container/life/container_spec.h"

namespace hull::container {

/// The port at the host, for each address at which it is to be: where none is asked for, all of IPv4 and,
/// where the host has that, of IPv6, with one number. Nobody has any of them. Throws ApiError, as dockerd
/// words it, where somebody has. `container` is its name.
std::vector<PortBinding> find_host_ports(const PortBinding& wanted, const std::string& container);

/// As PublishedPort has it, and the reverse, which throws Error (bad_file).
std::string port_word(const PortBinding& port);
PortBinding port_of(const std::string& word);

}  // namespace hull::container
