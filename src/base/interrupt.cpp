// SPDX-License-Identifier: Apache-2.0
#include "base/interrupt.h"

#include <unistd.h>

#include <csignal>

#include "base/error.h"

namespace moebench {
namespace {

volatile std::sig_atomic_t signal_seen = 0;

extern "C" void on_signal(int number) {
  if (signal_seen && number == SIGHUP) return;
  if (signal_seen) _exit(static_cast<int>(ExitCode::interrupted));
  signal_seen = number;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction hangup {};
  if (sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
    sigaction(SIGHUP, &action, nullptr);
}

int interrupt_signal() { return signal_seen; }

void throw_if_interrupted() {
  if (signal_seen)
    throw Interrupted(signal_seen == SIGINT   ? "interrupted by SIGINT"
                      : signal_seen == SIGHUP ? "interrupted by SIGHUP"
                                              : "interrupted by SIGTERM");
}

}  // namespace moebench
