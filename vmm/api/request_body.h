// The JSON bodies of requests to a machine's API.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace hull {

/// A body that cannot be used; its text is the client's answer, in Firecracker's words where it has such.
class BadBody : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// The members of a JSON object that may have no others than those that are known. Every function throws
/// BadBody.
class RequestBody {
  public:
    RequestBody(const std::string& text, std::initializer_list<std::string_view> known);

    [[nodiscard]] bool has(std::string_view name) const;  ///< and it is not null
    [[nodiscard]] std::string text(std::string_view name) const;
    /// `otherwise` where it is missing.
    [[nodiscard]] std::string text(std::string_view name, const char* otherwise) const;
    [[nodiscard]] bool flag(std::string_view name, bool otherwise) const;
    [[nodiscard]] uint64_t number(std::string_view name, uint64_t least, uint64_t most) const;
    /// A member that is an object itself.
    [[nodiscard]] RequestBody object(std::string_view name,
                                     std::initializer_list<std::string_view> known) const;

    /// Throws: `name` has a value that is none of those that it may have.
    [[noreturn]] static void refuse_variant(const std::string& value, const char* expected);

  private:
    RequestBody(boost::json::object members, std::initializer_list<std::string_view> known);
    [[nodiscard]] const boost::json::value& member(std::string_view name) const;
    [[noreturn]] static void refuse(const std::string& why);

    boost::json::object members_;
};

}  // namespace hull
