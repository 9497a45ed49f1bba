// What registries and people say of images. Input: a byte that says of what kind it is, and the text.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>

#include "base/error.h"
#include "container/image/authorization.h"
#include "container/image/image_config.h"
#include "container/image/manifest.h"
#include "container/image/reference.h"

using namespace hull;
using namespace hull::container;

namespace {

void require(bool holds) {
    if (!holds) {
        std::abort();
    }
}

void read_reference(std::string_view text) {
    const Reference reference = Reference::parse(text);
    require(Reference::parse(reference.text()).text() == reference.text());
    require(Reference::parse(reference.familiar_text()).text() == reference.text());
    // It becomes a part of paths and URLs.
    require(reference.repository().find("..") == std::string::npos);
    require(reference.text().find_first_of(std::string_view{" \n\r?#%\\\0", 8}) == std::string::npos);
}

void read_manifest(std::string_view text) {
    const auto parsed = parse_manifest(text, "", {.os = "linux", .architecture = "amd64"});
    if (const auto* const manifest = std::get_if<Manifest>(&parsed)) {
        require(manifest->layers.size() <= Manifest::kMostLayers);
        require(manifest->config.size <= Manifest::kMostConfigBytes);
        for (const Descriptor& layer : manifest->layers) {
            require(layer.size <= Manifest::kMostLayerBytes);
        }
    } else {
        require(std::get<Descriptor>(parsed).size <= Manifest::kMostBytes);
    }
}

void read_config(std::string_view text) {
    const ImageConfig config = ImageConfig::parse(text);
    require(config.layers.size() <= Manifest::kMostLayers);
    for (const std::string& variable : config.environment) {
        require(variable.find('\0') == std::string::npos);
    }
}

void read_challenges(std::string_view text) {
    for (const Challenge& challenge : parse_challenges(text)) {
        require(!challenge.scheme.empty());
    }
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): the name that libFuzzer calls
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) {
        return 0;
    }
    constexpr std::array kReaders{read_reference, read_manifest, read_config, read_challenges};
    const std::string text{reinterpret_cast<const char*>(data + 1), size - 1};
    try {
        kReaders.at(data[0] % kReaders.size())(text);
    } catch (const Error& error) {
        require(error.status() == ExitStatus::bad_file || error.status() == ExitStatus::usage);
        require(std::string_view{error.what()}.find('\n') == std::string_view::npos);
    }
    return 0;
}
