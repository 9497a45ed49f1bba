// What archives of images say of themselves, and what is asked to be changed of an image. Input: a byte that
// says of what kind it is, and the text.
#include <strings.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "container/image/archive_index.h"
#include "container/image/config_change.h"
#include "container/image/url.h"

using namespace hull;
using namespace hull::container;

namespace {

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

void require_names(const std::vector<Reference>& names) {
    for (const Reference& name : names) {
        require(!name.tag.empty() && !name.digest);
    }
}

void read_manifest(const std::string& text) {
    const std::vector<ArchivedImage> images = parse_archive_manifest(text);
    require(!images.empty() && images.size() <= kMostArchivedImages);
    for (const ArchivedImage& image : images) {
        require(image.layers.size() <= Manifest::kMostLayers);
        require_names(image.names);
    }
}

void read_index(const std::string& text) {
    const std::vector<IndexedImage> images =
        parse_archive_index(text, {.os = "linux", .architecture = "amd64"});
    require(!images.empty() && images.size() <= kMostArchivedImages);
    for (const IndexedImage& image : images) {
        require(image.manifest.size <= Manifest::kMostBytes);
        require_names(image.names);
    }
}

void read_path(const std::string& text) {
    if (const auto path = path_in_archive(text)) {
        require(!path->starts_with('/') && path->find("//") == std::string::npos);
        require(("/" + *path + "/").find("/../") == std::string::npos);
        require(path_in_archive(*path) == path);
    }
}

/// What comes of it is an image's configuration, which says the same when it is read again.
void read_change(const std::string& text) {
    ImageConfig config;
    config.os = "linux";
    change_config(config, text);
    std::string made;
    try {
        made = config_text(config);
        require(config_text(ImageConfig::parse(made)) == made);
    } catch (const Error&) {  // not UTF-8, or a NUL, which no request brings
    }
}

void read_location(const std::string& text) {
    const std::string base = "https://registry:5000/v2/a/blobs/uploads/";
    if (const auto place = resolve_url(base, text)) {
        constexpr std::string_view kScheme = "https://";
        require(place->starts_with(kScheme));
        std::string host = place->substr(kScheme.size());
        host.resize(std::min(host.find_first_of("/?#"), host.size()));
        require(host.find('@') == std::string::npos);
        // Who is told who asks is called as the registry is.
        require(!has_same_origin(*place, base) || strncasecmp(host.c_str(), "registry:", 9) == 0);
        require(!with_parameter(*place, "digest=x").empty());
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) {
        return 0;
    }
    constexpr std::array kReaders{read_manifest, read_index, read_path, read_change, read_location};
    const std::string text{reinterpret_cast<const char*>(data + 1), size - 1};
    try {
        kReaders.at(data[0] % kReaders.size())(text);
    } catch (const Error& error) {
        require(error.status() == ExitStatus::bad_file || error.status() == ExitStatus::usage);
        require(std::string_view{error.what()}.find('\n') == std::string_view::npos);
    }
    return 0;
}
