// vsock: streams between the guest and its host, from a shell.
//
//   vsock connect CID PORT           standard input goes there, what comes goes to standard output
//   vsock listen PORT COMMAND...     runs the command for each who connects, with the stream as its standard
//                                    input and output; any number at a time
//
// An end of standard input is told to the other side, and what comes is still printed. Exit status: 0 both
// directions have ended, 1 it could not be done, 2 wrong usage.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// As in linux/vm_sockets.h, which a C library of its own does not find.
struct vsock_address {
    unsigned short family;
    unsigned short reserved;
    unsigned port;
    unsigned cid;
    unsigned char zero[4];
};
enum { kFamily = 40, kAnyCid = -1 };

static int fail(const char* what) {
    fprintf(stderr, "vsock: %s: %s\n", what, strerror(errno));
    return 1;
}

static struct vsock_address address_of(unsigned cid, const char* port) {
    struct vsock_address address = {.family = kFamily, .cid = cid, .port = (unsigned)strtoul(port, NULL, 10)};
    return address;
}

// Moves what there is; -1 on failure, 0 at the end.
static ssize_t move(int from, int to) {
    static char bytes[65536];
    const ssize_t got = read(from, bytes, sizeof bytes);
    for (ssize_t done = 0; done < got;) {
        const ssize_t now = write(to, bytes + done, (size_t)(got - done));
        if (now < 0) {
            return -1;
        }
        done += now;
    }
    return got;
}

static int run_connect(const char* cid, const char* port) {
    const struct vsock_address address = address_of((unsigned)strtoul(cid, NULL, 10), port);
    const int stream = socket(kFamily, SOCK_STREAM, 0);
    if (stream < 0 || connect(stream, (const struct sockaddr*)&address, sizeof address) != 0) {
        return fail("connect");
    }
    struct pollfd entries[] = {{stream, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    while (entries[0].fd >= 0 || entries[1].fd >= 0) {
        if (poll(entries, 2, -1) < 0) {
            return fail("poll");
        }
        if (entries[0].revents != 0) {
            const ssize_t moved = move(stream, STDOUT_FILENO);
            if (moved < 0) {
                return fail("from the stream");
            }
            if (moved == 0) {
                entries[0].fd = -1;
            }
        }
        if (entries[1].revents != 0) {
            const ssize_t moved = move(STDIN_FILENO, stream);
            if (moved < 0) {
                return fail("to the stream");
            }
            if (moved == 0) {
                shutdown(stream, SHUT_WR);
                entries[1].fd = -1;
            }
        }
    }
    return 0;
}

static int run_listen(const char* port, char** command) {
    const struct vsock_address address = address_of((unsigned)kAnyCid, port);
    const int listener = socket(kFamily, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (const struct sockaddr*)&address, sizeof address) != 0 ||
        listen(listener, 128) != 0) {
        return fail("listen");
    }
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        const int stream = accept(listener, NULL, NULL);
        if (stream < 0) {
            return fail("accept");
        }
        const pid_t child = fork();
        if (child < 0) {
            return fail("fork");
        }
        if (child == 0) {
            signal(SIGCHLD, SIG_DFL);
            signal(SIGPIPE, SIG_DFL);
            dup2(stream, STDIN_FILENO);
            dup2(stream, STDOUT_FILENO);
            close(stream);
            execvp(command[0], command);
            _exit(fail(command[0]));
        }
        close(stream);
    }
}

int main(int argc, char** argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc == 4 && strcmp(argv[1], "connect") == 0) {
        return run_connect(argv[2], argv[3]);
    }
    if (argc >= 4 && strcmp(argv[1], "listen") == 0) {
        return run_listen(argv[2], argv + 3);
    }
    fputs("vsock connect CID PORT | vsock listen PORT COMMAND...\n", stderr);
    return 2;
}
