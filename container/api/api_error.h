// An answer that is no success.
#pragma once

#include <stdexcept>
#include <string>

namespace hull::container {

/// Thrown by whoever serves a request of the Engine API, and sent as {"message": …}.
class ApiError : public std::runtime_error {
  public:
    /// `status` is HTTP's: 304, which has no message, or 400 to 599.
    ApiError(unsigned status, const std::string& message) : std::runtime_error{message}, status_{status} {}
    [[nodiscard]] unsigned status() const { return status_; }

  private:
    unsigned status_;
};

}  // namespace hull::container
