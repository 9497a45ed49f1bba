// The half of a Registry that puts images there.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/printable.h"
#include "container/image/registry.h"
#include "container/image/url.h"

namespace hull::container {

namespace {

constexpr long kOk = 200;
constexpr long kUnauthorized = 401;
constexpr long kNotFound = 404;

Exchange::Content content_of(const std::string& text) {
    return [&text](uint64_t offset, std::span<std::byte> room) {
        const size_t count = std::min<uint64_t>(room.size(), text.size() - offset);
        std::memcpy(room.data(), text.data() + offset, count);
        return count;
    };
}

}  // namespace

void Registry::connect() {
    for (endpoint_ = 0;; ++endpoint_) {
        try {
            Exchange exchange{connections_, make_request(endpoints_[endpoint_].url + "/v2/")};
            has_answered_ = true;
            if (exchange.status() == kUnauthorized) {
                authorization_ = authorize(exchange.challenges());
                check_authorization();
            } else if (exchange.status() != kOk) {
                refuse(exchange);
            }
            return;
        } catch (const Error&) {
            // Where there is no TLS there may be a registry without it.
            if (has_answered_ || endpoint_ + 1 == endpoints_.size()) {
                throw;
            }
        }
    }
}

/// Where the registry itself is who knows of passwords; of a token its maker has.
void Registry::check_authorization() {
    if (purpose_ != Purpose::login) {
        return;
    }
    Exchange::Request request = make_request(endpoints_[endpoint_].url + "/v2/");
    request.headers = {authorization_};
    Exchange exchange{connections_, request};
    refuse_unless_success(exchange);
}

bool Registry::has_blob(const Digest& digest) {
    Exchange::Request request = make_request(url_of("/blobs/" + digest.text()));
    request.method = "HEAD";
    const auto exchange = ask(std::move(request));
    if (exchange->status() != kOk && exchange->status() != kNotFound) {
        refuse(*exchange);
    }
    return exchange->status() == kOk;
}

void Registry::put_blob(const Descriptor& descriptor, const Exchange::Content& content,
                        const std::atomic<bool>& is_given_up) {
    Exchange::Request request = make_request(url_of("/blobs/uploads/"));
    request.method = "POST";
    request.is_given_up = &is_given_up;
    auto exchange = ask(request);
    refuse_unless_success(*exchange);

    // In one piece and behind it the digest, as docker does, which every registry knows.
    request.url = next_place(*exchange, request.url);
    request.method = "PATCH";
    request.headers = {"Content-Type: application/octet-stream"};
    request.content = content;
    request.content_size = descriptor.size;
    exchange = ask(request);
    refuse_unless_success(*exchange);

    request.url = with_parameter(next_place(*exchange, request.url), "digest=" + descriptor.digest.text());
    request.method = "PUT";
    request.content = nullptr;
    request.content_size = 0;
    // It may move all of it to where it stays before it answers.
    constexpr int kTimesLonger = 10;
    request.patience *= kTimesLonger;
    exchange = ask(request);
    refuse_unless_success(*exchange);
}

std::string Registry::next_place(const Exchange& exchange, const std::string& url) const {
    const auto place = resolve_url(url, exchange.location());
    if (!place) {
        throw Error{
            ExitStatus::registry_failure, tried(),
            "it does not say where a layer is to go (Location: " + printable(exchange.location()) + ")",
            "ask whoever runs it"};
    }
    return *place;
}

void Registry::put_manifest(const std::string& text, const std::string& media_type) {
    Exchange::Request request = make_request(url_of("/manifests/" + reference_.tag));
    request.method = "PUT";
    request.headers = {"Content-Type: " + media_type};
    request.content = content_of(text);
    request.content_size = text.size();
    const auto exchange = ask(request);
    refuse_unless_success(*exchange);
}

}  // namespace hull::container
