// A client of a machine's API.
#pragma once

#include <filesystem>

#include "vmm/api/http_server.h"

namespace hull {

/// Asks once over a connection of its own to the unix socket `socket`, and waits for the answer, however long
/// that takes. Throws Error: bad_file where nobody listens there, machine_died where the machine ends before
/// it has answered.
HttpAnswer ask_machine(const std::filesystem::path& socket, const HttpRequest& request);

}  // namespace hull
