// SPDX-License-Identifier: Apache-2.0
// A group of one rank: every exchange is a copy, nothing waits.
#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "comm/rows.h"
#include "comm/world.h"

namespace moebench {
namespace {

class SelfComm final : public Comm {
 public:
  explicit SelfComm(Memory& memory) : memory_(memory) {}

  std::string_view name() const override { return "self"; }
  int rank() const override { return 0; }
  int size() const override { return 1; }
  double timeout_s() const override { return 0; }  // it never waits

  void exchange_sizes(std::span<const std::int64_t> send, std::span<std::int64_t> recv) override {
    MB_ASSERT(send.size() == recv.size());
    std::copy(send.begin(), send.end(), recv.begin());
  }
  void exchange_rows(const RowExchange& exchange) override {
    check_exchange(exchange, *this);
    copy_own_rows(memory_, exchange, 0);
  }
  void all_reduce(TensorView) override {}
  std::unique_ptr<Comm> split(int) override { return std::make_unique<SelfComm>(memory_); }

 private:
  Memory& memory_;
};

class SelfWorld final : public World {
 public:
  std::string_view name() const override { return "self"; }
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int local_size() const override { return 1; }
  int local_rank() const override { return 0; }

  void barrier() override { throw_if_interrupted(); }
  void wait_idle() override { throw_if_interrupted(); }
  std::vector<double> gather(std::span<const double> mine) override { return {mine.begin(), mine.end()}; }
  std::vector<std::string> gather_text(const std::string& mine) override { return {mine}; }
  std::string broadcast(const std::string& text) override { return text; }
  std::unique_ptr<Comm> make_comm(Memory& memory, StreamView) override {
    return std::make_unique<SelfComm>(memory);
  }
  std::unique_ptr<World> first(int ranks) override {
    if (ranks != 1) throw UsageError(cat("cannot use ", ranks, " ranks of 1"));
    return std::make_unique<SelfWorld>();
  }
  // Not exit(): destructors of what is half built must not run, as on the other ranks of a real world.
  void abort(int code) override { std::_Exit(code); }
};

}  // namespace

std::unique_ptr<World> make_self_world() { return std::make_unique<SelfWorld>(); }

}  // namespace moebench
