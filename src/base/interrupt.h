// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM as a question that loops ask. The signal number is the one mutable global of moebench:
// a signal handler can reach nothing else.
#pragma once

namespace moebench {

/// Installs the handlers. A second signal ends the program at once.
void catch_interrupts();
/// The signal that arrived, or 0.
int interrupt_signal();
/// Throws Interrupted naming the signal if one arrived.
void throw_if_interrupted();

}  // namespace moebench
