// The axes of the device mesh, and sets of them. A set names a group of ranks: those that differ only on its axes.
#pragma once

#include <compare>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace pscale {

/// `tensor` is innermost in the order of ranks, then `replica`, then `data`.
enum class Axis : uint8_t { data, replica, tensor };
inline constexpr Axis kAxes[] = {Axis::data, Axis::replica, Axis::tensor};

class AxisSet {
 public:
  constexpr AxisSet() = default;
  constexpr AxisSet(Axis axis) : bits_(static_cast<uint8_t>(1u << static_cast<int>(axis))) {}
  constexpr AxisSet(std::initializer_list<Axis> axes) {
    for (const Axis axis : axes) bits_ = static_cast<uint8_t>(bits_ | AxisSet(axis).bits_);
  }
  static constexpr AxisSet all() { return {Axis::data, Axis::replica, Axis::tensor}; }

  constexpr bool contains(Axis axis) const { return (bits_ & AxisSet(axis).bits_) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr AxisSet complement() const {
    AxisSet rest;
    rest.bits_ = static_cast<uint8_t>(~bits_ & all().bits_);
    return rest;
  }
  constexpr AxisSet with(Axis axis) const {
    AxisSet more;
    more.bits_ = static_cast<uint8_t>(bits_ | AxisSet(axis).bits_);
    return more;
  }
  auto operator<=>(const AxisSet&) const = default;
  /// "data+replica"; "none" for the empty set.
  std::string name() const;

 private:
  uint8_t bits_ = 0;
};

std::string name_of(Axis axis);

}  // namespace pscale
