// SPDX-License-Identifier: Apache-2.0
// SIGINT, SIGTERM and SIGHUP (a closed terminal) as a question that loops ask. The signal number and the words that
// acknowledge it are the mutable globals of moebench: a signal handler can reach nothing else.
#pragma once

namespace moebench {

/// Installs the handlers; SIGHUP stays ignored where it is (nohup). A second SIGINT or SIGTERM ends the program at
/// once; a second SIGHUP does not, because a terminal that closes may send it twice.
void catch_interrupts();
/// What the handler itself writes to stderr when the first SIGINT or SIGTERM arrives, however long the work takes that
/// is to end; null for nothing. The text is not copied.
void acknowledge_interrupts(const char* text);
/// The first signal that arrived, or 0.
int interrupt_signal();
/// Throws Interrupted naming the signal if one arrived.
void throw_if_interrupted();

}  // namespace moebench
