// SPDX-License-Identifier: Apache-2.0
// Trace: called when a stage begins and ends. The whole layer is timed with NoTrace, at no cost.
#pragma once

#include "moe/stage.h"

namespace moebench {

class Trace {
 public:
  virtual ~Trace() = default;
  virtual void begin(Stage stage, Pass pass) = 0;
  virtual void end(Stage stage, Pass pass) = 0;
};

class NoTrace final : public Trace {
 public:
  void begin(Stage, Pass) override {}
  void end(Stage, Pass) override {}
};

}  // namespace moebench
