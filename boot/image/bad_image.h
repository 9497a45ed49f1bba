// How the parsers of this folder say that bytes are not what they should be.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "base/error.h"

namespace hull::boot {

/// Thrown by whatever reads an image and knows no file name. load_kernel() turns it into an Error that has
/// one.
class BadImage : public std::runtime_error {
  public:
    /// `why` is a clause ("its payload is cut off"); `advice` is what the user can do and may be empty.
    /// `status` is bad_file, or no_resources where the guest's memory is too small for an image that is good.
    explicit BadImage(const std::string& why, std::string advice = {},
                      ExitStatus status = ExitStatus::bad_file)
        : std::runtime_error{why}, advice_{std::move(advice)}, status_{status} {}

    [[nodiscard]] const std::string& advice() const { return advice_; }
    [[nodiscard]] ExitStatus status() const { return status_; }

  private:
    std::string advice_;
    ExitStatus status_;
};

}  // namespace hull::boot
