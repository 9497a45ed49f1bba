// A disk's server that is not ours.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>

namespace hull::test {

/// Looks ten times a second for a minute.
inline bool wait_until(const std::function<bool()>& holds) {
    for (int tenths = 0; tenths < 600; ++tenths) {
        if (holds()) {
            return true;
        }
        usleep(100'000);
    }
    return false;
}

/// A qemu-storage-daemon that serves one image of a format that it knows at a socket, until it is killed.
class StorageDaemon {
  public:
    StorageDaemon(const std::filesystem::path& image, const std::filesystem::path& socket,
                  const std::string& format = "qcow2") {
        std::filesystem::remove(socket);
        const std::string file =
            "driver=" + format + ",node-name=disk,file.driver=file,file.filename=" + image.string();
        const std::string how =
            "type=vhost-user-blk,id=export,node-name=disk,writable=on,num-queues=2,"
            "addr.type=unix,addr.path=" +
            socket.string();
        pid_ = fork();
        if (pid_ == 0) {
            execlp("qemu-storage-daemon", "qemu-storage-daemon", "--blockdev", file.c_str(), "--export",
                   how.c_str(), nullptr);
            _exit(127);
        }
        EXPECT_TRUE(wait_until([&] { return std::filesystem::exists(socket); }));
    }
    StorageDaemon(const StorageDaemon&) = delete;
    StorageDaemon& operator=(const StorageDaemon&) = delete;
    ~StorageDaemon() { end(SIGTERM); }
    void end(int signal) {
        if (pid_ > 0) {
            kill(pid_, signal);
            waitpid(pid_, nullptr, 0);
            pid_ = -1;
        }
    }

  private:
    pid_t pid_ = -1;
};

}  // namespace hull::test
