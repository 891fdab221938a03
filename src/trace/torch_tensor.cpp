// SPDX-License-Identifier: Apache-2.0
#include "trace/torch_tensor.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <optional>

#include "base/text.h"

namespace moebench {
namespace {

constexpr Words<TorchType, 3> kTypes{
    {{{TorchType::int64, "int64"}, {TorchType::int32, "int32"}, {TorchType::float32, "float32"}}}};
constexpr Words<TorchType, 3> kStorages{{{{TorchType::int64, "LongStorage"},
                                          {TorchType::int32, "IntStorage"},
                                          {TorchType::float32, "FloatStorage"}}}};

std::uint64_t bytes_of(TorchType type) { return type == TorchType::int64 ? 8 : 4; }

/// A file inside the archive, not compressed.
struct Member {
  std::string name;
  std::uint64_t begin = 0, size = 0;
};

#pragma pack(push, 1)
struct EndRecord {  // "end of central directory" (PKWARE APPNOTE 4.3.16)
  std::uint32_t signature;
  std::uint16_t disk, first_disk, entries_here, entries;
  std::uint32_t size, offset;
  std::uint16_t comment;
};
struct Entry {  // "central directory header" (4.3.12)
  std::uint32_t signature;
  std::uint16_t made_by, needs, flags, method, time, date;
  std::uint32_t crc, packed, size;
  std::uint16_t name, extra, comment, disk, internal;
  std::uint32_t external, offset;
};
struct LocalHead {  // "local file header" (4.3.7)
  std::uint32_t signature;
  std::uint16_t needs, flags, method, time, date;
  std::uint32_t crc, packed, size;
  std::uint16_t name, extra;
};
#pragma pack(pop)
static_assert(sizeof(EndRecord) == 22 && sizeof(Entry) == 46 && sizeof(LocalHead) == 30);

Member member_of(const ByteSource& source, std::uint64_t place, const Entry& entry) {
  const auto name = source.read_many<char>(place + sizeof entry, entry.name);
  Member member{.name = {name.begin(), name.end()}, .size = entry.size};
  if (entry.method != 0 || entry.packed != entry.size)
    source.refuse(place, "a compressed file in the archive");
  if (entry.size == 0xFFFFFFFFu || entry.offset == 0xFFFFFFFFu)
    source.refuse(place, "a file of 4 GB or more in the archive");
  const auto head = source.read_as<LocalHead>(entry.offset);
  if (head.signature != 0x04034b50u) source.refuse(entry.offset, "no local file header");
  member.begin = std::uint64_t{entry.offset} + sizeof head + head.name + head.extra;
  source.require(member.begin, member.size, 1);
  return member;
}

std::vector<Member> members_of(const ByteSource& source) {
  if (source.size() < sizeof(EndRecord) || source.read_as<std::uint32_t>(0) != 0x04034b50u)
    source.refuse(0, "not the zip archive that torch.save writes since PyTorch 1.6");
  const std::uint64_t end_at = source.size() - sizeof(EndRecord);
  const auto end = source.read_as<EndRecord>(end_at);
  constexpr int kMostMembers = 32;  // a tensor has seven
  if (end.signature != 0x06054b50u) source.refuse(end_at, "no end of a zip archive: cut, or with a comment");
  if (end.entries > kMostMembers)
    source.refuse(end_at, cat(end.entries, " files in the archive of a tensor"));
  std::vector<Member> members;
  std::uint64_t place = end.offset;
  for (int i = 0; i < end.entries; ++i) {
    const auto entry = source.read_as<Entry>(place);
    if (entry.signature != 0x02014b50u) source.refuse(place, "no directory entry of a zip archive");
    members.push_back(member_of(source, place, entry));
    place += sizeof entry + entry.name + entry.extra + entry.comment;
  }
  return members;
}

const Member& find_member(const ByteSource& source, const std::vector<Member>& members,
                          std::string_view end) {
  for (const Member& member : members)
    if (member.name.ends_with(end) && member.name.find('/') == member.name.size() - end.size()) return member;
  source.refuse(0, cat("the archive has no ", end.substr(1)));
}

/// Steps through the opcodes that are expected; what differs is refused with its place.
class Recogniser {
 public:
  Recogniser(const ByteSource& source, const Member& member) : source_(source), begin_(member.begin) {
    constexpr std::uint64_t kMost = 1024;
    if (member.size > kMost)
      source.refuse(begin_, cat("a pickle of ", member.size, " bytes: not that of one tensor"));
    text_ = source.read_many<char>(begin_, member.size);
  }

  void expect(std::string_view bytes, std::string_view what) {
    if (!starts_with(bytes)) refuse(what);
    at_ += bytes.size();
  }
  /// BINPUT: keeps a value under a number; without effect here.
  void put() {
    if (at_ + 2 > text_.size() || text_[at_] != 'q') refuse("a memo");
    at_ += 2;
  }
  std::string line() {
    const auto end = std::find(text_.begin() + static_cast<std::ptrdiff_t>(at_), text_.end(), '\n');
    if (end == text_.end()) refuse("a name");
    std::string name(text_.begin() + static_cast<std::ptrdiff_t>(at_), end);
    at_ += name.size() + 1;
    return name;
  }
  /// BINUNICODE, shorter than 32 bytes.
  std::string text() {
    if (at_ + 5 > text_.size() || text_[at_] != 'X' || text_[at_ + 2] || text_[at_ + 3] || text_[at_ + 4])
      refuse("a text");
    const auto size = static_cast<std::size_t>(text_[at_ + 1]);
    if (size > 31 || at_ + 5 + size > text_.size()) refuse("a short text");
    std::string value(text_.begin() + static_cast<std::ptrdiff_t>(at_ + 5),
                      text_.begin() + static_cast<std::ptrdiff_t>(at_ + 5 + size));
    at_ += 5 + size;
    return value;
  }
  /// BININT1, BININT2 or BININT; none if something else stands here.
  std::optional<std::int64_t> number() {
    const int bytes = at_ < text_.size() ? text_[at_] == 'K'   ? 1
                                           : text_[at_] == 'M' ? 2
                                           : text_[at_] == 'J' ? 4
                                                               : 0
                                         : 0;
    if (bytes == 0 || at_ + 1 + static_cast<std::size_t>(bytes) > text_.size()) return std::nullopt;
    std::uint32_t value = 0;
    for (int i = bytes; i > 0; --i)
      value = value << 8 | static_cast<unsigned char>(text_[at_ + static_cast<std::size_t>(i)]);
    if (value >> 31) return std::nullopt;
    at_ += 1 + static_cast<std::size_t>(bytes);
    return value;
  }
  std::int64_t needed_number() {
    const auto value = number();
    if (!value) refuse("a number below 2^31");
    return *value;
  }
  bool starts_with(std::string_view bytes) const {
    return std::string_view(text_.data(), text_.size()).substr(at_).starts_with(bytes);
  }
  bool at_end() const { return at_ == text_.size(); }
  [[noreturn]] void refuse(std::string_view what) const {
    source_.refuse(begin_ + at_,
                   cat("not the pickle of one contiguous CPU tensor: ", what, " was expected here"));
  }

 private:
  const ByteSource& source_;
  std::uint64_t begin_;
  std::vector<char> text_;
  std::size_t at_ = 0;
};

/// One or two numbers in a tuple.
std::vector<std::int64_t> tuple_of(Recogniser& pickle) {
  std::vector<std::int64_t> values{pickle.needed_number()};
  if (const auto second = pickle.number()) values.push_back(*second);
  pickle.expect(values.size() == 1 ? "\x85" : "\x86", "a tuple of one or two");
  pickle.put();
  return values;
}

}  // namespace

std::string_view name_of(TorchType type) { return kTypes.name(type); }

std::uint64_t TorchTensor::elements() const {
  return static_cast<std::uint64_t>(
      std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>()));
}

TorchTensor parse_torch_tensor(const ByteSource& source) {
  const auto members = members_of(source);
  const Member& order = find_member(source, members, "/byteorder");
  if (order.size != 6 || source.read_many<char>(order.begin, 6) != std::vector{'l', 'i', 't', 't', 'l', 'e'})
    source.refuse(order.begin, "not in little endian");
  Recogniser pickle(source, find_member(source, members, "/data.pkl"));
  TorchTensor tensor;
  pickle.expect(std::string_view("\x80\x02", 2), "protocol 2");
  pickle.expect("ctorch._utils\n_rebuild_tensor_v2\n", "a tensor");
  pickle.put();
  pickle.expect("((", "its arguments");
  if (pickle.text() != "storage") pickle.refuse("a storage");
  pickle.put();
  pickle.expect("ctorch\n", "a type of torch");
  const std::string storage = pickle.line();
  const auto known = std::find_if(kStorages.entries.begin(), kStorages.entries.end(),
                                  [&](const auto& entry) { return entry.second == storage; });
  if (known == kStorages.entries.end()) pickle.refuse("int64, int32 or float32");
  tensor.type = known->first;
  pickle.put();
  const std::string key = pickle.text();
  pickle.put();
  if (pickle.text() != "cpu") pickle.refuse("the CPU");
  pickle.put();
  const std::int64_t stored = pickle.needed_number();
  pickle.expect("t", "the end of the storage");
  pickle.put();
  pickle.expect("Q", "the storage");
  if (pickle.needed_number() != 0) pickle.refuse("an offset of 0");
  tensor.shape = tuple_of(pickle);
  std::vector<std::int64_t> contiguous{1};
  if (tensor.shape.size() == 2) contiguous.insert(contiguous.begin(), tensor.shape[1]);
  if (tuple_of(pickle) != contiguous && tensor.elements() > 1) pickle.refuse("rows one after the other");
  pickle.expect(
      "\x89"
      "ccollections\nOrderedDict\n",
      "no gradient and no hooks");
  pickle.put();
  pickle.expect(")R", "no hooks");
  pickle.put();
  pickle.expect("t", "the end of the arguments");
  pickle.put();
  pickle.expect("R", "the tensor");
  pickle.put();
  pickle.expect(".", "the end");
  if (!pickle.at_end()) pickle.refuse("nothing more");
  const Member& data = find_member(source, members, cat("/data/", key));
  if (static_cast<std::uint64_t>(stored) != tensor.elements() ||
      data.size != tensor.elements() * bytes_of(tensor.type))
    source.refuse(data.begin,
                  cat(data.size, " bytes for ", tensor.elements(), " elements of ", name_of(tensor.type)));
  tensor.begin = data.begin;
  return tensor;
}

}  // namespace moebench
