// What the daemon wants of a container's files.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <string>

namespace hull::container {

/// A plain value. The texts have no NUL.
struct ContentsQuestion {
    enum class What {
        status,   ///< of the file at `path`
        files,    ///< that file, or the folder with all below
        unpack,   ///< the folder at `path` takes what is sent
        upper,    ///< all that was written over the image's layers
        changes,  ///< what of that differs from them
    };

    What what = What::status;
    std::string path = "/";
    uint64_t flags = 0;  ///< agent::ContentsFlag
    std::string user;    ///< whose all is (agent::kUsersFiles); empty: nobody's

    /// As a part of a message (channel.h).
    [[nodiscard]] boost::json::object to_json() const;
    /// Throws Error (bad_file) where it is none.
    static ContentsQuestion from_json(const boost::json::object& object);
};

}  // namespace hull::container
