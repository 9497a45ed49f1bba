// Answers about containers that go on for a while.
#pragma once

#include <string>

#include "container/api/http_server.h"
#include "container/life/containers.h"
#include "container/life/events.h"

namespace hull::container {

/// Each answers the call, ends when its client goes away or the server stops, and throws ApiError, as dockerd
/// answers. Any thread, each its own.

/// POST /containers/NAME/wait.
void wait_for_end(ApiCall& call, const Containers& containers, Events& events, const std::string& name);

/// GET /containers/NAME/logs.
void send_logs(ApiCall& call, const Containers& containers, Events& events, const std::string& name);

/// GET /containers/NAME/stats.
void send_stats(ApiCall& call, const Containers& containers, const std::string& name);

/// GET /events.
void send_events(ApiCall& call, Events& events);

/// What POST attach has before it: the log so far, as a stream that is no longer HTTP's. False where the
/// client is gone.
bool replay_log(int socket, const ContainerView& container, bool output, bool errors);

}  // namespace hull::container
