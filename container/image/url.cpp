#include "container/image/url.h"

#include <curl/curl.h>
#include <strings.h>

#include <memory>

namespace hull::container {

namespace {

/// An address in libcurl's hands, which then reads it as it does when it connects.
class Url {
  public:
    explicit Url(const std::string& text) { set(text); }

    /// What it is, or, where that is relative, what it means to the one before.
    void set(const std::string& text) {
        is_good_ = is_good_ && curl_url_set(url_.get(), CURLUPART_URL, text.c_str(), 0) == CURLUE_OK;
    }
    void add_to_query(const std::string& parameter) {
        is_good_ = is_good_ && curl_url_set(url_.get(), CURLUPART_QUERY, parameter.c_str(),
                                            CURLU_APPENDQUERY) == CURLUE_OK;
    }
    /// Empty where there is none, or all of it is none.
    [[nodiscard]] std::string part(CURLUPart which) const {
        char* text = nullptr;
        if (!is_good_ || curl_url_get(url_.get(), which, &text, CURLU_DEFAULT_PORT) != CURLUE_OK) {
            return "";
        }
        std::string result{text};
        curl_free(text);
        return result;
    }
    [[nodiscard]] std::string text() const {
        char* text = nullptr;
        if (!is_good_ || curl_url_get(url_.get(), CURLUPART_URL, &text, 0) != CURLUE_OK) {
            return "";
        }
        std::string result{text};
        curl_free(text);
        return result;
    }

  private:
    struct Free {
        void operator()(CURLU* url) const { curl_url_cleanup(url); }
    };
    std::unique_ptr<CURLU, Free> url_{curl_url()};
    bool is_good_ = true;
};

}  // namespace

std::optional<std::string> resolve_url(const std::string& base, const std::string& location) {
    Url url{base};
    const std::string before = url.part(CURLUPART_SCHEME);
    url.set(location);
    const std::string scheme = url.part(CURLUPART_SCHEME);
    const bool is_safe = scheme == "https" || (scheme == "http" && before == "http");
    if (location.empty() || !is_safe || !url.part(CURLUPART_USER).empty() ||
        !url.part(CURLUPART_PASSWORD).empty()) {
        return std::nullopt;
    }
    return url.text();
}

bool has_same_origin(const std::string& one, const std::string& other) {
    const Url first{one};
    const Url second{other};
    for (const CURLUPart part : {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT}) {
        const std::string its = first.part(part);
        if (its.empty() || strcasecmp(its.c_str(), second.part(part).c_str()) != 0) {
            return false;
        }
    }
    return true;
}

std::string with_parameter(const std::string& url, const std::string& parameter) {
    Url result{url};
    result.add_to_query(parameter);
    return result.text();
}

}  // namespace hull::container
