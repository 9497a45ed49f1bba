// A folder of the host's as a build's context.
#pragma once

#include <filesystem>
#include <string>

#include "container/build/build_context.h"

namespace hull::container {

/// Puts what is in a folder into the context, as docker's client sends it: all of it root's, without sockets,
/// and without what its .dockerignore leaves out, but for `dockerfile` (a path in it) and that file itself.
/// No link is followed. Throws Error: bad_file where something cannot be read, else as BuildContext does.
void take_folder(BuildContext& context, const std::filesystem::path& folder, const std::string& dockerfile);

}  // namespace hull::container
