// What a turncoat attacks: told by its environment, by whoever starts it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

namespace hull::turncoat {

/// Variables of the environment. The first is a file that is mapped and filled with lines, since a thread may
/// have no call left to write with; its size bounds what is told.
inline constexpr const char* kReport = "HULL_TURNCOAT_REPORT";
inline constexpr const char* kDisk = "HULL_TURNCOAT_DISK";  ///< of another machine's
inline constexpr const char* kFolder =
    "HULL_TURNCOAT_FOLDER";  ///< of the host's, for what is made and mounted; has a file "victim"
inline constexpr const char* kProcess = "HULL_TURNCOAT_PROCESS";  ///< another machine's
inline constexpr const char* kAddress = "HULL_TURNCOAT_ADDRESS";  ///< in that process, where it may be read
inline constexpr const char* kTcp = "HULL_TURNCOAT_TCP";  ///< a port of 127.0.0.1 where somebody listens
inline constexpr const char* kUdp = "HULL_TURNCOAT_UDP";  ///< likewise
inline constexpr const char* kSocket = "HULL_TURNCOAT_SOCKET";  ///< a listening unix socket's path
inline constexpr const char* kAbstract =
    "HULL_TURNCOAT_ABSTRACT";  ///< a listening unix socket's abstract name

struct Target {
    std::string disk;
    std::string folder;
    std::string made;    ///< a file that could be made in the folder
    std::string victim;  ///< one that is there
    std::string socket;
    std::string abstract_socket;
    pid_t keeper = -1;
    pid_t process = -1;
    uintptr_t address = 0;
    uint16_t tcp = 0;
    uint16_t udp = 0;
    int names = -1;  ///< a namespace, opened before the jail was closed
};

}  // namespace hull::turncoat
