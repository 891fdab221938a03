// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>
#include <vector>

#include "base/thread_pool.h"

namespace moebench {
namespace {

TEST(ThreadPool, VisitsEveryIndexOnceForAnyCountAndGrain) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    for (const std::int64_t count : {0, 1, 2, 7, 64, 1001})
      for (const std::int64_t grain : {1, 3, 64}) {
        std::vector<int> visits(count);
        pool.parallel_for(count, grain, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) ++visits[i];
        });
        EXPECT_EQ(visits, std::vector<int>(count, 1)) << threads << " threads, grain " << grain;
      }
  }
}

TEST(ThreadPool, SharesAreMultiplesOfTheGrain) {
  ThreadPool pool(3);
  std::atomic<int> odd = 0;
  pool.parallel_for(100, 8, [&](std::int64_t begin, std::int64_t end) {
    if (begin % 8 != 0 || (end % 8 != 0 && end != 100)) ++odd;
  });
  EXPECT_EQ(odd, 0);
}

TEST(ThreadPool, RunsManyLoopsInARow) {
  ThreadPool pool(4);
  std::atomic<std::int64_t> sum = 0;
  for (int loop = 0; loop < 2000; ++loop)
    pool.parallel_for(16, 1, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
  EXPECT_EQ(sum, 2000 * 16);
}

/// The sum of many loops whose workers spin for `spin`, with pauses of every length around it.
std::int64_t sum_of_loops_with_pauses(int threads, std::chrono::microseconds spin) {
  ThreadPool pool(threads, spin);
  std::atomic<std::int64_t> sum = 0;
  for (int loop = 0; loop < 100; ++loop) {
    pool.parallel_for(16, 1, [&](std::int64_t begin, std::int64_t end) {
      if (loop % 16 == 0 && begin > 0) std::this_thread::sleep_for(2 * spin);  // the caller sleeps as well
      sum += end - begin;
    });
    if (loop % 4 == 0) std::this_thread::sleep_for(spin * (loop % 16) / 8);
  }
  return sum;
}

TEST(ThreadPool, LosesNoLoopWhetherItsThreadsSpinOrSleep) {
  for (const int threads : {2, 5})
    for (const int spin_us : {0, 1, 50, 500})
      EXPECT_EQ(sum_of_loops_with_pauses(threads, std::chrono::microseconds(spin_us)), 100 * 16)
          << threads << " threads that spin for " << spin_us << " us";
}

TEST(ThreadPool, ItsThreadsSleepOnceTheyHaveSpunLongEnough) {
  ThreadPool pool(2, std::chrono::microseconds(100));
  pool.parallel_for(2, 1, [](std::int64_t, std::int64_t) {});
  const auto cpu_us = [] { return std::clock() * 1e6 / CLOCKS_PER_SEC; };
  const double before = cpu_us();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(cpu_us() - before, 50'000);
}

}  // namespace
}  // namespace moebench
