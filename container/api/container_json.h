// Containers as Docker shows them.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <map>
#include <string>

#include "container/life/containers.h"
#include "container/life/events.h"

namespace hull::container {

/// GET /containers/ID/json.
boost::json::object inspect_json(const ContainerView& container);

/// An element of GET /containers/json.
boost::json::object list_json(const ContainerView& container, std::chrono::system_clock::time_point now);

/// What docker ps has under STATUS: "Up 2 minutes (Paused)".
std::string status_text(const ContainerView& container, std::chrono::system_clock::time_point now);

/// GET /exec/ID/json.
boost::json::object exec_json(const ExecView& exec);

/// A line of GET /events.
boost::json::object event_json(const Event& event);

std::map<std::string, std::string> labels_of(const ContainerSpec& spec);

/// The ports that it has, "80/tcp", published or not.
std::vector<std::string> exposed_ports_of(const ContainerSpec& spec);

/// Of its place in a network, while it runs; else empty.
std::string endpoint_id(const ContainerView& container, const Attachment& attachment);

}  // namespace hull::container
