// SPDX-License-Identifier: Apache-2.0
#include "comm/tcp/socket_group.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "comm/backoff.h"

namespace moebench {
namespace {

constexpr int kLookMs = 100;  // delay until an interrupt is noticed
constexpr double kShutdownS = 0.5;
// The others wait longer than rank 0, so that they receive the names of the ranks it missed.
constexpr double kHeadStartS = 2;
constexpr double kNoLimit = std::numeric_limits<double>::infinity();

/// Sleeps until one of `waits` is ready, kLookMs at most. Throws Interrupted.
void look(std::vector<pollfd>& waits) {
  throw_if_interrupted();
  poll(waits.data(), waits.size(), kLookMs);
}

/// Differs between hosts, also between hosts of the same name.
std::string this_host() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return cat(name, "/", boot);
}

[[noreturn]] void throw_waited(int rank, double timeout_s, const char* what, const std::vector<int>& peers) {
  std::vector<std::string> names;
  for (const int peer : peers) names.push_back(cat(peer));
  throw TimeoutError(
      cat("rank ", rank, " waited ", timeout_s, " s for ", what, " from rank ", join(names, ", ")));
}

/// Texts one after the other, each behind its length.
std::string packed(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) {
    const std::uint64_t length = text.size();
    all.append(reinterpret_cast<const char*>(&length), sizeof length);
    all += text;
  }
  return all;
}

std::vector<std::string> unpacked(std::string_view all) {
  std::vector<std::string> texts;
  while (!all.empty()) {
    std::uint64_t length = 0;
    std::memcpy(&length, all.data(), sizeof length);
    texts.emplace_back(all.substr(sizeof length, length));
    all.remove_prefix(sizeof length + length);
  }
  return texts;
}

}  // namespace

template <class Work>
auto SocketGroup::run_on_root(Work work) {
  try {
    return work();
  } catch (const Error& error) {
    shutdown(static_cast<int>(error.code()), error.what());
    throw;
  }
}

SocketGroup::SocketGroup(int rank, int size, const Rendezvous& place, double timeout_s,
                         const Identity& identity)
    : rank_(rank),
      size_(size),
      timeout_s_(timeout_s),
      identity_(identity),
      links_(static_cast<std::size_t>(rank == 0 ? size : 1)) {
  hosts_.assign(static_cast<std::size_t>(size), this_host());
  if (size == 1) return;
  if (rank == 0)
    run_on_root([&] { accept_ranks(place); });
  else
    connect_to_root(place);
  hosts_ = gather(this_host(), size, "a handshake");
}

/// Accepts connections until every rank has sent its handshake. Closes those that are not from ranks.
void SocketGroup::accept_ranks(const Rendezvous& place) {
  const Socket listener = listen_at(place);
  Deadline deadline(timeout_s_);
  std::vector<bool> here(static_cast<std::size_t>(size_), false);
  here[0] = true;
  std::vector<std::unique_ptr<Link>> callers;
  while (std::find(here.begin(), here.end(), false) != here.end()) {
    std::vector<pollfd> waits{{listener.get(), POLLIN, 0}};
    for (const auto& caller : callers) waits.push_back({caller->descriptor(), POLLIN, 0});
    look(waits);
    while (Socket socket = accept_from(listener))
      callers.push_back(std::make_unique<Link>(std::move(socket), "a caller"));
    for (auto& caller : callers) {
      try {
        if (const auto hello = caller->receive()) take_handshake(std::move(caller), *hello, here);
      } catch (const CommError&) {
        caller.reset();
      }
    }
    std::erase(callers, nullptr);
    if (!deadline.passed()) continue;
    std::vector<int> missing;
    for (int peer = 0; peer < size_; ++peer)
      if (!here[static_cast<std::size_t>(peer)]) missing.push_back(peer);
    if (!missing.empty()) throw_waited(0, timeout_s_, "a handshake", missing);
  }
  if (!different_.empty()) throw UsageError(different_);  // only now: all ranks are connected and receive it
}

/// "3 8": rank 3 of 8; behind a line break its greeting, 64 bytes of a shape that never changes, and its identity.
void SocketGroup::take_handshake(std::unique_ptr<Link> link, const Message& hello, std::vector<bool>& here) {
  const std::size_t line = hello.text.find('\n');
  const auto words = split(hello.text.substr(0, line), ' ');
  const auto rank = to_int(words.front()), size = to_int(words.back());
  if (hello.kind != MessageKind::hello || words.size() != 2 || !rank || !size)
    return;  // closes the connection
  const std::string who = cat("rank ", *rank, " of ", *size);
  const auto refuse = [&](const std::string& why) {
    link->send({MessageKind::end, static_cast<std::uint32_t>(ExitCode::environment), why});
    link->flush();
    throw EnvironmentError(why);
  };
  if (*size != size_)
    refuse(cat(who, " came to a rendezvous of ", size_, " ranks: all must be started alike"));
  if (*rank < 1 || *rank >= size_ || here[static_cast<std::size_t>(*rank)])
    refuse(cat("a second ", who, " came to the rendezvous: every rank needs a number of its own"));
  Greeting greeting{.magic = {}};  // of an older build, which sends none
  std::string_view rest = line == std::string::npos ? "" : std::string_view(hello.text).substr(line + 1);
  if (rest.size() >= sizeof greeting) {
    std::memcpy(&greeting, rest.data(), sizeof greeting);
    rest.remove_prefix(sizeof greeting);
  }
  if (different_.empty()) different_ = why_not_alike(identity_, static_cast<int>(*rank), greeting, rest);
  here[static_cast<std::size_t>(*rank)] = true;
  link->call_peer(cat("rank ", *rank));
  links_[static_cast<std::size_t>(*rank)] = std::move(link);
}

void SocketGroup::connect_to_root(const Rendezvous& place) {
  Deadline deadline(timeout_s_ + kHeadStartS);
  Socket socket = connect_to(place);
  for (; !socket; socket = connect_to(place)) {
    if (deadline.passed())
      throw TimeoutError(cat("rank ", rank_, " waited ", timeout_s_, " s for a handshake from rank 0 at ",
                             place.host, ":", place.port));
    std::vector<pollfd> none;
    look(none);
  }
  links_[0] = std::make_unique<Link>(std::move(socket), "rank 0");
  const Greeting greeting = greeting_of(identity_);
  const std::string_view bytes(reinterpret_cast<const char*>(&greeting), sizeof greeting);
  links_[0]->send({MessageKind::hello, 0, cat(rank_, " ", size_, "\n", bytes, packed(identity_))});
}

std::vector<int> SocketGroup::others(int size) const {
  std::vector<int> peers(static_cast<std::size_t>(size - 1));
  std::iota(peers.begin(), peers.end(), 1);
  return peers;
}

/// The text of a message, unless it says that the run is over.
std::string SocketGroup::text_of(Message message, int peer) const {
  if (message.kind == MessageKind::data) return std::move(message.text);
  if (message.kind == MessageKind::hello) throw CommError(cat("rank ", peer, " is out of step"));
  const auto code = static_cast<ExitCode>(message.code);
  if (code == ExitCode::timeout) throw TimeoutError(message.text);
  throw CommError(code, message.text);
}

std::vector<std::string> SocketGroup::receive_all(const std::vector<int>& peers, const char* what,
                                                  double limit_s) {
  Deadline deadline(limit_s);
  std::vector<std::string> texts(peers.size());
  std::vector<bool> done(peers.size(), false);
  for (;;) {
    std::vector<pollfd> waits;
    std::vector<int> pending;
    for (std::size_t i = 0; i < peers.size(); ++i) {
      Link& link = link_to(peers[i]);
      const bool sent = link.flush();
      if (!done[i])
        if (auto message = link.receive()) {
          texts[i] = text_of(std::move(*message), peers[i]);
          done[i] = true;
        }
      if (!done[i]) pending.push_back(peers[i]);
      if (!done[i] || !sent)
        waits.push_back({link.descriptor(), static_cast<short>(sent ? POLLIN : POLLIN | POLLOUT), 0});
    }
    if (pending.empty() && waits.empty()) return texts;
    if (deadline.passed()) throw_waited(rank_, timeout_s_, what, pending);
    look(waits);
  }
}

void SocketGroup::send_all(const std::vector<int>& peers, const Message& message, const char* what) {
  Deadline deadline(timeout_s_);
  for (const int peer : peers) link_to(peer).send(message);
  for (const int peer : peers) {
    while (!link_to(peer).flush()) {
      if (deadline.passed()) throw_waited(rank_, timeout_s_, what, {peer});
      std::vector<pollfd> waits{{link_to(peer).descriptor(), POLLOUT, 0}};
      look(waits);
    }
  }
}

std::vector<std::string> SocketGroup::gather(const std::string& mine, int size, const char* what, bool idle) {
  if (size == 1) return {mine};
  if (rank_ == 0)
    return run_on_root([&] {
      std::vector<std::string> all{mine};
      for (std::string& text : receive_all(others(size), what, idle ? kNoLimit : timeout_s_))
        all.push_back(std::move(text));
      send_all(others(size), {.text = packed(all)}, what);
      return all;
    });
  link_to(0).send({.text = mine});
  return unpacked(receive_all({0}, what, idle ? kNoLimit : timeout_s_ + kHeadStartS).front());
}

std::string SocketGroup::broadcast(const std::string& text, int size) {
  if (size == 1) return text;
  if (rank_ != 0) return receive_all({0}, "text", timeout_s_ + kHeadStartS).front();
  return run_on_root([&] {
    send_all(others(size), {.text = text}, "room for text");
    return text;
  });
}

void SocketGroup::shutdown(int code, const std::string& text) noexcept {
  Deadline deadline(kShutdownS);
  for (const auto& link : links_) {
    try {
      if (!link) continue;
      link->send({MessageKind::end, static_cast<std::uint32_t>(code), text});
      while (!link->flush() && !deadline.passed()) usleep(1000);
    } catch (const std::exception&) {  // that one has gone already
    }
  }
}

}  // namespace moebench
