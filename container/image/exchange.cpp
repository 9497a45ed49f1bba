#include "container/image/exchange.h"

#include <curl/curl.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/printable.h"

namespace hull::container {

namespace {

constexpr size_t kMostWaiting = size_t{256} << 10U;      // bytes of content
constexpr size_t kMostHeaderBytes = size_t{256} << 10U;  // of all answers to a request
constexpr long kMostRedirects = 5;
constexpr long kLeastSpeed = 1024;  // bytes a second
constexpr int kLookAgainMs = 200;   // whether it was given up

/// libcurl's own set-up, once a process and before its second thread comes to it.
void start_curl() {
    static const CURLcode result = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (result != CURLE_OK) {
        throw Error{ExitStatus::internal_failure, "cannot start libcurl", curl_easy_strerror(result)};
    }
}

}  // namespace

struct Connections::Handles {
    CURLM* multi = curl_multi_init();
    CURL* easy = curl_easy_init();
    curl_slist* headers = nullptr;
    std::array<char, CURL_ERROR_SIZE> error{};

    Handles() = default;
    Handles(const Handles&) = delete;
    Handles& operator=(const Handles&) = delete;
    ~Handles() {
        curl_slist_free_all(headers);
        curl_easy_cleanup(easy);
        curl_multi_cleanup(multi);
    }
};

Connections::Connections() {
    start_curl();
}

Connections::~Connections() = default;

std::unique_ptr<Connections::Handles> Connections::take() {
    {
        const std::lock_guard lock{mutex_};
        if (!idle_.empty()) {
            std::unique_ptr<Handles> handles = std::move(idle_.back());
            idle_.pop_back();
            return handles;
        }
    }
    auto handles = std::make_unique<Handles>();
    if (handles->multi == nullptr || handles->easy == nullptr) {
        throw Error{ExitStatus::no_resources, "cannot connect to a registry", "libcurl has no memory"};
    }
    return handles;
}

void Connections::give_back(std::unique_ptr<Handles> handles) {
    curl_easy_reset(handles->easy);
    curl_slist_free_all(handles->headers);
    handles->headers = nullptr;
    const std::lock_guard lock{mutex_};
    idle_.push_back(std::move(handles));
}

Exchange::Exchange(Connections& connections, Request request)
    : connections_{connections}, request_{std::move(request)}, handles_{connections.take()} {
    CURL* const easy = handles_->easy;
    for (const std::string& header : request_.headers) {
        handles_->headers = curl_slist_append(handles_->headers, header.c_str());
    }
    set_method();
    const bool is_plain = request_.url.starts_with("http://");
    handles_->error.fill('\0');
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, handles_->error.data());
    curl_easy_setopt(easy, CURLOPT_URL, request_.url.c_str());
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, handles_->headers);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "hull/" HULL_VERSION);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, is_plain ? "http" : "https");
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, kMostRedirects);
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, is_plain ? "http,https" : "https");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FILETIME, 1L);
    curl_easy_setopt(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, static_cast<long>(kMostWaiting));
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT, static_cast<long>(request_.patience.count()));
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, kLeastSpeed);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>(request_.patience.count()));
    if (!request_.is_checked) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (!request_.may_use_proxy) {
        curl_easy_setopt(easy, CURLOPT_PROXY, "");
    }
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Exchange::on_content);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Exchange::on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
    curl_multi_add_handle(handles_->multi, easy);
    try {
        work();
    } catch (...) {
        curl_multi_remove_handle(handles_->multi, easy);
        throw;
    }
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status_);
    curl_off_t number = 0;
    if (curl_easy_getinfo(easy, CURLINFO_FILETIME_T, &number) == CURLE_OK) {
        modified_ = std::max<curl_off_t>(number, 0);
    }
    if (curl_easy_getinfo(easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &number) == CURLE_OK && number > 0) {
        content_length_ = static_cast<uint64_t>(number);
    }
    const char* type = nullptr;
    curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
    if (type != nullptr) {
        media_type_ = type;
        media_type_.resize(std::min(media_type_.find_first_of("; \t"), media_type_.size()));
    }
}

Exchange::~Exchange() {
    curl_multi_remove_handle(handles_->multi, handles_->easy);
    if (is_done_) {  // a connection in the middle of an answer is of no use to another
        connections_.give_back(std::move(handles_));
    }
}

void Exchange::set_method() {
    CURL* const easy = handles_->easy;
    if (request_.method == "GET" || request_.method == "HEAD") {
        curl_easy_setopt(easy, CURLOPT_NOBODY, request_.method == "HEAD" ? 1L : 0L);
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        return;
    }
    // A server that is asked whether it would take the content may leave that open for a second.
    handles_->headers = curl_slist_append(handles_->headers, "Expect:");
    curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request_.method.c_str());
    curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request_.content_size));
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, static_cast<long>(kMostWaiting));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, &Exchange::on_send);
    curl_easy_setopt(easy, CURLOPT_READDATA, this);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, &Exchange::on_seek);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, this);
}

size_t Exchange::on_send(char* room, size_t size, size_t count, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    const uint64_t left = exchange.request_.content_size - exchange.sent_;
    const std::span<char> place{room, std::min<uint64_t>(size * count, left)};
    if (place.empty()) {
        return 0;
    }
    try {
        const size_t got = exchange.request_.content(exchange.sent_, std::as_writable_bytes(place));
        exchange.sent_ += got;
        return got;
    } catch (...) {  // it would have to go through libcurl
        exchange.failure_ = std::current_exception();
        return CURL_READFUNC_ABORT;
    }
}

/// For a request that must be sent again, since the connection that was kept for it had ended.
int Exchange::on_seek(void* self, int64_t offset, int origin) {
    auto& exchange = *static_cast<Exchange*>(self);
    if (origin != SEEK_SET || offset < 0 || static_cast<uint64_t>(offset) > exchange.request_.content_size) {
        return CURL_SEEKFUNC_CANTSEEK;
    }
    exchange.sent_ = static_cast<uint64_t>(offset);
    return CURL_SEEKFUNC_OK;
}

size_t Exchange::on_content(char* bytes, size_t /*size*/, size_t count, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    if (exchange.content_.size() >= kMostWaiting) {
        exchange.is_paused_ = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    exchange.content_.append(bytes, count);
    return count;
}

size_t Exchange::on_header(char* bytes, size_t /*size*/, size_t count, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    exchange.header_bytes_ += count;
    if (exchange.header_bytes_ > kMostHeaderBytes) {
        return 0;
    }
    const std::string_view line{bytes, std::min(std::string_view{bytes, count}.find_first_of("\r\n"), count)};
    const auto value_of = [line](std::string_view name) -> std::optional<std::string> {
        if (line.size() < name.size() || strncasecmp(line.data(), name.data(), name.size()) != 0) {
            return std::nullopt;
        }
        const size_t begin = std::min(line.find_first_not_of(" \t", name.size()), line.size());
        return std::string{line.substr(begin)};
    };
    if (line.starts_with("HTTP/")) {  // of the answer behind a redirect
        exchange.challenges_.clear();
        exchange.location_.clear();
    } else if (auto challenge = value_of("www-authenticate:")) {
        exchange.challenges_.push_back(*std::move(challenge));
    } else if (auto location = value_of("location:")) {
        exchange.location_ = *std::move(location);
    }
    return count;
}

void Exchange::work() {
    while (content_.empty() && !is_done_) {
        if (request_.is_given_up != nullptr && *request_.is_given_up) {
            throw Error{ExitStatus::registry_failure, request_.tried, "it was given up"};
        }
        if (is_paused_) {
            is_paused_ = false;
            curl_easy_pause(handles_->easy, CURLPAUSE_CONT);
        }
        int running = 0;
        CURLMcode result = curl_multi_perform(handles_->multi, &running);
        int left = 0;
        if (const CURLMsg* const message = curl_multi_info_read(handles_->multi, &left); message != nullptr) {
            is_done_ = true;
            if (failure_) {
                std::rethrow_exception(failure_);
            }
            if (const CURLcode code = message->data.result; code != CURLE_OK) {
                std::string why = printable(handles_->error.data());
                why = why.empty() ? curl_easy_strerror(code) : why;
                throw Error{ExitStatus::registry_failure, request_.tried, why,
                            "is the registry's name right, and the network up?"};
            }
        }
        if (content_.empty() && !is_done_ && result == CURLM_OK) {
            result = curl_multi_poll(handles_->multi, nullptr, 0, kLookAgainMs, nullptr);
        }
        if (result != CURLM_OK) {
            throw Error{ExitStatus::internal_failure, request_.tried, curl_multi_strerror(result)};
        }
    }
}

size_t Exchange::read(std::span<std::byte> room) {
    if (read_ == content_.size()) {
        content_.clear();
        read_ = 0;
        work();
    }
    const size_t count = std::min(room.size(), content_.size() - read_);
    std::memcpy(room.data(), content_.data() + read_, count);
    read_ += count;
    return count;
}

std::string Exchange::read_all(size_t most_bytes) {
    std::string text;
    std::array<std::byte, 16'384> part{};
    while (const size_t got = read(part)) {
        text.append(reinterpret_cast<const char*>(part.data()), got);
        if (text.size() > most_bytes) {
            throw Error{
                ExitStatus::bad_file, request_.tried,
                "what comes is larger than the " + std::to_string(most_bytes) + " bytes that it may have"};
        }
    }
    return text;
}

}  // namespace hull::container
