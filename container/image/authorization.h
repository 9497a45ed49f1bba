// What registries ask for before they serve somebody, and what users have for them.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hull::container {

/// One of a WWW-Authenticate header's (RFC 9110, 11.6.1).
struct Challenge {
    std::string scheme;                             ///< in small letters: "bearer", "basic"
    std::map<std::string, std::string> parameters;  ///< by names in small letters; of two, the first
};

/// The challenges of a header's value; those of a form that it cannot have are left out. Any thread.
std::vector<Challenge> parse_challenges(std::string_view value);

/// Where docker keeps them: $DOCKER_CONFIG/config.json or ~/.docker/config.json; empty without a home.
std::filesystem::path default_credentials_file();

/// What `auths` of docker's config.json has for a registry ("registry-1.docker.io", "localhost:5000"), as
/// basic authentication takes it: name and password in base64. Empty where there is no such file or nothing
/// in it. Credentials that another program keeps (credsStore) are not looked for. Throws Error (bad_file)
/// where the file is not what it should be. Any thread.
std::string find_credentials(const std::filesystem::path& file, const std::string& registry);

}  // namespace hull::container
