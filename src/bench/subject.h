// SPDX-License-Identifier: Apache-2.0
// What can be timed, pass by pass: the layer, or a dense product to compare it with.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "base/thread_pool.h"
#include "bench/record.h"
#include "bench/sampling.h"
#include "bench/stopwatch.h"
#include "comm/world.h"
#include "layer/gates/loss.h"
#include "layer/trace.h"
#include "moe/cost.h"
#include "moe/expert_plan.h"

namespace moebench {

/// What a subject runs on. All outlive it.
struct Bench {
  World& ranks;  ///< the ranks of the case, and no others
  Backend& backend;
  ThreadPool& pool;  ///< for the oracle
};

/// One stage of a subject and this rank's work in it in the last iteration.
struct StageWork {
  Stage stage;
  Pass pass;
  std::optional<Stage> fused_into;
  StageCost cost;
  bool overlaps = false;  ///< runs beside other stages: its time is what they do not hide
};

/// What a gate chose for a rank's tokens.
struct Choice {
  std::vector<std::int32_t> experts;  ///< [T, K], −1: dropped
  std::vector<float> scores;          ///< [T, K]
};

class Subject {
 public:
  virtual ~Subject() = default;

  /// Queues a barrier of the ranks' devices, where they can have one.
  virtual void start_together() {}
  /// Queues one pass of iteration `step`; passes come in the case's order. Iterations rotate over input_sets()
  /// inputs, together larger than the cache.
  virtual void run(Pass pass, int step, Trace& trace) = 0;
  virtual int input_sets() const = 0;
  /// Input set i has the routing of step i modulo this.
  virtual int routing_steps() const { return input_sets(); }
  /// What the gate chose for this rank's tokens in the last iteration; none without a gate. Waits for the device.
  virtual std::optional<Choice> choice() const { return {}; }
  /// Where experts lie in each routing step, if that is planned; null otherwise.
  virtual const StepPlans* plans() const { return nullptr; }
  /// Whether a pass makes the host wait for work it queued: then the backend must not hold that work back.
  virtual bool waits_for_device() const { return false; }
  /// Why its passes cannot be recorded as graphs and replayed; empty if they can.
  virtual std::string why_no_graph() { return {}; }
  /// Every input set has run once: what depends on the row counts of the inputs may rely on them from now on.
  virtual void settle() {}
  /// What an iteration writes: y first, then dx and the gradients of parameters.
  virtual std::vector<TensorView> outputs() = 0;
  /// Collective. Compares one iteration with the oracle.
  virtual CheckRecord check(CheckMode mode) = 0;
  /// Collective. The same of input set `step`, on inputs and weights as the timed iterations left them.
  virtual CheckRecord recheck(CheckMode mode, int step) = 0;

  /// This rank's work in the last iteration.
  virtual StageCost cost(Pass pass) const = 0;
  /// Stages in the order they run; none if the subject has no parts.
  virtual std::vector<StageWork> stages() const { return {}; }
  /// Rows of each expert on this rank in the last iteration; none without experts.
  virtual std::vector<std::int64_t> rows_of_experts() const { return {}; }
  /// What became of the slots of this rank's tokens in the last iteration; nothing where none can be dropped.
  virtual std::optional<Drops> drops() const { return std::nullopt; }
  /// This rank's share of the gate's losses in the last iteration; nothing without losses.
  virtual std::optional<GateLossValues> losses() const { return std::nullopt; }
  /// Of the time that building it took: connecting the ranks.
  double comm_us() const { return comm_us_; }

 protected:
  /// What `make` makes of a comm over all ranks.
  template <class Make>
  auto connect(Bench bench, Make make) {
    const ScopedMemoryTag scope(bench.backend.memory(), MemoryTag::workspace);
    const Stopwatch watch(comm_us_);
    return make(bench.ranks.make_comm(bench.backend.memory(), bench.backend.stream()));
  }

 private:
  double comm_us_ = 0;
};

/// Bytes that one rank of the case needs with a check of this mode, on a device with this last-level cache, without
/// building it.
MemoryEstimate estimate_memory(const Case& bench_case, const Capabilities& backend, std::size_t cache_bytes,
                               CheckMode check);
/// Whether an iteration of the case sums gradients over ranks.
inline bool syncs_ranks(const Case& bench_case) {
  return bench_case.passes == PassSet::step && bench_case.shape.ranks > 1;
}
/// Whether summing them makes the host wait.
inline bool sync_waits(const Case& bench_case) {
  return syncs_ranks(bench_case) && sums_wait_for_device(bench_case.comm);
}
/// Why the sums cannot be replayed in a graph; empty if there are none.
std::string why_no_graph_of_sync(const Case& bench_case);
/// What a check found: it passed if every item did.
CheckRecord record_of(CheckMode mode, std::vector<CheckItem> items);

/// The subject of the case, from the table in bench/subjects.h. The case must be one that why_not() (bench/why_not.h)
/// lets pass.
std::unique_ptr<Subject> make_subject(const Case& bench_case, Bench bench);

}  // namespace moebench
