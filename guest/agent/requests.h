// What the host asks for, but for commands (command.h): what requests have in them, and those that are of the
// guest as a whole.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "guest/agent/command.h"
#include "guest/agent/protocol.h"

namespace hull::agent {

/// What a request says that is neither kRun nor malformed. The texts lie in its frame.
struct Request {
    const char* path = nullptr;
    const char* source = nullptr;
    const char* kind = nullptr;
    const char* options = nullptr;
    const char* target = nullptr;
    const char* root = nullptr;   ///< null: the agent's own
    const char* user = nullptr;   ///< null: nobody is named
    const char* group = nullptr;  ///< null: none is
    Field content;
    bool has_mode = false;
    uint64_t mode = 0;    ///< up to 07777, of a node with its type
    uint64_t device = 0;  ///< of a node
    uint64_t flags = 0;
    uint64_t address = 0;  ///< of IPv4, and the next but one
    uint64_t prefix = 0;   ///< up to 32
    uint64_t gateway = 0;
    uint64_t port = 0;     ///< 1 to 65535
    uint64_t rows = 0;     ///< up to 65535
    uint64_t columns = 0;  ///< likewise
    uint64_t signal = 0;   ///< 1 to 64

    /// False where the frame is no request, lacks a field or has one that it must not have, or a value that
    /// this must not have.
    bool parse(const Frame& frame);
    [[nodiscard]] bool has_flag(uint64_t flag) const { return (flags & flag) != 0; }

  private:
    bool take(const Field& field);
};

/// Makes a folder and those above it, each that is missing. False with errno where it cannot.
bool make_folders(const char* path);

/// Does one of kFolder, kFile, kMount, kAddress, kNode, kLink, kBind, kUnplug and kCopyUp.
Failure perform(uint32_t type, const Request& request);

}  // namespace hull::agent
