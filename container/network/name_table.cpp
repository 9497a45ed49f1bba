#include "container/network/name_table.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/unique_fd.h"

namespace hull::container {

namespace {

std::string_view next_word(std::string_view& line) {
    constexpr std::string_view kSpaces = " \t\r";
    line.remove_prefix(std::min(line.find_first_not_of(kSpaces), line.size()));
    const std::string_view word = line.substr(0, line.find_first_of(kSpaces));
    line.remove_prefix(word.size());
    return word;
}

std::optional<uint32_t> address_in(std::string_view word) {
    in_addr address{};
    if (inet_pton(AF_INET, std::string{word}.c_str(), &address) != 1) {
        return std::nullopt;
    }
    return ntohl(address.s_addr);
}

std::string in_small_letters(std::string_view name) {
    std::string small{name};
    std::ranges::transform(small, small.begin(), [](char each) {
        return each >= 'A' && each <= 'Z' ? static_cast<char>(each + ('a' - 'A')) : each;
    });
    return small;
}

}  // namespace

void NameTable::refresh() {
    const UniqueFd file{open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    struct stat status {};
    if (!file.valid() || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
        addresses_.clear();
        names_.clear();
        size_ = -1;
        return;
    }
    if (status.st_ino == inode_ && status.st_size == size_ && status.st_mtim.tv_sec == changed_.tv_sec &&
        status.st_mtim.tv_nsec == changed_.tv_nsec) {
        return;
    }
    std::string text(std::min(kMostBytes, static_cast<size_t>(status.st_size)), '\0');
    const ssize_t got = pread(file.get(), text.data(), text.size(), 0);
    text.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
    inode_ = status.st_ino;
    size_ = status.st_size;
    changed_ = status.st_mtim;
    parse(text);
}

void NameTable::parse(std::string_view text) {
    addresses_.clear();
    names_.clear();
    while (!text.empty()) {
        std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        line = line.substr(0, line.find('#'));
        const std::optional<uint32_t> address = address_in(next_word(line));
        const std::string_view canonical = next_word(line);
        if (!address || canonical.empty()) {
            continue;
        }
        names_.try_emplace(*address, canonical);
        const auto add = [&](const std::string& name) {
            std::vector<uint32_t>& all = addresses_[name];
            if (std::ranges::find(all, *address) == all.end()) {
                all.push_back(*address);
            }
        };
        const std::string whole = in_small_letters(canonical);
        add(whole);
        std::string network;  // with the dot
        for (std::string name; !(name = in_small_letters(next_word(line))).empty();) {
            if (network.empty() && whole.starts_with(name + ".")) {
                network = whole.substr(name.size());
            }
            add(name);
            if (!network.empty()) {
                add(name + network);
            }
        }
    }
}

std::vector<uint32_t> NameTable::addresses_of(const std::string& name) {
    refresh();
    const auto found = addresses_.find(name);
    if (found == addresses_.end()) {
        return {};
    }
    std::vector<uint32_t> all = found->second;
    std::rotate(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(turn_++ % all.size()), all.end());
    return all;
}

std::string NameTable::name_of(uint32_t address) {
    refresh();
    const auto found = names_.find(address);
    return found == names_.end() ? "" : found->second;
}

}  // namespace hull::container
