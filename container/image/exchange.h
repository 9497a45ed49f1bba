// One HTTP exchange of libcurl's, read as it comes.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace hull::container {

/// Connections that are kept for the next exchange with the same host. Any thread.
class Connections {
  public:
    Connections();
    ~Connections();

  private:
    friend class Exchange;
    /// What libcurl needs for one exchange at a time.
    struct Handles;
    std::unique_ptr<Handles> take();
    void give_back(std::unique_ptr<Handles> handles);

    std::mutex mutex_;
    std::vector<std::unique_ptr<Handles>> idle_;
};

/// A request and its answer; of a GET and a HEAD, redirects are followed (to the same scheme or to TLS,
/// without the authorization where they lead elsewhere). One thread.
class Exchange {
  public:
    /// What is sent: fills some of `room` with the bytes from an offset on; at least one where there are any.
    /// What it throws, the Exchange throws.
    using Content = std::function<size_t(uint64_t offset, std::span<std::byte> room)>;

    struct Request {
        std::string url;
        std::string method = "GET";         ///< or "HEAD", and of those that send: "POST", "PATCH", "PUT"
        std::vector<std::string> headers;   ///< whole ones: "Accept: …"
        bool is_checked = true;             ///< the server's certificate
        bool may_use_proxy = true;          ///< the one that the environment names, as libcurl has it
        std::chrono::seconds patience{30};  ///< for less than 1 KiB a second
        /// Reading ends soon after it has become true; may be null.
        const std::atomic<bool>* is_given_up = nullptr;
        std::string tried;          ///< what an Error begins with
        Content content{};          ///< of those that send; may be none
        uint64_t content_size = 0;  ///< bytes
    };

    /// Returns when the answer's headers are there. Throws Error (registry_failure) where there is no answer.
    Exchange(Connections& connections, Request request);
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;
    ~Exchange();

    [[nodiscard]] long status() const { return status_; }
    [[nodiscard]] const std::string& media_type() const { return media_type_; }
    /// Last-Modified, in seconds since 1970; 0 where it is not said.
    [[nodiscard]] int64_t modified() const { return modified_; }
    /// How large the content is to be, in bytes; 0 where that is not said.
    [[nodiscard]] uint64_t content_length() const { return content_length_; }
    /// The values of WWW-Authenticate.
    [[nodiscard]] const std::vector<std::string>& challenges() const { return challenges_; }
    /// The value of Location; empty where there is none.
    [[nodiscard]] const std::string& location() const { return location_; }

    /// Fills some of `room` with the content; 0 at its end. Throws Error (registry_failure) where it breaks
    /// off, or is too slow.
    size_t read(std::span<std::byte> room);
    /// The rest, of at most so many bytes. Throws Error, too where there are more (bad_file).
    std::string read_all(size_t most_bytes);

  private:
    static size_t on_content(char* bytes, size_t size, size_t count, void* self);
    static size_t on_header(char* bytes, size_t size, size_t count, void* self);
    static size_t on_send(char* room, size_t size, size_t count, void* self);
    static int on_seek(void* self, int64_t offset, int origin);
    /// How what is sent is told to libcurl.
    void set_method();
    /// Has libcurl work until there is content, or the end.
    void work();

    Connections& connections_;
    Request request_;
    std::unique_ptr<Connections::Handles> handles_;
    long status_ = 0;
    int64_t modified_ = 0;
    uint64_t content_length_ = 0;
    std::string media_type_;
    std::vector<std::string> challenges_;
    std::string location_;
    uint64_t sent_ = 0;           // of the content
    std::exception_ptr failure_;  // of whoever has it
    size_t header_bytes_ = 0;
    std::string content_;  // that has come and was not read
    size_t read_ = 0;      // of it
    bool is_paused_ = false;
    bool is_done_ = false;
};

}  // namespace hull::container
