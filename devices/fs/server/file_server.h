// Shows a folder of the host's to a guest: answers what its driver asks (FUSE), and never writes.
#pragma once

#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/unique_fd.h"

namespace hull::virtio {

/// Answers requests about one folder and what is below it. The guest is held for hostile: a file is known to
/// it by a number that it was given, and is found from the folder's own descriptor each time, by a path of
/// names that were looked up one by one, without links and never upwards (openat2(2)). No file stays open, so
/// what a guest can use up is the memory for the names that are there. One thread.
class FileServer {
  public:
    /// An answer has `most_answer` bytes at most, of which a page and a half at least are needed.
    FileServer(UniqueFd folder, size_t most_answer);

    /// The answer to a request, valid until the next call; empty where none is due (is_answered()). A request
    /// that is malformed, asks for what is not there or wants to change something is answered with its error.
    std::span<const std::byte> answer(std::span<const std::byte> request);

    /// How many files the guest has been told of and has not forgotten.
    [[nodiscard]] size_t known() const { return nodes_.size() - 1; }

  private:
    struct Node {
        std::string path;      // below the folder; "." is the folder itself
        uint64_t lookups = 0;  // that the guest is to forget
    };
    struct Done {
        int error = 0;    // an errno; 0: it was done
        size_t size = 0;  // bytes behind the header
    };

    Done perform(const fuse_in_header& header, std::span<const std::byte> body);
    Done greet(std::span<const std::byte> body);
    Done look_up(const Node& folder, std::span<const std::byte> body);
    Done tell_attributes(const Node& node);
    Done read_link(const Node& node);
    Done read_file(const Node& node, std::span<const std::byte> body);
    Done read_folder(const Node& node, std::span<const std::byte> body);
    Done tell_space(const Node& node);
    void forget(uint64_t number, uint64_t lookups);
    void forget_all(std::span<const std::byte> body);
    [[nodiscard]] UniqueFd open_node(const std::string& path, int flags) const;
    template <typename T>
    Done put(const T& value);
    [[nodiscard]] std::span<std::byte> room() { return std::span{answer_}.subspan(sizeof(fuse_out_header)); }

    UniqueFd folder_;
    std::vector<std::byte> answer_;
    std::vector<std::byte> entries_;  // of a folder, as the host tells them
    std::unordered_map<uint64_t, Node> nodes_;
    std::unordered_map<std::string_view, uint64_t> numbers_;  // by path; the text is the node's
    uint64_t next_number_ = FUSE_ROOT_ID + 1;                 // never used again
};

}  // namespace hull::virtio
