// Images that tests put together, with as much of them wrong as a test wants.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "container/image/digest.h"
#include "tests/support/kernel_builder.h"
#include "tests/support/tar_builder.h"

namespace hull::test {

inline container::Digest digest_of(std::string_view text) {
    return container::Digest::of(std::as_bytes(std::span{text}));
}

inline std::string gzip(const std::string& text) {
    const Bytes packed = pack_gzip(std::as_bytes(std::span{text}));
    return {reinterpret_cast<const char*>(packed.data()), packed.size()};
}

/// An archive of one file.
inline std::string layer_of(const std::string& name, const std::string& content) {
    return TarPart{.name = name, .content = content}.bytes() + std::string(1024, '\0');
}

/// An image as it lies in a registry.
struct BuiltImage {
    static constexpr const char* kManifestType = "application/vnd.oci.image.manifest.v1+json";
    static constexpr const char* kIndexType = "application/vnd.oci.image.index.v1+json";

    std::string config;
    std::string manifest;
    std::map<std::string, std::string> blobs;  ///< by digest, the configuration too
    std::vector<std::string> packed;           ///< digests of the layers, the lowest first
    std::vector<std::string> unpacked;         ///< and of what is in them

    explicit BuiltImage(const std::vector<std::string>& archives, const std::string& architecture = "amd64",
                        const std::string& more_config = R"("config":{"Cmd":["sh"]})") {
        std::string layers;
        std::string ids;
        for (const std::string& archive : archives) {
            const std::string blob = gzip(archive);
            const std::string digest = digest_of(blob).text();
            blobs[digest] = blob;
            packed.push_back(digest);
            unpacked.push_back(digest_of(archive).text());
            layers +=
                (layers.empty() ? "" : ",") + descriptor("application/vnd.oci.image.layer.v1.tar+gzip", blob);
            ids += (ids.empty() ? "\"" : ",\"") + unpacked.back() + "\"";
        }
        config = R"({"architecture":")" + architecture +
                 R"(","os":"linux","created":"2024-01-02T03:04:05Z",)" + more_config +
                 R"(,"rootfs":{"type":"layers","diff_ids":[)" + ids + "]}}";
        blobs[digest_of(config).text()] = config;
        manifest = std::string{R"({"schemaVersion":2,"mediaType":")"} + kManifestType + R"(","config":)" +
                   descriptor("application/vnd.oci.image.config.v1+json", config) + R"(,"layers":[)" +
                   layers + "]}";
    }

    static std::string descriptor(const std::string& type, const std::string& content) {
        return R"({"mediaType":")" + type + R"(","digest":")" + digest_of(content).text() + R"(","size":)" +
               std::to_string(content.size()) + "}";
    }
    [[nodiscard]] std::string id() const { return digest_of(config).text(); }
    /// An index with this image for a platform, and more entries before it.
    [[nodiscard]] std::string index(const std::string& architecture, const std::string& before = "") const {
        std::string entry = descriptor(kManifestType, manifest);
        entry.pop_back();
        return std::string{R"({"schemaVersion":2,"mediaType":")"} + kIndexType + R"(","manifests":[)" +
               before + entry + R"(,"platform":{"os":"linux","architecture":")" + architecture + "\"}}]}";
    }
};

}  // namespace hull::test
