// SPDX-License-Identifier: Apache-2.0
// The world of comm/nccl/world.h, with what a test may replace.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/nccl/comm.h"
#include "comm/world.h"

namespace moebench {

class NcclWorld final : public World {
 public:
  NcclWorld(std::unique_ptr<World> control, double timeout_s, MakeQueue make_queue);

  std::string_view name() const override { return "nccl"; }
  std::string library() const override;
  int rank() const override { return control_->rank(); }
  int size() const override { return control_->size(); }
  int local_size() const override { return control_->local_size(); }
  int local_rank() const override { return control_->local_rank(); }

  void barrier() override { control_->barrier(); }
  std::vector<double> gather(std::span<const double> mine) override { return control_->gather(mine); }
  std::vector<std::string> gather_text(const std::string& mine) override {
    return control_->gather_text(mine);
  }
  void wait_idle() override { control_->wait_idle(); }
  std::string broadcast(const std::string& text) override { return control_->broadcast(text); }
  std::unique_ptr<Comm> make_comm(Memory& memory, StreamView stream) override;
  std::unique_ptr<World> first(int ranks) override;
  void abort(int code) override { control_->abort(code); }

 private:
  std::shared_ptr<NcclCommunicator> join();

  std::unique_ptr<World> control_;
  double timeout_s_;
  MakeQueue make_queue_;
  std::shared_ptr<NcclCommunicator> joined_;  ///< of all ranks; making it takes long, so it is made once
};

}  // namespace moebench
