// Sends what is in a folder to the host.
#pragma once

namespace hull::agent {

/// Sends the files, folders and symbolic links in the folder at `path`, as kEntry, kData and kEnd, and leaves
/// out what else there is (devices, sockets, pipes). Nothing but the links themselves is followed out of it.
/// False where the folder cannot be read as a whole, or `stream` takes no more. Blocks.
bool send_tree(int stream, const char* path);

}  // namespace hull::agent
