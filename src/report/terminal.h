// SPDX-License-Identifier: Apache-2.0
// How wide the terminal is.
#pragma once

namespace moebench {

/// Columns of the terminal behind a descriptor; 0 if it is none, or one that knows no control sequences (TERM=dumb).
int terminal_columns(int descriptor);

}  // namespace moebench
