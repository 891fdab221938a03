// SPDX-License-Identifier: Apache-2.0
// The layer's stages on an NVIDIA GPU of compute capability 8.0 or later.
#pragma once

#include <memory>
#include <string>

#include "backends/backend.h"

namespace moebench {

/// Why make_cuda_backend would fail on this machine, in words; empty if it would not.
std::string why_no_cuda();

/// Whether there is a GPU, of whatever kind, even if why_no_cuda() has something against it.
bool cuda_device_is_there();

/// What it can run, known without a device.
const Capabilities& cuda_capabilities();

/// On GPU `local_rank`, modulo the GPUs there are: more ranks than GPUs share them. The thread that makes it
/// must be the one that uses it. Throws EnvironmentError where why_no_cuda() says something.
std::unique_ptr<Backend> make_cuda_backend(int local_rank);

}  // namespace moebench
