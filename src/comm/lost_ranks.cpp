// SPDX-License-Identifier: Apache-2.0
#include "comm/lost_ranks.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <fstream>
#include <iterator>

#include "base/text.h"

namespace moebench {
namespace {

constexpr std::array kFatal{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};

struct Note {
  int rank = 0;
  int signal = 0;  ///< 0: it ends by itself
};

/// What the handler needs; nothing else can reach it.
struct Handler {
  int socket = -1;
  int rank = 0;
  std::array<struct sigaction, kFatal.size()> before{};
};
Handler handler;

extern "C" void send_last_words(int number) {
  const Note note{handler.rank, number};
  if (handler.socket >= 0) send(handler.socket, &note, sizeof note, MSG_DONTWAIT | MSG_NOSIGNAL);
  for (std::size_t i = 0; i < kFatal.size(); ++i)
    if (kFatal[i] == number) sigaction(number, &handler.before[i], nullptr);
  raise(number);  // to whoever handled it before, or to the end of the process
}

void catch_fatal_signals() {
  struct sigaction action {};
  action.sa_handler = send_last_words;
  sigemptyset(&action.sa_mask);
  for (std::size_t i = 0; i < kFatal.size(); ++i) sigaction(kFatal[i], &action, &handler.before[i]);
}

/// Tells machines apart, also those that share a name.
std::string this_host() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  std::string boot;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  return cat(name, "/", boot);
}

/// A name that the system makes up, in its namespace without files. Empty if there is none.
std::string bind_anywhere(int socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socklen_t length = sizeof(sa_family_t);
  if (bind(socket, reinterpret_cast<sockaddr*>(&address), length) != 0) return {};
  length = sizeof address;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
  return {address.sun_path, length - offsetof(sockaddr_un, sun_path)};
}

void connect_to(int socket, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.empty() || name.size() > sizeof address.sun_path) return;
  std::memcpy(address.sun_path, name.data(), name.size());
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  connect(socket, reinterpret_cast<sockaddr*>(&address), length);  // without it the rank dies silently
}

/// The signal that ended a process: 0 while it lives, -1 if it is gone and nothing is left to read.
int signal_that_ended(int process) {
  std::ifstream file(cat("/proc/", process, "/stat"));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return kill(process, 0) == 0 ? 0 : -1;
  const auto fields = split(text.substr(name_end + 2), ' ');
  if (fields.empty() || (fields[0] != "Z" && fields[0] != "X")) return 0;
  constexpr std::size_t kExitCode = 49;  // field 52 of proc(5); the third is the first here
  const auto status =
      fields.size() > kExitCode ? to_int(split(fields[kExitCode], '\n').front()) : std::nullopt;
  return status && *status > 0 && WIFSIGNALED(static_cast<int>(*status)) ? WTERMSIG(static_cast<int>(*status))
                                                                         : -1;
}

}  // namespace

LostRanks::LostRanks(World& world) {
  socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const std::string name = world.broadcast(world.rank() == 0 ? bind_anywhere(socket_) : std::string());
  const auto ranks = world.gather_text(cat(this_host(), "\n", getpid()));
  const std::string host = split(ranks[0], '\n')[0];
  if (world.rank() == 0) {
    signal_.assign(ranks.size(), -1);
    for (const std::string& rank : ranks) {
      const auto words = split(rank, '\n');
      const auto process = static_cast<int>(to_int(words[1]).value_or(0));
      process_.push_back(words[0] == host && process > 0 && kill(process, 0) == 0 ? process : 0);
    }
    process_[0] = 0;  // itself
  } else if (this_host() == host) {
    connect_to(socket_, name);
    handler.socket = socket_;
    handler.rank = world.rank();
    catch_fatal_signals();
  }
}

LostRanks::~LostRanks() {
  if (handler.socket == socket_ && socket_ >= 0) {
    handler.socket = -1;
    for (std::size_t i = 0; i < kFatal.size(); ++i) sigaction(kFatal[i], &handler.before[i], nullptr);
  }
  if (socket_ >= 0) close(socket_);
}

void LostRanks::take_notes() {
  for (Note note; recv(socket_, &note, sizeof note, MSG_DONTWAIT) == sizeof note;)
    if (note.rank > 0 && note.rank < std::ssize(signal_))
      signal_[static_cast<std::size_t>(note.rank)] = note.signal;
}

std::string LostRanks::find() {
  for (std::size_t rank = 0; rank < process_.size(); ++rank) {
    if (process_[rank] == 0) continue;
    const int ended = signal_that_ended(process_[rank]);
    take_notes();  // after the look: what it had to say was sent before it ended
    if (ended == 0 || signal_[rank] == 0) continue;
    const int signal = signal_[rank] > 0 ? signal_[rank] : ended > 0 ? ended : SIGKILL;
    return cat("rank ", rank, " died (signal ", signal, ")");
  }
  return {};
}

void LostRanks::end_by_itself() {
  const Note note{handler.rank, 0};
  if (handler.socket >= 0) send(handler.socket, &note, sizeof note, MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace moebench
