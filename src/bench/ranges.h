// SPDX-License-Identifier: Apache-2.0
// Names what runs for a profiler that is attached: NVTX ranges in the domain `moebench`.
#pragma once

#include <cstdint>
#include <memory>

#include "layer/trace.h"
#include "suite/case.h"

namespace moebench {

/// One range for the case, in it one per pass, in it one per stage, named by their words. Each holds what the case
/// is: its id in the report, the rank, the sizes. Without a profiler, or built without NVTX, a call costs one test.
class Ranges final : public Trace {
 public:
  /// Opens the case's range; it closes with this object.
  Ranges(const Case& bench_case, int rank);
  ~Ranges() override;

  void begin_iteration() {}
  void end_iteration() {}
  void begin(Pass pass);
  void end(Pass pass);
  void begin(Stage stage, Pass pass) override;
  void end(Stage stage, Pass pass) override;

  /// Whether this build has NVTX.
  static bool built();
  /// Whether a profiler listens to the domain.
  static bool profiler_attached();

 private:
  struct Open;
  std::unique_ptr<Open> open_;  ///< null without a profiler
};

}  // namespace moebench
