#include "container/image/digest.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "container/image/json.h"

namespace hull::container {

namespace {

constexpr std::string_view kAlgorithm = "sha256:";
constexpr std::string_view kDigits = "0123456789abcdef";
constexpr size_t kBytes = 32;

void check(int result) {
    if (result != 1) {
        throw Error{ExitStatus::internal_failure, "cannot compute a digest", "libcrypto has no SHA-256",
                    "is its configuration (openssl.cnf) restricted?"};
    }
}

}  // namespace

std::optional<Digest> Digest::parse(std::string_view text) {
    if (!text.starts_with(kAlgorithm)) {
        return std::nullopt;
    }
    text.remove_prefix(kAlgorithm.size());
    if (text.size() != 2 * kBytes || text.find_first_not_of(kDigits) != std::string_view::npos) {
        return std::nullopt;
    }
    return Digest{std::string{text}};
}

Digest Digest::of(std::span<const std::byte> bytes) {
    Sha256 sum;
    sum.add(bytes);
    return sum.finish();
}

Digest digest_in(const JsonObject& object, std::string_view key) {
    std::optional<Digest> digest = Digest::parse(object.text(key));
    if (!digest) {
        object.refuse("'" + std::string{key} + "' is no digest (sha256: and 64 digits)");
    }
    return *std::move(digest);
}

Sha256::Sha256() : context_{EVP_MD_CTX_new()} {
    check(EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_.get()), EVP_sha256(), nullptr));
}

void Sha256::add(std::span<const std::byte> bytes) {
    check(EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_.get()), bytes.data(), bytes.size()));
}

Digest Sha256::finish() {
    std::array<unsigned char, kBytes> sum{};
    check(EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_.get()), sum.data(), nullptr));
    return Digest{hexadecimal({reinterpret_cast<const char*>(sum.data()), sum.size()})};
}

void Sha256::Delete::operator()(void* context) const {
    EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context));
}

}  // namespace hull::container
