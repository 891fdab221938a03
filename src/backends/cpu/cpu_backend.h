// SPDX-License-Identifier: Apache-2.0
// The layer's stages on the cores of one rank: OpenBLAS and threads, fp32.
#pragma once

#include <chrono>
#include <memory>

#include "backends/backend.h"

namespace moebench {

/// What it can run, known without its threads.
const Capabilities& cpu_capabilities();

/// `threads`: workers of this rank, at least 1; `spin`: how long they look for work before they sleep (ThreadPool).
std::unique_ptr<Backend> make_cpu_backend(int threads, std::chrono::microseconds spin = {});

}  // namespace moebench
