// Makes an image of a container's changes (docker commit).
#pragma once

#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <vector>

#include "container/image/digest.h"
#include "container/image/reference.h"
#include "container/image/store.h"
#include "container/layer/tar_reader.h"

namespace hull::container {

struct Commit {
    std::optional<Reference> name;  ///< with a tag
    std::string author;
    std::string comment;
    std::vector<std::string> changes;  ///< instructions of a Dockerfile (change_config)
    boost::json::object config;        ///< how it is to be run: Docker's Config of the container
};

/// A Config as Docker merges it with the container's: what `given` says wins, and lists and maps of both are
/// together. Other keys are passed over. Throws Error (bad_file) where a value is of another kind.
boost::json::object merge_config(const boost::json::object& given, const boost::json::object& of_container);

/// Reads an unpacked layer's archive to its end and puts it over those of `base`, as a new image, whose id it
/// answers. Throws Error: usage where a change cannot be, or the image would have more than 127 layers;
/// bad_file where the archive is none, or leads out; and as `layer` and Store do.
Digest commit_image(Store& store, const StoredImage& base, const ByteSource& layer, const Commit& commit);

}  // namespace hull::container
