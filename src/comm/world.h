// SPDX-License-Identifier: Apache-2.0
// The ranks of this run and the host numbers and texts that they gather and broadcast (the control plane).
// Never carries rows; never inside a timed region.
#pragma once

#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/memory.h"
#include "comm/comm.h"

namespace moebench {

/// Rank, size and launcher of this process, from the launcher's environment variables.
struct Launch {
  std::string launcher;  ///< "mpirun", "srun", "torchrun", "moebench" (local ranks) or "" for none
  int rank = 0, size = 1;
};
/// Reads OMPI_COMM_WORLD_*, PMI(X)_*, SLURM_*, RANK/WORLD_SIZE and moebench's own variables. Throws
/// EnvironmentError if malformed.
Launch detect_launch();

/// What must be the same on every rank: command, environment and build.
struct Identity {
  using Named = std::vector<std::pair<std::string, std::string>>;
  std::string build;
  Named command;      ///< ("command", "run"), ("--iters", "7")
  Named environment;  ///< ("MOEBENCH_SEED", "3")
};

class World {
 public:
  virtual ~World() = default;

  virtual std::string_view name() const = 0;
  /// The library under it and its version; empty for none.
  virtual std::string library() const { return {}; }
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// Ranks on this host, and this rank's place among them.
  virtual int local_size() const = 0;
  virtual int local_rank() const = 0;

  /// Returns when all ranks have called it. Throws TimeoutError naming the ranks that have not.
  virtual void barrier() = 0;
  /// mine [n] from every rank → [size · n] on every rank; n is the same everywhere.
  virtual std::vector<double> gather(std::span<const double> mine) = 0;
  virtual std::vector<std::string> gather_text(const std::string& mine) = 0;
  /// Returns when all ranks have called it, however long that takes: sleeps between looks, so that ranks left
  /// out of first() leave the cores to those at work. Throws Interrupted.
  virtual void wait_idle() = 0;
  /// Rank 0's text on every rank.
  virtual std::string broadcast(const std::string& text) = 0;
  /// A data-plane communicator over all ranks. `memory` and `stream` belong to the backend and outlive it.
  virtual std::unique_ptr<Comm> make_comm(Memory& memory, StreamView stream) = 0;
  /// The world of ranks 0 … ranks-1 of this one, and null on the others; every rank calls it. It must not
  /// outlive this one. Throws UsageError unless 1 <= ranks <= size().
  virtual std::unique_ptr<World> first(int ranks) = 0;
  /// Ends every rank with `code`, without waiting for any. Does not return.
  [[noreturn]] virtual void abort(int code) = 0;
};

/// As memcpy, but takes null pointers where there is nothing to copy.
inline void copy_bytes(void* to, const void* from, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);
}

/// The values of all ranks, one rank's after the other's; ranks may hold different numbers of them.
/// Collective.
template <class T>
std::vector<T> gather_all(World& world, const std::vector<T>& mine) {
  std::vector<T> all;
  const std::string bytes(reinterpret_cast<const char*>(mine.data()), mine.size() * sizeof(T));
  for (const std::string& part : world.gather_text(bytes)) {
    const std::size_t held = all.size();
    all.resize(held + part.size() / sizeof(T));
    copy_bytes(all.data() + held, part.data(), part.size());
  }
  return all;
}

/// `mine` [n] of every rank as [rank][n]; n is the same everywhere, and T is copied byte by byte. Collective.
template <class T>
std::vector<std::vector<T>> gather_by_rank(World& world, std::span<const T> mine) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) % sizeof(double) == 0);
  std::vector<double> words(mine.size_bytes() / sizeof(double));
  copy_bytes(words.data(), mine.data(), mine.size_bytes());
  const std::vector<double> all = world.gather(words);
  std::vector<std::vector<T>> ranks(static_cast<std::size_t>(world.size()), std::vector<T>(mine.size()));
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    copy_bytes(ranks[rank].data(), all.data() + rank * words.size(), mine.size_bytes());
  return ranks;
}

/// One value of every rank, by rank. Collective.
template <class T>
std::vector<T> gather_each(World& world, const T& mine) {
  std::vector<T> values;
  for (const std::vector<T>& rank : gather_by_rank(world, std::span<const T>(&mine, 1)))
    values.push_back(rank.front());
  return values;
}

/// One rank, no launcher, no library.
std::unique_ptr<World> make_self_world();

/// What a run wants of its ranks.
struct WorldRequest {
  std::string comm = "auto";  ///< "auto", "self", "mpi", "nccl"
  std::string rendezvous;     ///< "host:port" where ranks without MPI meet; empty: what the launcher says
  bool gpu = false;           ///< rows lie in GPU memory
  double timeout_s = 300;     ///< no wait between ranks lasts longer
  /// Takes one line, on every rank, where "auto" is less than the best there could be: what, and why. May be empty.
  std::function<void(const std::string&)> note;
  Identity identity;  ///< compared before anything else is exchanged
};

/// The world that the request and the launcher ask for. "auto" is self if no launcher started several ranks,
/// which touches no library; else nccl if every rank has a GPU to itself; else mpi. Ranks meet over MPI where
/// the launcher is MPI's, else over sockets. Throws UsageError for an unknown word, and EnvironmentError, on
/// every rank, if the launcher started other ranks than the communicator sees or a rank cannot use NCCL:
/// never N silent single runs; UsageError, on every rank, if the ranks were not started alike. After an error between ranks, end with abort() while the world still exists.
std::unique_ptr<World> make_world(const WorldRequest& request);

/// The words that --comm takes in this build.
std::vector<std::string> comm_names();
/// Whether a sum over this comm makes the host wait for the device; over NCCL it is queued like other work.
bool sums_wait_for_device(std::string_view comm);
/// Why one of comm_names() cannot be used with `local_ranks` ranks on this host; empty if it can.
std::string why_not_comm(std::string_view name, int local_ranks);

}  // namespace moebench
