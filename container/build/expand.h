// Variables in a Dockerfile's words.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hull::container {

/// The value of a variable; none where it is not set.
using Lookup = std::function<std::optional<std::string>(const std::string& name)>;

/// A word without its quotes and escapes, and with the values of $NAME, ${NAME}, ${NAME:-WORD}, ${NAME:+WORD}
/// and
/// ${NAME:?WORD} (Docker's Dockerfile reference, "Environment replacement"; 20.10's words in the errors).
/// `escape` is the file's. Throws ApiError (400). Any thread.
std::string expand_word(std::string_view word, char escape, const Lookup& look_up);

/// A here-document's text, in which quotes are nothing special, and the escape character is only before a "$"
/// and itself. Throws ApiError (400).
std::string expand_text(std::string_view text, char escape, const Lookup& look_up);

/// The same as expand_word(), taken apart at spaces that come from no quotes: what EXPOSE's words become.
/// Throws ApiError (400).
std::vector<std::string> expand_words(std::string_view word, char escape, const Lookup& look_up);

}  // namespace hull::container
