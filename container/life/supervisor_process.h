// Starts containers' supervisors.
#pragma once

#include "container/supervisor/container_files.h"

namespace hull::container {

/// Starts `hull-supervisor` for a container whose run.json is there. It is nobody's child: it lives on
/// without this process, which finds it at its socket (Channel::connect). One that a supervisor which is gone
/// has left is replaced. Throws Error (no_resources, bad_file). Any thread.
void start_supervisor(const ContainerFiles& files);

/// The same, but that it is this process's child, which dies with the thread that calls this.
void start_own_supervisor(const ContainerFiles& files);

}  // namespace hull::container
