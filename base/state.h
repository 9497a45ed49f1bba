// How the parts of a machine write down what they are in the middle of, and take it up again: in the same
// process after a pause, or in another one, on another host.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hull {

/// A row of bytes, to which parts are added one after the other. Numbers stand in it in little-endian order.
/// One thread.
class StateWriter {
  public:
    /// Begins a part; `name`, at most 255 bytes, is what StateReader::begin() is to find.
    void begin(std::string_view name);
    template <typename T>
    requires std::integral<T>
    void put(T value) {
        const auto bytes = std::as_bytes(std::span{&value, 1});
        bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
    /// Any number of bytes below 2^32, which number stands before them.
    void put_bytes(std::span<const std::byte> bytes);

    [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

  private:
    std::vector<std::byte> bytes_;
};

/// Reads what StateWriter wrote, or what claims to be such: the bytes come from outside, and what they say is
/// checked. All of it throws Error (bad_file) where the state is cut off or makes no sense, naming the part.
/// One thread.
class StateReader {
  public:
    /// `bytes` must outlive the reader.
    explicit StateReader(std::span<const std::byte> bytes) : rest_{bytes} {}

    /// The next part, which must have this name.
    void begin(std::string_view name);
    /// For a bool, anything but 0 and 1 makes no sense.
    template <typename T>
    requires std::integral<T>
    [[nodiscard]] T get() {
        if constexpr (std::same_as<T, bool>) {
            const auto value = get<uint8_t>();
            require(value <= 1, "a yes or no is neither");
            return value == 1;
        } else {
            T value;
            const auto bytes = take(sizeof value);
            std::memcpy(&value, bytes.data(), sizeof value);
            return value;
        }
    }
    [[nodiscard]] std::span<const std::byte> get_bytes();
    /// Throws unless `sound`; `why` is a clause that says what is wrong otherwise.
    void require(bool sound, std::string_view why) const;
    /// Nothing may be left.
    void end() const;

  private:
    [[nodiscard]] std::span<const std::byte> take(size_t size);

    std::span<const std::byte> rest_;
    std::string part_ = "a machine";
};

/// A part of a machine that has a state. No vCPU runs, and no other thread calls, from before quiesce() until
/// after resume(); save() and load() are called between the two. What was just made is quiet, and is given
/// its state by load() and resume(), without quiesce().
class Stateful {
  public:
    virtual ~Stateful() = default;
    /// Finishes or gives back what is under way, and begins nothing: once it has returned, the part touches
    /// no guest memory.
    virtual void quiesce() {}
    /// Goes on where it was quiesced or with what was loaded.
    virtual void resume() {}
    /// A part that says nothing here has no state. Throws Error where what the part is connected to has
    /// state that cannot be had.
    virtual void save(StateWriter& /*state*/) const {}
    /// What save() wrote, for a part that was made in the same way. Throws Error as StateReader does, and the
    /// part is then not to be resumed.
    virtual void load(StateReader& /*state*/) {}
};

}  // namespace hull
