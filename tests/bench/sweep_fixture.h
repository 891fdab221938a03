// SPDX-License-Identifier: Apache-2.0
// A sweep of one rank over a backend with a scripted clock, and an observer that keeps what it is given.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "bench/inputs.h"
#include "bench/runner.h"
#include "fakes/fake_backend.h"

namespace moebench {

struct Kept final : RunObserver {
  std::vector<Record> records;
  std::vector<std::string> events, phases;
  bool full = false;  ///< fails after each record, as on a full disk
  std::string lost;

  void begin(const Case& bench_case) override {
    events.push_back("begin " + std::to_string(bench_case.shape.experts));
  }
  void phase(const Case&, std::string_view name) override { phases.emplace_back(name); }
  void sampled(const Case&, const SoFar& so_far) override {
    events.push_back("sampled");
    load = so_far.load;
  }
  LoadRange load;  ///< at the last round of samples
  void end(const Record& record) override {
    events.push_back("end " + std::to_string(record.bench_case.shape.experts));
    records.push_back(record);
    if (full) throw EnvironmentError("disk full");
  }
  std::string lost_rank() override { return lost; }
};

class Sweeping : public testing::Test {
 protected:
  RunOutcome run(const std::vector<Case>& cases) {
    return run_cases(cases, sampling_, {*world_, backend_, pool_}, kept_);
  }
  static Case with_experts(std::int64_t experts) {
    return {.shape = {.tokens = 16, .hidden = 8, .ffn = 8, .experts = experts, .top_k = 2},
            .backend = "fake"};
  }
  int warmup() const {
    return std::max(sampling_.warmup,
                    input_sets_needed(with_experts(4).shape, backend_.device().cache_bytes));
  }

  std::unique_ptr<World> world_ = make_self_world();
  FakeBackend backend_;
  ThreadPool pool_{1};
  Sampling sampling_;
  Kept kept_;
};

}  // namespace moebench
