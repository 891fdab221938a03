// SPDX-License-Identifier: Apache-2.0
// Messages over one connection, none of which ever blocks.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "comm/tcp/socket.h"

namespace moebench {

enum class MessageKind : std::uint32_t { hello, data, end };

struct Message {
  MessageKind kind = MessageKind::data;
  std::uint32_t code = 0;  ///< end: the exit code of the run
  std::string text;
};

class Link {
 public:
  Link(Socket socket, std::string peer) : socket_(std::move(socket)), peer_(std::move(peer)) {}

  int descriptor() const { return socket_.get(); }
  /// Names the other side in errors: "rank 3".
  void call_peer(std::string name) { peer_ = std::move(name); }
  /// To be sent by flush().
  void send(const Message& message);
  /// Sends what can be sent now; true if nothing is left. Throws CommError if the peer is gone.
  bool flush();
  /// A message that has come in whole. Throws CommError if the peer is gone or is no moebench.
  std::optional<Message> receive();

 private:
  /// Reads until `wanted` bytes are there, or no more have come.
  bool read_up_to(std::size_t wanted);
  [[noreturn]] void lost(std::string_view why) const;

  Socket socket_;
  std::string peer_;
  std::string out_, in_;
  std::size_t sent_ = 0;  ///< bytes of out_
};

}  // namespace moebench
