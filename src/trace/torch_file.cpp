// SPDX-License-Identifier: Apache-2.0
#include "trace/torch_file.h"

#include <array>
#include <functional>
#include <numeric>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

/// CRC-32 of ZIP (PKWARE APPNOTE 4.4.7): the reflected polynomial 0xEDB88320.
std::uint32_t crc32(std::string_view bytes) {
  static constexpr auto kTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      table[i] = i;
      for (int bit = 0; bit < 8; ++bit) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xEDB88320u : 0u);
    }
    return table;
  }();
  std::uint32_t crc = 0xFFFFFFFFu;
  for (const char byte : bytes) crc = crc >> 8 ^ kTable[(crc ^ static_cast<unsigned char>(byte)) & 0xFF];
  return ~crc;
}

void append(std::string& to, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i, value >>= 8) to += static_cast<char>(value & 0xFF);
}

/// BININT1, BININT2 or BININT, whichever is shortest.
std::string pickled(std::int64_t value) {
  if (value >> 31) throw UsageError(cat("an axis of ", value, " elements does not fit a .pt file"));
  std::string code(1, value < 256 ? 'K' : value < 65536 ? 'M' : 'J');
  append(code, static_cast<std::uint64_t>(value), value < 256 ? 1 : value < 65536 ? 2 : 4);
  return code;
}

std::string pickled(const std::vector<std::int64_t>& values) {
  std::string code;
  for (const std::int64_t value : values) code += pickled(value);
  return code + (values.size() == 1 ? '\x85' : '\x86');
}

std::string put(int number) { return {'q', static_cast<char>(number)}; }

std::string pickled(std::string_view text) {
  std::string code(1, 'X');
  append(code, text.size(), 4);
  return code.append(text);
}

/// The opcodes that stand for the tensor, in the order in which torch.save writes them.
std::string pickle_of(TorchType type, const std::vector<std::int64_t>& shape, std::int64_t count) {
  const std::string_view storage = type == TorchType::int64   ? "LongStorage"
                                   : type == TorchType::int32 ? "IntStorage"
                                                              : "FloatStorage";
  std::vector<std::int64_t> strides{1};
  if (shape.size() == 2) strides.insert(strides.begin(), shape[1]);
  return cat(std::string("\x80\x02", 2), "ctorch._utils\n_rebuild_tensor_v2\n", put(0), "((",
             pickled("storage"), put(1), "ctorch\n", storage, "\n", put(2), pickled("0"), put(3),
             pickled("cpu"), put(4), pickled(count), "t", put(5), "Q", pickled(0), pickled(shape), put(6),
             pickled(strides), put(7), "\x89", "ccollections\nOrderedDict\n", put(8), ")R", put(9), "t",
             put(10), "R", put(11), ".");
}

/// A ZIP archive of files that are stored as they are.
class Archive {
 public:
  /// Elements begin at a multiple of 64 bytes, as torch.save has it, so that they can be mapped.
  void add(const std::string& name, std::string_view bytes) {
    constexpr std::size_t kAlign = 64, kLocalHead = 30, kExtraHead = 4;
    const std::size_t unpadded = text_.size() + kLocalHead + name.size() + kExtraHead;
    const std::size_t padding = (kAlign - unpadded % kAlign) % kAlign;
    std::string common;
    append(common, 0, 2);  // flags
    append(common, 0, 2);  // stored
    append(common, 0, 4);  // no time
    append(common, crc32(bytes), 4);
    append(common, bytes.size(), 4);
    append(common, bytes.size(), 4);
    append(common, name.size(), 2);
    append(entries_, 0x02014b50u, 4);
    append(entries_, 0, 4);  // made by, needs
    entries_ += common;
    append(entries_, 0, 12);  // extra, comment, disk, attributes
    append(entries_, text_.size(), 4);
    entries_ += name;
    append(text_, 0x04034b50u, 4);
    append(text_, 0, 2);  // needs
    text_ += common;
    append(text_, kExtraHead + padding, 2);
    text_ += name;
    append(text_, 0x4246u, 2);  // "FB", whose content is padding
    append(text_, padding, 2);
    text_.append(padding, 'Z');
    text_.append(bytes);
    ++count_;
  }
  std::string finished() {
    const std::size_t start = text_.size();
    text_ += entries_;
    append(text_, 0x06054b50u, 4);
    append(text_, 0, 4);  // disks
    append(text_, count_, 2);
    append(text_, count_, 2);
    append(text_, entries_.size(), 4);
    append(text_, start, 4);
    append(text_, 0, 2);  // no comment
    return std::move(text_);
  }

 private:
  std::string text_, entries_;
  std::size_t count_ = 0;
};

}  // namespace

std::string torch_file(const std::string& name, TorchType type, const std::vector<std::int64_t>& shape,
                       std::span<const std::byte> elements) {
  constexpr std::size_t kMost = (std::size_t{1} << 32) - 65536;  // offsets of a ZIP have 32 bits
  if (elements.size() > kMost) throw UsageError("4 GB or more do not fit a .pt file; select fewer tokens");
  const std::int64_t count =
      std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
  Archive archive;
  archive.add(name + "/data.pkl", pickle_of(type, shape, count));
  archive.add(name + "/byteorder", "little");
  archive.add(name + "/data/0", {reinterpret_cast<const char*>(elements.data()), elements.size()});
  archive.add(name + "/version", "3\n");
  return archive.finished();
}

}  // namespace moebench
