#include "vmm/main/system_folders.h"

#include <algorithm>
#include <string>
#include <system_error>

namespace hull {

namespace fs = std::filesystem;

namespace {

/// /bin, /sbin and /lib… may be links into /usr; links stay links.
constexpr const char* kFolders[] = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"};

/// Of /etc. What is not named here is not shown: shadow, ssh, ssl/private, NetworkManager, sudoers, …
constexpr const char* kSettings[] = {
    "adduser.conf", "alternatives", "bash.bashrc", "bindresvport.blacklist", "ca-certificates.conf",
    "debian_version", "ethertypes", "fonts", "gai.conf", "group", "host.conf", "inputrc", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "libaudit.conf", "locale.alias", "locale.conf", "localtime", "login.defs",
    "lsb-release", "magic", "magic.mime", "mailcap", "mime.types", "networks", "nsswitch.conf", "os-release",
    "passwd", "profile", "profile.d", "protocols", "rpc", "services", "shells", "ssl/certs",
    "ssl/openssl.cnf", "terminfo", "timezone", "xattr.conf",
    // Certificates of authorities, elsewhere than on Debian.
    "pki/ca-trust", "pki/tls/certs", "pki/tls/cert.pem"};

/// Interpreters have folders with their version in the name.
constexpr const char* kSettingsThatBegin[] = {"python", "perl", "java-"};

}  // namespace

std::vector<ViewConfig::Part> system_parts() {
    std::vector<ViewConfig::Part> parts;
    std::error_code error;
    const auto add = [&](const std::string& place) {
        if (fs::exists(fs::symlink_status("/" + place, error))) {
            parts.push_back({.source = "/" + place, .place = place});
        }
    };
    for (const char* folder : kFolders) {
        add(folder);
    }
    for (const char* name : kSettings) {
        add(std::string{"etc/"} + name);
    }
    for (const auto& entry : fs::directory_iterator{"/etc", error}) {
        const std::string name = entry.path().filename();
        if (entry.is_directory(error) && std::ranges::any_of(kSettingsThatBegin, [&](const char* begin) {
                return name.starts_with(begin);
            })) {
            add("etc/" + name);
        }
    }
    return parts;
}

bool is_in_system_folder(const fs::path& path) {
    // Canonical, so that a link into /usr counts as that.
    const auto second = std::next(path.begin());
    return std::ranges::any_of(kFolders,
                               [&](const char* folder) { return second != path.end() && *second == folder; });
}

}  // namespace hull
