// SPDX-License-Identifier: Apache-2.0
#include "comm/tcp/link.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

/// What goes ahead of a message's text. Ranks of one run are one build, so it needs no byte order.
struct Header {
  std::uint32_t magic = 0x6D6F6562;  // "moeb"
  MessageKind kind = MessageKind::data;
  std::uint32_t code = 0;
  std::uint64_t length = 0;
};

constexpr std::uint64_t kLongest = std::uint64_t{1} << 32;  // a stranger's bytes are not a length

}  // namespace

void Link::send(const Message& message) {
  const Header header{.kind = message.kind, .code = message.code, .length = message.text.size()};
  out_.append(reinterpret_cast<const char*>(&header), sizeof header);
  out_ += message.text;
}

bool Link::flush() {
  while (sent_ < out_.size()) {
    const ssize_t count = ::send(socket_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (count < 0) lost(std::strerror(errno));
    sent_ += static_cast<std::size_t>(count);
  }
  out_.clear();
  sent_ = 0;
  return true;
}

bool Link::read_up_to(std::size_t wanted) {
  while (in_.size() < wanted) {
    const std::size_t have = in_.size();
    in_.resize(wanted);
    const ssize_t count = ::recv(socket_.get(), in_.data() + have, wanted - have, 0);
    in_.resize(have + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (count < 0) lost(std::strerror(errno));
    if (count == 0) lost("it has gone");
  }
  return true;
}

std::optional<Message> Link::receive() {
  if (!read_up_to(sizeof(Header))) return std::nullopt;
  Header header;
  std::memcpy(&header, in_.data(), sizeof header);
  if (header.magic != Header{}.magic || header.length > kLongest) lost("protocol mismatch");
  if (!read_up_to(sizeof header + static_cast<std::size_t>(header.length))) return std::nullopt;
  Message message{header.kind, header.code, in_.substr(sizeof header)};
  in_.clear();
  return message;
}

void Link::lost(std::string_view why) const { throw CommError(cat("lost ", peer_, ": ", why)); }

}  // namespace moebench
