// SPDX-License-Identifier: Apache-2.0
#include "base/interrupt.h"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/error.h"

namespace moebench {
namespace {

volatile std::sig_atomic_t signal_seen = 0;
std::atomic<const char*> acknowledgement = nullptr;
static_assert(std::atomic<const char*>::is_always_lock_free);  // a signal handler may read it

extern "C" void on_signal(int number) {
  if (signal_seen && number == SIGHUP) return;
  if (signal_seen) _exit(static_cast<int>(ExitCode::interrupted));
  signal_seen = number;
  const char* const text = acknowledgement.load();
  if (!text || number == SIGHUP) return;
  const int error = errno;
  [[maybe_unused]] const auto written = write(STDERR_FILENO, text, std::strlen(text));  // it may be gone
  errno = error;
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

void acknowledge_interrupts(const char* text) { acknowledgement = text; }

int interrupt_signal() { return signal_seen; }

void throw_if_interrupted() {
  if (signal_seen)
    throw Interrupted(signal_seen == SIGINT   ? "interrupted by SIGINT"
                      : signal_seen == SIGHUP ? "interrupted by SIGHUP"
                                              : "interrupted by SIGTERM");
}

}  // namespace moebench
