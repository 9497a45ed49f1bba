// Parts of the host's files in a container's root.
#pragma once

#include "guest/agent/requests.h"

namespace hull::agent {

/// Does kBind.
Failure bind_into(const Request& request);

/// Does kCopyUp.
Failure copy_up(const Request& request);

}  // namespace hull::agent
