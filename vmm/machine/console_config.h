// What the user says of the console (--console) and of further ports (--port).
#pragma once

#include <filesystem>
#include <string>

namespace hull {

/// What the guest's console is and where it goes.
struct ConsoleConfig {
    enum class Kind {
        stdio,  ///< standard input and output
        none,   ///< nowhere
        file,   ///< output into a file that is made or emptied; no input
    };
    Kind kind = Kind::stdio;
    std::filesystem::path path;  ///< for Kind::file
    bool virtio = false;  ///< hvc0 is the console and gets the input; what is printed on the serial port
                          ///< (early messages, where asked for) goes to the same place

    /// "stdio", "none" or "file:PATH", with "virtio:" before it or not; "virtio" is "virtio:stdio". As on the
    /// command line. Throws Error (usage).
    static ConsoleConfig parse(const std::string& text);
    [[nodiscard]] std::string text() const;
};

/// A port of virtio-console that the guest finds by its name.
struct PortConfig {
    enum class Kind {
        file,    ///< what the guest sends goes into a file that is made or emptied
        socket,  ///< a unix socket that listens; one client at a time
        pipe,    ///< named pipes: PATH.in, which the guest reads, and PATH.out, which it writes
    };
    std::string
        name;  ///< 1 to 64 letters, digits, dots, hyphens, underscores and colons, a letter or digit first
    Kind kind = Kind::file;
    std::filesystem::path path;

    /// "NAME,file=PATH", "NAME,socket=PATH" or "NAME,pipe=PATH", as on the command line; a comma in PATH is
    /// written twice. Throws Error (usage).
    static PortConfig parse(const std::string& text);
    [[nodiscard]] std::string text() const;
};

}  // namespace hull
