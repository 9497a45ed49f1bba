#include "container/image/authorization.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/small_file.h"
#include "base/unique_fd.h"
#include "container/image/json.h"

namespace hull::container {

namespace {

bool is_token(char c) {
    constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || kOthers.find(c) != std::string_view::npos;
}

/// Takes a header's value apart from its beginning.
class Scanner {
  public:
    explicit Scanner(std::string_view text) : left_{text} {}

    [[nodiscard]] bool is_at_end() const { return left_.empty(); }
    bool take(char c) {
        const bool is_there = left_.starts_with(c);
        left_.remove_prefix(is_there ? 1 : 0);
        return is_there;
    }
    void skip(std::string_view any_of) {
        left_.remove_prefix(std::min(left_.find_first_not_of(any_of), left_.size()));
    }
    /// In small letters; empty where there is none.
    std::string token() {
        const auto* const end = std::ranges::find_if_not(left_, is_token);
        std::string result{left_.begin(), end};
        std::ranges::transform(result, result.begin(), [](unsigned char c) { return std::tolower(c); });
        left_.remove_prefix(result.size());
        return result;
    }
    /// A parameter's value; none where a quoted one has no end.
    std::optional<std::string> value() {
        if (!take('"')) {
            const size_t size = std::min(left_.find_first_of(" \t,"), left_.size());
            std::string result{left_.substr(0, size)};
            left_.remove_prefix(size);
            return result;
        }
        std::string result;
        while (!left_.empty() && !take('"')) {
            take('\\');
            if (left_.empty()) {
                return std::nullopt;
            }
            result += left_.front();
            left_.remove_prefix(1);
            if (left_.empty()) {
                return std::nullopt;
            }
        }
        return result;
    }

  private:
    std::string_view left_;
};

}  // namespace

std::vector<Challenge> parse_challenges(std::string_view value) {
    std::vector<Challenge> result;
    Scanner scanner{value};
    for (;;) {
        scanner.skip(" \t,");
        if (scanner.is_at_end()) {
            return result;
        }
        std::string word = scanner.token();
        scanner.skip(" \t");
        if (word.empty()) {
            return result;
        }
        if (!scanner.take('=')) {
            result.push_back({.scheme = std::move(word), .parameters = {}});
            continue;
        }
        scanner.skip(" \t");
        std::optional<std::string> parameter = scanner.value();
        if (!parameter || result.empty()) {
            return result;
        }
        result.back().parameters.emplace(std::move(word), *std::move(parameter));
    }
}

std::filesystem::path default_credentials_file() {
    if (const char* const folder = getenv("DOCKER_CONFIG"); folder != nullptr && *folder != '\0') {
        return std::filesystem::path{folder} / "config.json";
    }
    const char* const home = getenv("HOME");
    return home == nullptr ? std::filesystem::path{}
                           : std::filesystem::path{home} / ".docker" / "config.json";
}

std::string find_credentials(const std::filesystem::path& file, const std::string& registry) {
    std::error_code ignored;
    if (file.empty() || !std::filesystem::exists(file, ignored)) {
        return "";
    }
    const InputFile opened = open_input_file(file, "docker configuration");
    const std::string tried = "cannot use docker's configuration '" + file.string() + "'";
    const boost::json::object whole = parse_json_object(read_all(opened.fd.get()), tried);
    const JsonObject known = JsonObject{whole, tried}.object("auths");
    std::vector<std::string> names{registry, "https://" + registry, "http://" + registry,
                                   "https://" + registry + "/v1/", "https://" + registry + "/v2/"};
    if (registry == "registry-1.docker.io") {
        names = {"https://index.docker.io/v1/", "docker.io", "index.docker.io"};
    }
    for (const std::string& name : names) {
        std::string credentials = known.object(name).text("auth");
        if (credentials.find_first_not_of(
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") != std::string::npos) {
            known.refuse("what it has for '" + name + "' is not in base64");
        }
        if (!credentials.empty()) {
            return credentials;
        }
    }
    return "";
}

}  // namespace hull::container
