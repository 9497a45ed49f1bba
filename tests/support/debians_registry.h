// Debian's docker-registry, which tests pull from and push to.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/files.h"
#include "tests/support/image_builder.h"
#include "tests/support/program.h"
#include "tests/support/sockets.h"

namespace hull::test {

/// Debian's registry on a free port of the loopback.
class DebiansRegistry {
  public:
    /// `users`: lines of htpasswd's, of bcrypt, who alone may do anything; empty: everybody may. `images`:
    /// what is in it, which nobody changes; empty: nothing.
    explicit DebiansRegistry(const std::string& users = "", const std::string& images = "")
        : port_{free_port()} {
        std::string text = "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: " +
                           (images.empty() ? (folder_.path() / "data").string() : images) +
                           "}, maintenance: {uploadpurging: {enabled: false}, readonly: {enabled: " +
                           (images.empty() ? "false" : "true") +
                           "}}}\nhttp: {addr: 127.0.0.1:" + std::to_string(port_) + "}\n";
        if (!users.empty()) {
            text += "auth: {htpasswd: {realm: here, path: " + folder_.file("users", users).string() + "}}\n";
        }
        const auto config = folder_.file("config.yml", text);
        program_.emplace(std::vector<std::string>{"docker-registry", "serve", config.string()});
        for (int tries = 0; tries < 600 && !program_->has_ended() && send("GET", "/v2/", "", "").empty();
             ++tries) {
            std::this_thread::sleep_for(std::chrono::milliseconds{50});
        }
    }

    [[nodiscard]] std::string host() const { return "127.0.0.1:" + std::to_string(port_); }

    /// As docker push does. False where the registry does not take it.
    [[nodiscard]] bool put(const std::string& name, const std::string& tag, const BuiltImage& image) const {
        for (const auto& [digest, blob] : image.blobs) {
            const std::string started = send("POST", "/v2/" + name + "/blobs/uploads/", "", "");
            std::smatch place;
            if (!std::regex_search(started, place, std::regex{"Location: http://[^/]*([^\r]*)"}) ||
                !send("PUT", place[1].str() + "&digest=" + digest, "application/octet-stream", blob)
                     .starts_with("HTTP/1.1 201")) {
                return false;
            }
        }
        return send("PUT", "/v2/" + name + "/manifests/" + tag, BuiltImage::kManifestType, image.manifest)
            .starts_with("HTTP/1.1 201");
    }

    /// What it has by such a path ("/v2/app/manifests/1"), as it is; empty where it has none.
    [[nodiscard]] std::string get(const std::string& path, const std::string& accepted = "*/*") const {
        const std::string answer = send("GET", path, "", "", "Accept: " + accepted + "\r\n");
        return answer.starts_with("HTTP/1.1 200") ? answer.substr(answer.find("\r\n\r\n") + 4) : "";
    }

  private:
    static uint16_t free_port() {
        const UniqueFd fd{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        sockaddr_in address = at("127.0.0.1", 0);
        socklen_t size = sizeof address;
        EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
        EXPECT_EQ(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
        return ntohs(address.sin_port);
    }

    /// The whole answer; empty where there is none.
    [[nodiscard]] std::string send(const std::string& method, const std::string& path,
                                   const std::string& type, const std::string& body,
                                   const std::string& headers = "") const {
        const UniqueFd fd{socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
        const sockaddr_in target = at("127.0.0.1", port_);
        if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0) {
            return "";
        }
        write_all(fd.get(), method + " " + path + " HTTP/1.1\r\nHost: " + host() +
                                "\r\nConnection: close\r\nContent-Type: " + type + "\r\nContent-Length: " +
                                std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body);
        return read_up_to(fd.get(), SIZE_MAX);
    }

    TemporaryFolder folder_;
    uint16_t port_;
    std::optional<Program> program_;
};

}  // namespace hull::test
