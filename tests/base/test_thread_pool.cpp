// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <atomic>
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

}  // namespace
}  // namespace moebench
