// A further command in a container.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <vector>

namespace hull::container {

/// A plain value. The texts have no NUL.
struct ExecConfig {
    std::vector<std::string> command;      ///< the program first; not empty
    std::vector<std::string> environment;  ///< NAME=VALUE, all that it gets
    std::string user;                      ///< NAME|ID[:GROUP|ID]; empty: the container's
    std::string working_folder;            ///< absolute; empty: the container's
    bool tty = false;
    bool has_input = false;
    bool is_privileged = false;
    // For the daemon alone: a client says of itself what it gets (channel.h).
    bool has_output = true;
    bool has_errors = true;
    std::string detach_keys{};  ///< as its user wrote them; empty: the usual ones

    [[nodiscard]] boost::json::object to_json() const;
    /// Throws Error (bad_file) where it is none.
    static ExecConfig from_json(const boost::json::object& object);
};

}  // namespace hull::container
