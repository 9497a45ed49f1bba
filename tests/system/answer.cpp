// For containers of the tests: `answer NAME` answers who connects to TCP port 80, and who sends to UDP port
// 53, with the name and the end of a line.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

int open_port(int type, uint16_t port) {
    const int fd = socket(AF_INET, type, 0);
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    const bool is_open = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                         (type == SOCK_DGRAM || listen(fd, 16) == 0);
    return is_open ? fd : -1;
}

/// Of 64 bytes.
void write_line(char* line, const char* name, const sockaddr_in& from) {
    if (strcmp(name, "-") == 0) {
        inet_ntop(AF_INET, &from.sin_addr, line, 60);
    } else {
        strncpy(line, name, 60);
    }
    line[strlen(line)] = '\n';
}

}  // namespace

int main(int count, char** words) {
    if (count != 2) {
        return 2;
    }
    pollfd ports[] = {{open_port(SOCK_STREAM, 80), POLLIN, 0}, {open_port(SOCK_DGRAM, 53), POLLIN, 0}};
    while (poll(ports, 2, -1) > 0) {
        sockaddr_in from{};
        socklen_t size = sizeof from;
        char line[64] = {};
        if (ports[0].revents != 0) {
            const int client = accept(ports[0].fd, reinterpret_cast<sockaddr*>(&from), &size);
            write_line(line, words[1], from);
            send(client, line, strlen(line), MSG_NOSIGNAL);
            shutdown(client, SHUT_WR);
            char room[256];
            while (read(client, room, sizeof room) > 0) {  // so that what it sends resets nothing
            }
            close(client);
        }
        if (ports[1].revents != 0) {
            char room[256];
            recvfrom(ports[1].fd, room, sizeof room, 0, reinterpret_cast<sockaddr*>(&from), &size);
            write_line(line, words[1], from);
            sendto(ports[1].fd, line, strlen(line), 0, reinterpret_cast<const sockaddr*>(&from), size);
        }
    }
    return 1;
}
