// JSON of others: what registries send, and what lies in the store.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hull::container {

/// A look at an object that somebody else keeps. Every function throws Error (bad_file) where the value is of
/// another kind; what is missing or null is empty. Texts have no NUL. One thread.
class JsonObject {
  public:
    /// `tried` is what an Error begins with ("cannot use the manifest"), `advice` what it ends with, which
    /// may be nothing; both outlive this.
    JsonObject(const boost::json::object& object, const std::string& tried,
               const char* advice = "get or make it again")
        : object_{&object}, tried_{&tried}, advice_{advice} {}

    [[nodiscard]] std::string text(std::string_view key) const;
    [[nodiscard]] std::vector<std::string> texts(std::string_view key) const;
    [[nodiscard]] bool flag(std::string_view key) const;
    /// 0 to 2^63-1. Throws Error where it is missing, too.
    [[nodiscard]] uint64_t number(std::string_view key) const;
    /// Any whole number of 64 bits.
    [[nodiscard]] std::optional<int64_t> integer(std::string_view key) const;
    /// An object whose members are texts.
    [[nodiscard]] std::map<std::string, std::string> text_map(std::string_view key) const;
    [[nodiscard]] JsonObject object(std::string_view key) const;
    [[nodiscard]] std::vector<JsonObject> objects(std::string_view key) const;
    [[nodiscard]] std::vector<std::string> keys() const;
    [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }

    /// Throws Error: what was tried, and why it cannot be.
    [[noreturn]] void refuse(std::string_view why) const;

  private:
    /// None where it is missing or null.
    [[nodiscard]] const boost::json::value* find(std::string_view key) const;
    [[nodiscard]] const boost::json::array& array(std::string_view key) const;
    [[nodiscard]] std::string text_of(const boost::json::value& value, std::string_view key) const;

    const boost::json::object* object_;
    const std::string* tried_;
    const char* advice_;
};

/// The other way.
template <class Range>
boost::json::array array_of(const Range& range) {
    boost::json::array all;
    for (const auto& each : range) {
        all.emplace_back(each);
    }
    return all;
}
boost::json::object members_of(const std::map<std::string, std::string>& texts);

/// The object that `text` is; of keys that come twice, the last one. Throws Error (bad_file) where it is
/// none, is deeper than 32, is not UTF-8, or something stands behind it.
boost::json::object parse_json_object(std::string_view text, const std::string& tried);
/// The same of a list.
boost::json::array parse_json_array(std::string_view text, const std::string& tried);

}  // namespace hull::container
