// What the user says of the jail around the machine's process (--jail, --jail-without, --jail-user).
#pragma once

#include <set>
#include <string>

namespace hull {

/// The jail of a machine's process. A plain value.
struct JailConfig {
    enum class Mode {
        off,     ///< none
        on,      ///< a system call that is refused fails, and is told of
        strict,  ///< such a call ends the machine
    };
    /// What a host may lack, or not permit.
    enum class Layer {
        namespaces,  ///< its own of everything that has namespaces, and an empty root
        user,        ///< where root starts the machine: another user than root
        landlock,    ///< no files, connections and signals even if there were some within reach
        seccomp,     ///< the list of system calls
    };

    Mode mode = Mode::on;
    std::set<Layer> without{};  ///< layers that the user has left out
    std::string user{};         ///< NAME or UID, with ":GID" or without; empty: one of its own

    /// Whether the jail is to have this layer.
    [[nodiscard]] bool has(Layer layer) const { return mode != Mode::off && !without.contains(layer); }
    /// The words of --jail-without.
    [[nodiscard]] std::string without_text() const;
};

/// Puts in what the option `key` ("jail", "jail-without", "jail-user") says; false where it is another
/// option. Throws Error (usage).
bool apply_jail_option(JailConfig& config, const std::string& key, const std::string& value);

/// "off", "on" or "strict".
const char* name_of(JailConfig::Mode mode);
/// Throws Error (usage) for anything else.
JailConfig::Mode parse_jail_mode(const std::string& text);

/// "namespaces", "user", "landlock" or "seccomp".
const char* name_of(JailConfig::Layer layer);
/// Some of these with commas between them. Throws Error (usage).
std::set<JailConfig::Layer> parse_jail_layers(const std::string& text);

}  // namespace hull
