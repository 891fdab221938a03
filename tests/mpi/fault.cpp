// SPDX-License-Identifier: Apache-2.0
// A rank that does not do its part: `mpi_fault FAULT WAIT`, the last rank being the faulty one.
// Prints what the others throw and ends with its code.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>

#include "base/error.h"
#include "base/interrupt.h"
#include "comm/local_ranks.h"
#include "comm/memories.h"
#include "comm/mpi/watchdog.h"
#include "mpi/world_under_test.h"

namespace moebench {
namespace {

constexpr double kTimeoutS = 1;
constexpr double kGraceS = 1;  // the faulty rank ends only when it is made to; MB_GRACE_S: another

void exchange(World& world, Comm& comm, Memory& memory) {
  const std::int64_t rows = 100'000;
  const Tensor from(memory, DType::fp32, rows, 4), to(memory, DType::fp32, rows * world.size(), 4);
  const std::vector<Segment> sends(world.size(), {0, rows});
  std::vector<Segment> recvs;
  for (int peer = 0; peer < world.size(); ++peer) recvs.push_back({peer * rows, rows});
  comm.exchange_rows({from, to, sends, recvs});
}

/// Like a call into MPI that does not return.
void wait_in_a_call() {
  const MpiWatchdog watchdog(kTimeoutS, "MPI_Comm_split");
  sleep(60);
}

/// Rows that may only be queued: whoever waits for them gets nowhere, and the next call must say why.
void wait_later(World& world, Comm& comm, Memory& device) {
  exchange(world, comm, device);
  device.finish_copies();
  std::vector<std::int64_t> sizes(world.size());
  comm.exchange_sizes(std::vector<std::int64_t>(sizes), sizes);
}

void wait(const std::string& what, World& world, Comm& comm, Comm& group, Memory& memory, Comm& device_comm,
          Memory& device) {
  std::vector<std::int64_t> sizes(world.size());
  const Tensor tensor(memory, DType::fp32, 10, 10);
  // Ranks 1 and 2 are 0 and 1 of their group, and still must be named 1 and 2.
  const auto group_sizes = [&] {
    std::vector<std::int64_t> received(group.size());
    group.exchange_sizes(std::vector<std::int64_t>(received), received);
  };
  const std::map<std::string, std::function<void()>> waits{
      {"barrier", [&] { world.barrier(); }},
      {"gather", [&] { world.gather(std::vector<double>{1.0}); }},
      {"sizes", [&] { comm.exchange_sizes(std::vector<std::int64_t>(sizes), sizes); }},
      {"rows", [&] { exchange(world, comm, memory); }},
      {"queued", [&] { wait_later(world, device_comm, device); }},
      {"sum", [&] { comm.all_reduce(tensor); }},
      {"split", [&] { comm.split(0); }},
      {"first", [&] { world.first(1); }},
      {"group", group_sizes},
      {"idle", [&] { world.wait_idle(); }},
      {"call", wait_in_a_call},
  };
  waits.at(what)();
}

/// For a minute, but for a signal, whenever that came.
void sleep_on() {
  for (int tenths = 0; tenths < 600 && interrupt_signal() == 0; ++tenths) usleep(100'000);
}

void misbehave(const std::string& fault) {
  if (fault == "sleep") sleep_on();
  if (fault == "stop") raise(SIGSTOP);
  if (fault == "kill") raise(SIGKILL);
}

}  // namespace
}  // namespace moebench

int main(int argc, char** argv) {
  using namespace moebench;
  if (argc < 3) return 2;
  catch_interrupts();
  if (const int ranks = ranks_to_start(argc, argv))
    return run_local_ranks(ranks, {argv, argv + argc},
                           std::getenv("MB_GRACE_S") ? std::atof(std::getenv("MB_GRACE_S")) : kGraceS);
  const std::string fault = argv[1], what = argv[2];
  const auto world = make_world_under_test(kTimeoutS);
  HostMemory memory;
  const auto comm = world->make_comm(memory, {});
  const auto group = comm->split(world->rank() == 0 ? 1 : 0);
  const auto device = make_device_memory();
  const auto device_comm = world->make_comm(*device, {});
  try {
    world->barrier();
    if (world->rank() == 0) std::puts("all ranks are here"), std::fflush(stdout);
    if (fault == "interrupt" && world->rank() == 0) raise(SIGTERM);
    if (world->rank() == world->size() - 1) misbehave(fault);
    wait(what, *world, *comm, *group, memory, *device_comm, *device);
    sleep_on();  // only an error or a signal may end this program in time
    throw_if_interrupted();
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    std::fflush(stderr);
    world->abort(static_cast<int>(error.code()));
  }
}
