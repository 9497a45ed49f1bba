#include "container/image/registry.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "container/image/authorization.h"
#include "container/image/json.h"
#include "container/image/url.h"

namespace hull::container {

namespace {

constexpr const char* kHubsHost = "registry-1.docker.io";
constexpr size_t kMostAnswerBytes = size_t{1} << 20U;  // with a token, or with what is wrong
constexpr long kUnauthorized = 401;
constexpr const char* kLogInAdvice =
    "is the name right? where it needs a user, give Hull docker's config.json (docker login)";

std::string without_port(const std::string& host) {
    const size_t colon = host.rfind(':');
    return colon == std::string::npos ? host : host.substr(0, colon);
}

bool is_loopback(const std::string& host) {
    const std::string name = without_port(host);
    return name == "localhost" ||
           (name.starts_with("127.") && name.find_first_not_of("0123456789.") == std::string::npos);
}

/// For a query: what is not unreserved (RFC 3986, 2.3) as %XX.
std::string escaped(std::string_view text) {
    constexpr std::string_view kUnreserved =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~:/,";
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string result;
    for (const char c : text) {
        if (kUnreserved.find(c) != std::string_view::npos) {
            result += c;
        } else {
            const auto byte = static_cast<unsigned char>(c);
            result += {'%', kDigits[byte >> 4U], kDigits[byte & 15U]};
        }
    }
    return result;
}

/// What a registry says of an error (distribution specification, "Error Codes"), fit for a line; empty where
/// it says nothing of use.
std::string message_of(const std::string& answer) {
    static const std::string tried = "cannot read";
    std::string message;
    try {
        const boost::json::object whole = parse_json_object(answer, tried);
        const std::vector<JsonObject> errors = JsonObject{whole, tried}.objects("errors");
        if (!errors.empty()) {
            message = errors.front().text("message");
            message = message.empty() ? errors.front().text("code") : message;
        }
    } catch (const Error&) {
        return "";
    }
    return printable(message);
}

void check_content(const std::string& text, const Digest& digest, const std::string& tried) {
    if (Digest::of(std::as_bytes(std::span{text})) != digest) {
        throw Error{ExitStatus::bad_file, tried, "what comes has another digest than " + digest.text(),
                    "the registry, or something on the way to it, is broken or lies"};
    }
}

}  // namespace

Registry::Registry(Reference reference, RegistryOptions options, Purpose purpose)
    : reference_{std::move(reference)}, options_{std::move(options)}, purpose_{purpose} {
    const std::string& domain = reference_.domain;
    if (purpose_ != Purpose::pull) {
        options_.mirrors.clear();
    }
    if (domain == kHub) {
        for (std::string url : options_.mirrors) {
            const size_t begin = url.starts_with("http://") ? 7 : url.starts_with("https://") ? 8 : 0;
            const std::string host = url.substr(begin, url.find('/', begin) - begin);
            if (begin == 0 || host.empty() || url.find_first_of("@?# \t\r\n") != std::string::npos) {
                throw Error{ExitStatus::usage, "cannot use '" + printable(url) + "' (--registry-mirror)",
                            "it is no URL of a registry's", "give http:// or https:// and a host"};
            }
            while (url.ends_with('/')) {
                url.pop_back();
            }
            endpoints_.push_back(
                {.url = url, .host = host, .is_checked = !is_insecure(host), .is_mirror = true});
        }
        endpoints_.push_back({.url = std::string{"https://"} + kHubsHost,
                              .host = kHubsHost,
                              .is_checked = true,
                              .is_mirror = false});
        return;
    }
    endpoints_.push_back(
        {.url = "https://" + domain, .host = domain, .is_checked = !is_insecure(domain), .is_mirror = false});
    if (is_insecure(domain)) {
        endpoints_.push_back(
            {.url = "http://" + domain, .host = domain, .is_checked = false, .is_mirror = false});
    }
}

bool Registry::is_insecure(const std::string& host) const {
    return is_loopback(host) || std::ranges::any_of(options_.insecure, [&](const std::string& name) {
               return name == host || name == without_port(host);
           });
}

std::string Registry::tried() const {
    if (purpose_ == Purpose::login) {
        return "cannot log in to " + endpoints_[endpoint_].host;
    }
    const bool is_pull = purpose_ == Purpose::pull;
    return std::string{is_pull ? "cannot pull " : "cannot push "} + reference_.familiar_text() +
           (is_pull ? " from " : " to ") + endpoints_[endpoint_].host;
}

Registry::Document Registry::manifest() {
    for (endpoint_ = 0;; ++endpoint_) {
        authorization_.clear();
        has_answered_ = false;
        try {
            return get_manifest(reference_.digest ? reference_.digest->text() : reference_.tag);
        } catch (const Error&) {
            // Where there is no TLS there may be a registry without it; what a registry says counts.
            const bool is_final = has_answered_ && !endpoints_[endpoint_].is_mirror;
            if (is_final || endpoint_ + 1 == endpoints_.size()) {
                throw;
            }
        }
    }
}

Registry::Document Registry::manifest(const Descriptor& descriptor) {
    Document result = get_manifest(descriptor.digest.text());
    if (result.text.size() != descriptor.size) {
        throw Error{ExitStatus::bad_file, tried(), "a manifest has another size than its index says",
                    "the registry, or something on the way to it, is broken or lies"};
    }
    return result;
}

Registry::Document Registry::get_manifest(const std::string& name) {
    const auto exchange = get("/manifests/" + name, accepted_manifests(), nullptr);
    std::string text = exchange->read_all(Manifest::kMostBytes);
    Digest digest = Digest::of(std::as_bytes(std::span{text}));
    if (const std::optional<Digest> wanted = Digest::parse(name); wanted) {
        check_content(text, *wanted, tried());
    }
    return {.text = std::move(text), .media_type = exchange->media_type(), .digest = std::move(digest)};
}

std::string Registry::blob(const Descriptor& descriptor) {
    const auto exchange = get("/blobs/" + descriptor.digest.text(), "*/*", nullptr);
    std::string text = exchange->read_all(descriptor.size);
    check_content(text, descriptor.digest, tried());
    return text;
}

ByteSource Registry::open_blob(const Descriptor& descriptor, const std::atomic<bool>& is_given_up) {
    std::shared_ptr<Exchange> exchange = get("/blobs/" + descriptor.digest.text(), "*/*", &is_given_up);
    return [exchange = std::move(exchange), left = descriptor.size,
            tried = tried()](std::span<std::byte> room) mutable {
        const size_t got = exchange->read(room);
        if (got > left || (got == 0 && left > 0)) {
            throw Error{
                ExitStatus::bad_file, tried,
                std::string{"a layer is "} + (got > left ? "larger" : "smaller") + " than its manifest says",
                "the registry, or something on the way to it, is broken or lies"};
        }
        left -= got;
        return got;
    };
}

Exchange::Request Registry::make_request(const std::string& url) const {
    const Endpoint& endpoint = endpoints_[endpoint_];
    return {.url = url,
            .method = "GET",
            .headers = {},
            .is_checked = endpoint.is_checked,
            .may_use_proxy = !is_loopback(endpoint.host),
            .patience = options_.patience,
            .is_given_up = nullptr,
            .tried = tried(),
            .content = {},
            .content_size = 0};
}

std::string Registry::url_of(const std::string& path) const {
    return endpoints_[endpoint_].url + "/v2/" + reference_.path + path;
}

std::unique_ptr<Exchange> Registry::ask(Exchange::Request request) {
    const bool is_here = has_same_origin(request.url, endpoints_[endpoint_].url);
    const std::vector<std::string> headers = request.headers;
    for (bool is_second = false;; is_second = true) {
        request.headers = headers;
        {
            const std::lock_guard lock{mutex_};
            if (is_here && !authorization_.empty()) {
                request.headers.push_back(authorization_);
            }
        }
        auto exchange = std::make_unique<Exchange>(connections_, request);
        has_answered_ = true;
        if (exchange->status() != kUnauthorized || is_second || !is_here) {
            return exchange;
        }
        std::string authorization = authorize(exchange->challenges());
        const std::lock_guard lock{mutex_};
        authorization_ = std::move(authorization);
    }
}

std::unique_ptr<Exchange> Registry::get(const std::string& path, const std::string& accepted,
                                        const std::atomic<bool>* is_given_up) {
    Exchange::Request request = make_request(url_of(path));
    request.headers = {"Accept: " + accepted};
    request.is_given_up = is_given_up;
    std::unique_ptr<Exchange> exchange = ask(std::move(request));
    constexpr long kOk = 200;
    if (exchange->status() != kOk) {
        refuse(*exchange);
    }
    return exchange;
}

void Registry::refuse_unless_success(Exchange& exchange) const {
    constexpr long kClass = 100;
    if (exchange.status() / kClass != 2) {
        refuse(exchange);
    }
}

void Registry::refuse(Exchange& exchange) const {
    const long status = exchange.status();
    std::string message = message_of(exchange.read_all(kMostAnswerBytes));
    message = message.empty() ? "status " + std::to_string(status) : message;
    constexpr long kForbidden = 403;
    constexpr long kNotFound = 404;
    if (status == kNotFound && purpose_ == Purpose::pull) {
        throw Error{ExitStatus::registry_failure, tried(), "it has no such image (" + message + ")",
                    "are name and tag right?"};
    }
    if (status == kUnauthorized || status == kForbidden) {
        throw AccessDenied{ExitStatus::registry_failure, tried(), "access is denied (" + message + ")",
                           kLogInAdvice};
    }
    throw Error{ExitStatus::registry_failure, tried(), "it answers with an error (" + message + ")",
                "try again later"};
}

std::string Registry::authorize(const std::vector<std::string>& headers) {
    const Endpoint& endpoint = endpoints_[endpoint_];
    const std::string credentials = options_.login.empty() || endpoint.is_mirror
                                        ? find_credentials(options_.credentials, endpoint.host)
                                        : options_.login;
    for (const std::string& header : headers) {
        for (const Challenge& challenge : parse_challenges(header)) {
            if (challenge.scheme == "bearer" && challenge.parameters.contains("realm")) {
                return "Authorization: Bearer " + fetch_token(challenge, credentials);
            }
            if (challenge.scheme == "basic" && !credentials.empty()) {
                return "Authorization: Basic " + credentials;
            }
        }
    }
    throw AccessDenied{ExitStatus::registry_failure, tried(),
                       credentials.empty()
                           ? "it wants to know who you are, and there are no credentials for it"
                           : "it wants a kind of authorization that Hull does not know",
                       kLogInAdvice};
}

std::string Registry::fetch_token(const Challenge& challenge, const std::string& credentials) {
    const auto parameter = [&](const char* name) {
        const auto place = challenge.parameters.find(name);
        return place == challenge.parameters.end() ? std::string{} : place->second;
    };
    const Endpoint& endpoint = endpoints_[endpoint_];
    const std::string realm = parameter("realm");
    const bool is_plain = realm.starts_with("http://") && endpoint.url.starts_with("http://");
    if (!is_plain && !realm.starts_with("https://")) {
        throw Error{ExitStatus::registry_failure, tried(), "it wants a token from where there is no TLS",
                    "ask whoever runs it"};
    }
    // For a push all that it needs from the first token on, whatever the first request alone would need; for
    // a login nothing.
    std::string scope = purpose_ == Purpose::pull ? parameter("scope") : "";
    if (scope.empty()) {
        scope = "repository:" + reference_.path + (purpose_ == Purpose::pull ? ":pull" : ":pull,push");
    }
    std::string url = realm + (realm.find('?') == std::string::npos ? "?" : "&");
    url += purpose_ == Purpose::login ? "client_id=hull" : "scope=" + escaped(scope);
    if (const std::string service = parameter("service"); !service.empty()) {
        url += "&service=" + escaped(service);
    }
    Exchange::Request request = make_request(url);
    request.tried = "cannot get a token for " + endpoint.host;
    if (!credentials.empty()) {
        request.headers.push_back("Authorization: Basic " + credentials);
    }
    Exchange exchange{connections_, request};
    refuse_unless_success(exchange);
    const boost::json::object whole = parse_json_object(exchange.read_all(kMostAnswerBytes), request.tried);
    const JsonObject answer{whole, request.tried};
    std::string token = answer.text("token").empty() ? answer.text("access_token") : answer.text("token");
    if (token.empty() || std::ranges::any_of(token, [](char c) { return c <= ' ' || c > '~'; })) {
        answer.refuse("the answer has no token");
    }
    return token;
}

}  // namespace hull::container
