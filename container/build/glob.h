// Names that are meant by patterns.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hull::container {

/// Whether a name is what a pattern of Go's filepath.Match says: *, ?, [a-z], [^a-z], and what is behind a
/// backslash as it is; nothing but itself means a slash. A malformed pattern means nothing. Any thread.
bool matches_pattern(std::string_view pattern, std::string_view name);

/// Whether a text has one of these signs.
bool has_pattern(std::string_view text);

/// Whether the lines of a .dockerignore leave a path out (Docker's docs, "Dockerignore file"): later lines
/// win, `!` takes back, `**` is any number of folders, and what is in a folder goes with it.
bool is_ignored(const std::string& path, const std::vector<std::string>& lines);

/// The lines of such a file that say something, cleaned.
std::vector<std::string> ignore_lines(std::string_view text);

}  // namespace hull::container
