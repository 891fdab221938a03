// SPDX-License-Identifier: Apache-2.0
#include "comm/nccl/watchdog.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "comm/backoff.h"

namespace moebench {
namespace {

constexpr double kGraceS = 1;  // of peers that have been interrupted as well, to finish what they began

std::chrono::duration<double> pace(double timeout_s) {
  return std::chrono::duration<double>(std::clamp(timeout_s / 10, 0.02, 0.2));
}

}  // namespace

NcclWatchdog::NcclWatchdog(std::shared_ptr<NcclCommunicator> communicator, std::unique_ptr<Queue> queue)
    : communicator_(std::move(communicator)), queue_(std::move(queue)), thread_([this] { run(); }) {}

NcclWatchdog::~NcclWatchdog() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
  }
  woken_.notify_one();
  thread_.join();
}

void NcclWatchdog::queued(const char* what) {
  const std::lock_guard lock(mutex_);
  const bool idle = !open_[oldest_];
  const int which = idle ? oldest_ : 1 - oldest_;
  if (!queue_->mark(which)) return;
  open_[which] = true;
  what_[which] = what;
  if (idle) since_ = Clock::now();
}

void NcclWatchdog::check() {
  throw_if_interrupted();
  const std::lock_guard lock(mutex_);
  throw_end();
}

void NcclWatchdog::wait() {
  Backoff backoff(communicator_->policy().timeout_s, false);
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      look();
      throw_end();
      if (!open_[oldest_]) return;
    }
    backoff.again();
  }
}

void NcclWatchdog::run() {
  queue_->enter_thread();
  std::unique_lock lock(mutex_);
  while (!over_) {
    woken_.wait_for(lock, pace(communicator_->policy().timeout_s));
    const double stuck_s = communicator_->seconds_in_call(), limit_s = communicator_->policy().timeout_s;
    if (stuck_s > limit_s) {
      std::fputs(cat("moebench: ", waited(limit_s, "inside NCCL for"), "\n").c_str(), stderr);
      communicator_->policy().end(static_cast<int>(ExitCode::timeout));
      return;
    }
    look();
  }
}

/// Takes note of what is done, and ends what must not go on.
void NcclWatchdog::look() {
  const auto now = Clock::now();
  since_ += stood_still(looked_, now);
  looked_ = now;
  if (end_ != End::none && !aborted_) aborted_ = communicator_->abort();
  if (end_ != End::none) return;
  try {
    advance();
  } catch (const Error& error) {  // the device is lost: the next call on it says so too
    return give_up(End::failed, error.what());
  }
  if (!open_[oldest_]) return;
  if (const std::string failure = communicator_->failure(); !failure.empty())
    return give_up(End::failed,
                   cat("rank ", communicator_->world_rank()[communicator_->rank()], " ", what_[oldest_],
                       " rank ", communicator_->peers(), ": NCCL says ", failure));
  const double limit_s = communicator_->policy().timeout_s;
  const double waited_s = std::chrono::duration<double>(Clock::now() - since_).count();
  if (waited_s > limit_s)
    give_up(End::timeout, waited(limit_s, what_[oldest_]));
  else if (interrupt_signal() != 0 && waited_s > kGraceS)
    give_up(End::interrupted, "");
}

void NcclWatchdog::advance() {
  while (open_[oldest_] && queue_->reached(oldest_)) {
    open_[oldest_] = false;
    oldest_ = 1 - oldest_;
    since_ = Clock::now();
  }
}

void NcclWatchdog::give_up(End end, std::string text) {
  end_ = end;
  text_ = std::move(text);
  aborted_ = communicator_->abort();
}

void NcclWatchdog::throw_end() const {
  switch (end_) {
    case End::none:
      return;
    case End::timeout:
      throw TimeoutError(text_);
    case End::failed:
      throw CommError(text_);
    case End::interrupted:
      throw_if_interrupted();
  }
}

std::string NcclWatchdog::waited(double limit_s, const char* what) const {
  return cat("rank ", communicator_->world_rank()[communicator_->rank()], " waited ", limit_s, " s ", what,
             " rank ", communicator_->peers());
}

}  // namespace moebench
