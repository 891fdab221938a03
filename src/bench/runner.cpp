// SPDX-License-Identifier: Apache-2.0
#include "bench/runner.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/host_memory.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "bench/inputs.h"
#include "bench/why_not.h"

namespace moebench {
namespace {

/// A case ended without being timed; the sweep goes on.
struct CaseEnded {
  Status status;
  std::string reason;
  bool device_lost = false;  ///< then the sweep cannot go on
};

/// Thrown when the observer fails, e.g. on a full disk. Ends the sweep without marking a case as failed.
class ObserverError : public Error {
  using Error::Error;
};

/// A rank died. Timeouts and errors of the other ranks follow from that.
class RankLost : public CommError {
  using CommError::CommError;
};

/// The device context is lost: the sweep ends, on all ranks.
class DeviceLost : public Error {
  using Error::Error;
};

/// Runs `work` on every rank. If it failed on any, ends the case on all of them, naming the first that failed. What
/// breaks the ranks' agreement (a lost peer, an interrupt) passes through.
template <class Work>
void run_on_all_ranks(World& ranks, Work work) {
  constexpr char kLost = '\a';  // in front of the failure of a device that is lost
  std::string failure;
  try {
    work();
  } catch (const CommError&) {
    throw;
  } catch (const Interrupted&) {
    throw;
  } catch (const DeviceError& error) {
    failure = error.sticky() ? cat(kLost, error.what()) : std::string(error.what());
  } catch (const std::bad_alloc&) {
    failure = "out of host memory";
  } catch (const std::exception& error) {
    failure = error.what();
  }
  const auto failures = ranks.gather_text(failure);
  bool lost = false;
  for (const std::string& text : failures) lost |= text.starts_with(kLost);
  for (std::size_t rank = 0; rank < failures.size(); ++rank) {
    if (failures[rank].empty()) continue;
    const std::string text = failures[rank].substr(failures[rank].starts_with(kLost) ? 1 : 0);
    throw CaseEnded{Status::failed, ranks.size() == 1 ? text : cat("rank ", rank, ": ", text), lost};
  }
}

MemoryRecord estimate(const Case& bench_case, const Bench& bench, CheckMode check) {
  const MemoryEstimate need =
      estimate_memory(bench_case, bench.backend, bench.backend.device().cache_bytes, check);
  return {.estimated_bytes = need.total(),
          .weights_bytes = need.weights,
          .gradients_bytes = need.gradients,
          .activations_bytes = need.activations,
          .inputs_bytes = need.inputs,
          .workspace_bytes = need.workspace,
          .host_estimated_bytes = need.host};
}

/// Ends the case if the fullest rank cannot hold it. Ranks of one host share its memory; a device is its rank's own.
void require_memory(const MemoryRecord& need, const Bench& bench) {
  const Memory& memory = bench.backend.memory();
  const bool one_memory = memory.host_accessible();
  const auto least_of_ranks = [&](std::size_t bytes, double sharing) {
    const double mine = static_cast<double>(bytes) / sharing;
    double least = mine;
    for (const double other : bench.ranks.gather({&mine, 1})) least = std::min(least, other);
    return least;
  };
  const double host = least_of_ranks(one_memory ? memory.available_bytes() : available_host_bytes(),
                                     bench.ranks.local_size());
  const double device = one_memory ? host : least_of_ranks(memory.available_bytes(), 1);
  if (std::string why = why_no_room(Room{.device = need.estimated_bytes, .host = need.host_estimated_bytes},
                                    {.device = device, .host = host}, one_memory);
      !why.empty())
    throw CaseEnded{Status::skipped, std::move(why)};
}

/// Runs the cases of one sweep on the worlds they need.
class Runner {
 public:
  Runner(const Sampling& sampling, Bench bench, RunObserver& observer)
      : sampling_(sampling), bench_(bench), observer_(observer), ceilings_(sampling.known_peaks) {}

  RunOutcome run(std::span<const Case> cases) {
    try {
      while (!cases.empty()) {
        const std::size_t count = sampling_.interleave ? same_ranks(cases) : 1;
        run_group(cases.first(count));
        cases = cases.subspan(count);
      }
    } catch (const Error& error) {
      return stop(error);
    }
    return outcome_;
  }

 private:
  struct Turn {
    Record record;  ///< of a case that has ended, or the beginnings of one
    std::unique_ptr<Measurement> measurement;
  };

  static std::size_t same_ranks(std::span<const Case> cases) {
    std::size_t count = 1;
    while (count < cases.size() && cases[count].processes() == cases[0].processes()) ++count;
    return count;
  }

  /// Cases on the same ranks, taking turns if there are several.
  void run_group(std::span<const Case> cases) {
    const int ranks = cases[0].processes();
    if (ranks > bench_.ranks.size()) {
      for (const Case& bench_case : cases) {
        tell([&] { observer_.begin(bench_case); });
        end({.bench_case = bench_case,
             .status = Status::skipped,
             .reason = why_few_ranks(ranks, bench_.ranks.size())});
      }
      return;
    }
    World* const world = world_of(ranks);
    if (world) measure({*world, bench_.backend, bench_.pool}, cases);
    if (ranks < bench_.ranks.size()) bench_.ranks.wait_idle();
  }

  /// The world of the first `ranks` ranks; null on a rank that is not among them. Made once, by all ranks.
  World* world_of(int ranks) {
    if (ranks == bench_.ranks.size()) return &bench_.ranks;
    const auto [found, is_new] = worlds_.try_emplace(ranks);
    if (is_new) found->second = bench_.ranks.first(ranks);
    return found->second.get();
  }

  void measure(Bench bench, std::span<const Case> cases) {
    std::vector<Turn> turns(cases.size());
    for (std::size_t i = 0; i < cases.size(); ++i) {
      tell([&] { observer_.begin(cases[i]); });
      attempt(turns[i], cases[i], [&] { prepare(turns[i], cases[i], bench); });
    }
    for (bool more = true; more;) {
      more = false;
      for (std::size_t i = 0; i < turns.size(); ++i)
        if (turns[i].measurement)
          attempt(turns[i], cases[i], [&] { more |= take_turn(turns[i], cases[i], bench); });
    }
  }

  void prepare(Turn& turn, const Case& bench_case, Bench bench) {
    throw_if_interrupted();
    turn.record.bench_case = bench_case;
    if (const auto why = bench_case.why_not_checked(); sampling_.check_only && !why.empty())
      throw CaseEnded{Status::skipped, cat("cannot be verified: ", why)};
    turn.record.memory = estimate(bench_case, bench, sampling_.check);
    require_memory(turn.record.memory, bench);
    bench.backend.use_threads(bench_case.threads);
    const Peaks peaks = sampling_.check_only || !sampling_.peaks ? Peaks{} : peaks_of(bench, bench_case);
    const auto phase = [&](std::string_view what) {
      throw_if_interrupted();  // it may take long
      tell_phase(bench_case, what);
    };
    phase("setting up");
    run_on_all_ranks(bench.ranks, [&] {
      turn.measurement =
          std::make_unique<Measurement>(bench_case, sampling_, bench, peaks, turn.record.memory);
    });
    if (const std::string why = turn.measurement->why_not(); !why.empty())
      throw CaseEnded{Status::skipped, cat("cannot be replayed as a graph: ", why)};
    bool right = true;
    run_on_all_ranks(bench.ranks, [&] { right = turn.measurement->prepare(phase); });
    const Record& found = turn.measurement->record();
    turn.record.check = found.check;
    turn.record.warnings = found.warnings;
    if (!right) throw CaseEnded{Status::incorrect, found.reason};
    if (sampling_.check_only) throw CaseEnded{Status::ok, ""};
  }

  const Peaks& peaks_of(Bench bench, const Case& bench_case) {
    const PeaksKey key = peaks_key(bench_case);
    if (!ceilings_.knows(key)) tell_phase(bench_case, "measuring peaks");
    const Peaks& peaks = ceilings_.of(bench, key);
    if (told_.insert(key).second) tell([&] { observer_.peaks(peaks); });
    return peaks;
  }

  /// One round of samples. True if the case wants another.
  bool take_turn(Turn& turn, const Case& bench_case, Bench bench) {
    bool more = false;
    bench.backend.use_threads(bench_case.threads);
    run_on_all_ranks(bench.ranks, [&] { more = turn.measurement->sample(); });
    tell([&] {
      const Measurement& of = *turn.measurement;
      observer_.sampled(bench_case, {of.median_us(), of.error_pct(), load_range(of.record().routing.steps)});
    });
    if (more) return true;
    Record record;
    const auto phase = [&](std::string_view what) { tell_phase(bench_case, what); };
    run_on_all_ranks(bench.ranks, [&] { record = turn.measurement->finish(phase); });
    turn.measurement.reset();
    end(record);
    return false;
  }

  /// Does `step` of a case; whatever ends the case is recorded. What ends the run is recorded and thrown on.
  template <class Step>
  void attempt(Turn& turn, const Case& bench_case, Step step) {
    const auto end_with = [&](Status status, const std::string& reason) {
      turn.measurement.reset();
      turn.record.bench_case = bench_case;
      turn.record.status = status;
      turn.record.reason = reason;
      end(turn.record);
    };
    try {
      step();
    } catch (const CaseEnded& ended) {
      end_with(ended.status, ended.reason);
      if (ended.device_lost)
        throw DeviceLost(ExitCode::environment, cat(ended.reason, "; the device is lost, so the sweep ends"));
    } catch (const ObserverError&) {
      throw;
    } catch (const DeviceLost&) {
      throw;
    } catch (const Interrupted& error) {
      end_if_rank_lost(end_with);
      end_with(Status::interrupted, error.what());
      throw;
    } catch (const TimeoutError& error) {
      end_if_rank_lost(end_with);
      end_with(Status::timed_out, error.what());
      throw;
    } catch (const Error& error) {
      end_if_rank_lost(end_with);
      end_with(Status::failed, error.what());
      throw;
    }
  }
  template <class EndWith>
  void end_if_rank_lost(EndWith end_with) {
    const std::string lost = bench_.ranks.rank() == 0 ? observer_.lost_rank() : std::string();
    if (lost.empty()) return;
    end_with(Status::failed, lost);
    throw RankLost(lost);
  }

  void tell_phase(const Case& bench_case, std::string_view what) {
    tell([&] { observer_.phase(bench_case, what); });
  }
  template <class Call>
  void tell(Call call) {
    if (bench_.ranks.rank() != 0) return;
    try {
      call();
    } catch (const Error& error) {
      throw ObserverError(error.code(), error.what());
    }
  }
  void end(const Record& record) {
    if (record.status == Status::incorrect)
      outcome_.code = ExitCode::incorrect;
    else if (record.status != Status::ok && outcome_.code == ExitCode::ok)
      outcome_.code = ExitCode::partial;
    tell([&] { observer_.end(record); });
  }

  /// What remains to be said when the sweep cannot go on.
  RunOutcome stop(const Error& error) const {
    const bool one_rank = bench_.ranks.size() == 1;
    if (const auto* lost = dynamic_cast<const DeviceLost*>(&error))
      return {lost->code(), lost->what(), false};
    const bool follows = dynamic_cast<const Interrupted*>(&error) || dynamic_cast<const CommError*>(&error);
    const std::string lost = follows && bench_.ranks.rank() == 0 ? observer_.lost_rank() : std::string();
    if (!lost.empty()) return {ExitCode::communicator, lost, true};
    const bool names_rank =
        dynamic_cast<const TimeoutError*>(&error) || dynamic_cast<const RankLost*>(&error);
    return {error.code(),
            one_rank || names_rank ? error.what() : cat("rank ", bench_.ranks.rank(), ": ", error.what()),
            !one_rank};
  }

  Sampling sampling_;
  Bench bench_;
  RunObserver& observer_;
  Ceilings ceilings_;
  std::set<PeaksKey> told_;  ///< of the peaks that the observer knows
  std::map<int, std::unique_ptr<World>> worlds_;
  RunOutcome outcome_;
};

}  // namespace

RunOutcome run_cases(std::span<const Case> cases, const Sampling& sampling, Bench bench,
                     RunObserver& observer) {
  for (const Case& bench_case : cases)
    if (const std::string why = why_not(bench_case, bench.backend); !why.empty()) throw UsageError(why);
  return Runner(sampling, bench, observer).run(cases);
}

}  // namespace moebench
