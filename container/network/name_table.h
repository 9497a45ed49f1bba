// Who has which name in a container's networks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hull::container {

/// What a file says, whose lines are "ADDRESS CANONICAL NAME [NAME…]" (IPv4; '#' begins a comment); read
/// again where another has taken its place. CANONICAL is the first NAME, a dot and a network's name; each
/// NAME is known with that network's name behind it, too. Names are compared without regard to case. What is
/// no such line is left out; where there is no file, nobody has a name. One thread.
class NameTable {
  public:
    static constexpr size_t kMostBytes = size_t{1} << 20;  ///< of the file; what is behind them is left out

    explicit NameTable(std::filesystem::path file) : file_{std::move(file)} {}

    /// Each of a name's addresses; at each call another one is the first. Empty: nobody has it. `name` is in
    /// small letters.
    std::vector<uint32_t> addresses_of(const std::string& name);
    /// CANONICAL of an address; empty: it is nobody's.
    std::string name_of(uint32_t address);

  private:
    void refresh();
    void parse(std::string_view text);

    const std::filesystem::path file_;
    ino_t inode_ = 0;  // of what was read, and the next two
    off_t size_ = -1;
    timespec changed_{};
    std::map<std::string, std::vector<uint32_t>, std::less<>> addresses_;
    std::map<uint32_t, std::string> names_;
    size_t turn_ = 0;
};

}  // namespace hull::container
