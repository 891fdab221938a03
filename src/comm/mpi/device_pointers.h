// SPDX-License-Identifier: Apache-2.0
// Whether this MPI moves GPU memory by itself.
#pragma once

namespace moebench {

/// What the MPI library says at run time; false where it has no way to say so.
bool takes_device_pointers();

}  // namespace moebench
