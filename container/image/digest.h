// What content is called by.
#pragma once

#include <compare>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace hull::container {

/// The SHA-256 of some bytes (OCI image-spec 1.1, descriptor.md, "Digests").
class Digest {
  public:
    /// "sha256:" and 64 digits, of a to f in small letters; nothing where it is another text.
    static std::optional<Digest> parse(std::string_view text);
    static Digest of(std::span<const std::byte> bytes);

    [[nodiscard]] std::string text() const { return "sha256:" + digits_; }
    [[nodiscard]] const std::string& digits() const { return digits_; }
    /// The first twelve, as docker shows it to people.
    [[nodiscard]] std::string short_digits() const { return digits_.substr(0, 12); }
    bool operator==(const Digest&) const = default;
    auto operator<=>(const Digest& other) const { return digits_ <=> other.digits_; }

  private:
    friend class Sha256;
    explicit Digest(std::string digits) : digits_{std::move(digits)} {}
    std::string digits_;
};

class JsonObject;
/// The digest that a member of an object is. Throws Error (bad_file) where it is none, or missing.
Digest digest_in(const JsonObject& object, std::string_view key);

/// Computes one as bytes come (FIPS 180-4). One thread.
class Sha256 {
  public:
    Sha256();
    void add(std::span<const std::byte> bytes);
    /// Of all that was added; nothing can be added behind it.
    [[nodiscard]] Digest finish();

  private:
    struct Delete {
        void operator()(void* context) const;
    };
    std::unique_ptr<void, Delete> context_;
};

}  // namespace hull::container
