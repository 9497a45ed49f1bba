#include "container/supervisor/exec_config.h"

#include <boost/json/array.hpp>
#include <string_view>

#include "container/image/json.h"

namespace hull::container {

boost::json::object ExecConfig::to_json() const {
    return {{"command", boost::json::array(command.begin(), command.end())},
            {"environment", boost::json::array(environment.begin(), environment.end())},
            {"user", user},
            {"working_folder", working_folder},
            {"tty", tty},
            {"has_input", has_input},
            {"is_privileged", is_privileged}};
}

ExecConfig ExecConfig::from_json(const boost::json::object& object) {
    const std::string tried = "cannot run a further command";
    const JsonObject given{object, tried};
    ExecConfig config{.command = given.texts("command"),
                      .environment = given.texts("environment"),
                      .user = given.text("user"),
                      .working_folder = given.text("working_folder"),
                      .tty = given.flag("tty"),
                      .has_input = given.flag("has_input"),
                      .is_privileged = given.flag("is_privileged")};
    if (config.command.empty()) {
        given.refuse("it has no words");
    }
    if (!config.working_folder.empty() && !config.working_folder.starts_with('/')) {
        given.refuse("its working folder is not absolute");
    }
    return config;
}

}  // namespace hull::container
