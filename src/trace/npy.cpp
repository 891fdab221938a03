// SPDX-License-Identifier: Apache-2.0
#include "trace/npy.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace moebench {
namespace {

constexpr std::array<std::string_view, 6> kTypes{"<i4", "<i8", "<f4", "<f8", "|u1", "<u2"};
constexpr std::uint64_t kMostHead = 4096;

/// What follows `'key': ` in the head, which is the text of a Python dictionary.
std::string_view value_of(const ByteSource& source, std::string_view head, std::string_view key) {
  const std::string quoted = cat("'", key, "':");
  const std::size_t at = head.find(quoted);
  if (at == std::string_view::npos)
    source.refuse(10, cat("the head has no ", quoted.substr(0, quoted.size() - 1)));
  return trimmed(head.substr(at + quoted.size()));
}

std::vector<std::int64_t> shape_in(const ByteSource& source, std::string_view text) {
  const std::size_t end = text.find(')');
  if (!text.starts_with('(') || end == std::string_view::npos) source.refuse(10, "the shape is not a tuple");
  std::vector<std::int64_t> shape;
  for (const std::string& part : split(text.substr(1, end - 1), ',')) {
    if (trimmed(part).empty()) continue;
    const auto size = to_int(trimmed(part));
    if (!size) source.refuse(10, cat("'", std::string(trimmed(part).substr(0, 40)), "' in the shape"));
    shape.push_back(*size);
  }
  return shape;
}

template <class T>
std::vector<double> widened(const ByteSource& source, std::uint64_t at, std::uint64_t count) {
  const auto values = source.read_many<T>(at, count);
  return {values.begin(), values.end()};
}

}  // namespace

NpyArray parse_npy(const ByteSource& source) {
  constexpr std::array<unsigned char, 6> kMagic{0x93, 'N', 'U', 'M', 'P', 'Y'};
  const auto start = source.read_as<std::array<unsigned char, 8>>(0);
  if (!std::equal(kMagic.begin(), kMagic.end(), start.begin())) source.refuse(0, "not a .npy file");
  const unsigned version = start[6];
  if (version < 1 || version > 3) source.refuse(6, cat(".npy version ", version, "; valid: 1 to 3"));
  const std::uint64_t head_at = version == 1 ? 10 : 12;
  const std::uint64_t head_bytes =
      version == 1 ? source.read_as<std::uint16_t>(8) : source.read_as<std::uint32_t>(8);
  if (head_bytes > kMostHead) source.refuse(8, cat("a head of ", head_bytes, " bytes; at most ", kMostHead));
  const auto bytes = source.read_many<char>(head_at, head_bytes);
  const std::string_view head(bytes.data(), bytes.size());
  NpyArray array{.type = {}, .shape = {}, .begin = head_at + head_bytes};
  const std::string_view type = value_of(source, head, "descr");
  for (const std::string_view known : kTypes)
    if (type.starts_with(cat("'", known, "'"))) array.type = known;
  if (array.type.empty())
    source.refuse(10, cat("elements are ", std::string(type.substr(0, type.find(','))),
                          "; valid: int32, int64, uint8, uint16, float32, float64"));
  if (!value_of(source, head, "fortran_order").starts_with("False"))
    source.refuse(10, "in Fortran order; write it with numpy.ascontiguousarray");
  array.shape = shape_in(source, value_of(source, head, "shape"));
  std::uint64_t elements = 1;
  for (const std::int64_t size : array.shape)
    if (__builtin_mul_overflow(elements, static_cast<std::uint64_t>(size), &elements))
      elements = ~std::uint64_t{0};
  source.require(array.begin, elements, array.element_bytes());
  return array;
}

std::vector<double> npy_values(const ByteSource& source, const NpyArray& array, std::uint64_t first,
                               std::uint64_t count) {
  const std::uint64_t at = array.begin + first * array.element_bytes();
  if (array.type == "<i4") return widened<std::int32_t>(source, at, count);
  if (array.type == "<i8") return widened<std::int64_t>(source, at, count);
  if (array.type == "<f4") return widened<float>(source, at, count);
  if (array.type == "<f8") return widened<double>(source, at, count);
  if (array.type == "|u1") return widened<std::uint8_t>(source, at, count);
  return widened<std::uint16_t>(source, at, count);
}

std::string npy_head(const std::string& type, const std::vector<std::int64_t>& shape) {
  std::string sizes;
  for (const std::int64_t size : shape) sizes += cat(size, ", ");
  std::string head = cat("{'descr': '", type, "', 'fortran_order': False, 'shape': (", sizes, "), }");
  constexpr std::size_t kAlign = 64, kBefore = 10;
  head.resize((kBefore + head.size() + kAlign) / kAlign * kAlign - kBefore, ' ');
  head.back() = '\n';
  const auto bytes = static_cast<std::uint16_t>(head.size());
  return cat("\x93NUMPY\x01", std::string(1, '\0'), static_cast<char>(bytes & 255),
             static_cast<char>(bytes >> 8), head);
}

}  // namespace moebench
