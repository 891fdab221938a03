// SPDX-License-Identifier: Apache-2.0
// One stage of a pass between its two trace calls.
#pragma once

#include "base/error.h"
#include "base/text.h"
#include "layer/trace.h"

namespace moebench {

/// Runs `work` as `stage` of `pass`; an error between ranks gets the stage's name.
template <class Work>
void run_stage(Stage stage, Pass pass, Trace& trace, Work work) {
  trace.begin(stage, pass);
  try {
    work();
  } catch (const TimeoutError& error) {
    throw TimeoutError(cat(name_of(pass), " ", name_of(stage), ": ", error.what()));
  } catch (const CommError& error) {
    throw CommError(cat(name_of(pass), " ", name_of(stage), ": ", error.what()));
  }
  trace.end(stage, pass);
}

}  // namespace moebench
