// How people name images.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "container/image/digest.h"

namespace hull::container {

/// Whose images have short names.
inline constexpr std::string_view kHub = "docker.io";

/// The name of an image in a registry, by Docker's grammar (distribution/reference 2.8: reference.go and
/// normalize.go).
struct Reference {
    std::string domain;  ///< "docker.io", "localhost:5000"
    std::string path;    ///< "library/nginx"
    std::string tag;     ///< "latest"; empty where there is a digest, which says more
    std::optional<Digest> digest{};

    /// Docker's short forms, completed: of "nginx" domain, "library/" and tag. Throws Error (usage) with
    /// Docker's words where it is no reference.
    static Reference parse(std::string_view text);

    /// "docker.io/library/nginx"
    [[nodiscard]] std::string repository() const { return domain + "/" + path; }
    /// The same as people know it: "nginx".
    [[nodiscard]] std::string familiar_repository() const;
    /// "docker.io/library/nginx:latest", or "docker.io/library/nginx@sha256:…".
    [[nodiscard]] std::string text() const { return repository() + suffix(); }
    [[nodiscard]] std::string familiar_text() const { return familiar_repository() + suffix(); }

  private:
    [[nodiscard]] std::string suffix() const;
};

}  // namespace hull::container
