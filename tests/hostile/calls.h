// System calls as an attacker makes them: by their numbers, without a library in between that could know
// better.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

namespace hull::turncoat {

/// A call with up to six arguments; its result, or a negative errno.
long raw_call(long number, const std::array<long, 6>& arguments);

template <typename... Arguments>
long call(long number, Arguments... arguments) {
    [[maybe_unused]] const auto as_word = [](auto value) {
        if constexpr (std::is_null_pointer_v<decltype(value)>) {
            return 0L;
        } else if constexpr (std::is_pointer_v<decltype(value)>) {
            return reinterpret_cast<long>(value);
        } else {
            return static_cast<long>(value);
        }
    };
    return raw_call(number, {as_word(arguments)...});
}

/// fork, vfork, clone or clone3, whose child ends at once, touching nothing.
long call_with_child(long number, const std::array<long, 6>& arguments);
/// clone, whose child, on a stack of its own, sleeps until it is killed.
long clone_sleeper(unsigned long flags, void* stack);
/// clone of a thread, which ends when `word`, which is 1, is set to 0 and woken; `gone` becomes 0 then.
long clone_thread(void* stack, uint32_t* word, uint32_t* gone);

/// getpid by the other ways into the kernel that there are for programs of other kinds; their names, for
/// people.
struct OtherWay {
    const char* name;
    long (*getpid)();
};
extern const std::array<OtherWay, 2> kOtherWays;

}  // namespace hull::turncoat
