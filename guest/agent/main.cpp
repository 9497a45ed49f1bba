// The first process of a guest that a host drives: makes the guest ready, serves the host, and powers off.
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest/agent/agent.h"

namespace {

/// Where the kernel's modules are, and the file that names them in the order in which they are to be loaded,
/// one a line. There are none where the kernel has all built in.
constexpr const char* kModules = "/lib/modules";
constexpr const char* kOrder = "/lib/modules/order";

void load_modules() {
    FILE* order = fopen(kOrder, "re");
    if (order == nullptr) {
        return;
    }
    char name[256];
    while (fgets(name, sizeof name, order) != nullptr) {
        name[strcspn(name, "\n")] = '\0';
        char path[512];
        snprintf(path, sizeof path, "%s/%s", kModules, name);
        const int file = open(path, O_RDONLY | O_CLOEXEC);
        // A machine need not have the device; what is missed then tells.
        syscall(SYS_finit_module, file, "", 0);
        close(file);
    }
    fclose(order);
}

int connect_to_host() {
    const int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_vm address{};
    address.svm_family = AF_VSOCK;
    address.svm_cid = VMADDR_CID_HOST;
    address.svm_port = hull::agent::kPort;
    if (fd >= 0 && connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        const int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

}  // namespace

int main() {
    if (getpid() != 1) {
        fputs("hull-agent is the first process of a guest; hull puts it there\n", stderr);
        return 2;
    }
    mkdir("/dev", 0755);
    mount("dev", "/dev", "devtmpfs", MS_NOSUID, nullptr);
    // What programs look for there and the kernel does not make.
    symlink("/proc/self/fd", "/dev/fd");
    symlink("/proc/self/fd/0", "/dev/stdin");
    symlink("/proc/self/fd/1", "/dev/stdout");
    symlink("/proc/self/fd/2", "/dev/stderr");
    sethostname("hull", strlen("hull"));
    load_modules();
    static hull::agent::Agent agent{connect_to_host};
    if (!agent.serve()) {
        fprintf(stderr, "hull-agent: cannot serve the host: %s\n", strerror(errno));
    }
    // Nobody writes to a disk any more while it is brought up to date.
    kill(-1, SIGKILL);
    while (waitpid(-1, nullptr, 0) > 0) {
    }
    sync();
    reboot(RB_POWER_OFF);
    return 1;  // the kernel panics, which ends the machine too
}
