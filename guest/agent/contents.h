// What is in folders, for the host: told of, sent, taken and compared (kLook to kCompare).
#pragma once

#include <stdint.h>

#include "guest/agent/command.h"
#include "guest/agent/requests.h"

namespace hull::agent {

/// Does one of kLook, kPack, kUnpack and kCompare over `stream`, and says there how it went. For a process of
/// its own, which ends then: its root is the request's from here on.
void serve_contents(uint32_t type, const Request& request, int stream);

/// Does kUnpack's work: puts what comes over `stream` into the working folder, to kEnd. Where something fails
/// that is of a file, `path` (kMostPath bytes) says which.
Failure unpack_contents(int stream, uint64_t flags, const char* user, char* path);

/// Of paths, with the zero at the end.
constexpr size_t kMostPath = 4096;

/// Whether all was sent.
bool send_whole(int stream, const uint8_t* bytes, size_t size);

}  // namespace hull::agent
