// Changes to how an image is run, as a Dockerfile writes them.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <string_view>

#include "container/image/image_config.h"

namespace hull::container {

/// Carries out instructions, one a line (Docker's Dockerfile reference): CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
/// STOPSIGNAL, USER, VOLUME and WORKDIR, which is all that `docker import --change` is good for here. There
/// are no variables in them. Throws Error (usage) where a line is none of these, or malformed.
void change_config(ImageConfig& config, std::string_view instructions);

/// Docker's Healthcheck.
boost::json::object health_json(const HealthCheck& health);

/// The configuration as the bytes that an image's id is of (OCI image-spec 1.1, config.md).
std::string config_text(const ImageConfig& config);

}  // namespace hull::container
