// What the errors of setting up must look like.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace hull::test {

/// The Error that `call` throws; nothing where it throws none.
template <typename Call>
std::optional<Error> error_of(Call call) {
    try {
        call();
    } catch (const Error& error) {
        return error;
    }
    return std::nullopt;
}

/// `call` throws an Error with this status, on one line, with all of these words in it.
template <typename Call>
void expect_error(Call call, ExitStatus status, std::initializer_list<std::string_view> words) {
    const std::optional<Error> error = error_of(call);
    if (!error) {
        ADD_FAILURE() << "no error was thrown";
        return;
    }
    const std::string text = error->what();
    EXPECT_EQ(static_cast<int>(error->status()), static_cast<int>(status)) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << "more than one line: " << text;
    for (const std::string_view word : words) {
        EXPECT_NE(text.find(word), std::string::npos) << "'" << word << "' is missing in: " << text;
    }
}

}  // namespace hull::test
