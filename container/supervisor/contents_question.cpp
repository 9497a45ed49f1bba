#include "container/supervisor/contents_question.h"

#include "container/image/json.h"

namespace hull::container {

boost::json::object ContentsQuestion::to_json() const {
    return {{"what", static_cast<int>(what)}, {"path", path}, {"flags", flags}, {"user", user}};
}

ContentsQuestion ContentsQuestion::from_json(const boost::json::object& object) {
    static const std::string tried = "cannot look into the container";
    const JsonObject given{object, tried};
    const uint64_t what = given.number("what");
    ContentsQuestion question{
        .what = {}, .path = given.text("path"), .flags = given.number("flags"), .user = given.text("user")};
    if (what > static_cast<uint64_t>(What::changes) || question.path.empty()) {
        given.refuse("nobody knows what is wanted");
    }
    question.what = static_cast<What>(what);
    return question;
}

}  // namespace hull::container
