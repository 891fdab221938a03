// SPDX-License-Identifier: Apache-2.0
// A CPU backend whose clock, memory and faults follow a script.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "backends/cpu/cpu_backend.h"
#include "base/error.h"
#include "fakes/fake_sensors.h"

namespace moebench {

/// What the fake does differently. Tests change it while it runs.
struct Script {
  /// Microseconds between two neighbouring timestamps, by how many times timestamp 0 was recorded: the iteration.
  std::function<double(int iteration, int mark)> us = [](int, int) { return 100.0; };
  std::size_t available_bytes = std::size_t{1} << 28;  ///< little: ceilings are measured on what fits
  std::function<void()> before_combine = [] {};        ///< may throw
  std::function<void(bool open)> profile = [](bool) {};
  bool spoil_output = false;  ///< combine writes a wrong number
  int spoilt_token = -1;      ///< combine writes one in this row
  bool has_graphs = true;
  bool has_queue = false;      ///< as a device that works while the host queues
  bool lose_launches = false;  ///< a graph that is launched does nothing
  bool engine_waits = false;   ///< as an engine that reads the sizes on the host
  std::string engine_refuses;  ///< what every engine says of every shape
};

class FakeMemory final : public Memory {
 public:
  FakeMemory(Memory& inner, const Script& script) : inner_(inner), script_(script) {}
  bool host_accessible() const override { return true; }
  void* allocate(std::size_t bytes) override {
    void* pointer = inner_.allocate(bytes);
    count_allocation(bytes);
    return pointer;
  }
  void deallocate(void* pointer, std::size_t bytes) noexcept override {
    inner_.deallocate(pointer, bytes);
    count_deallocation(bytes);
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes) override {
    inner_.copy_to_host(host, device, bytes);
  }
  void copy_from_host(void* device, const void* host, std::size_t bytes) override {
    inner_.copy_from_host(device, host, bytes);
  }
  std::size_t available_bytes() const override { return script_.available_bytes; }

 private:
  Memory& inner_;
  const Script& script_;
};

class FakeTimestamps final : public Timestamps {
 public:
  explicit FakeTimestamps(const Script& script) : script_(script) {}
  void record(int mark) override { iteration_ += mark == 0; }
  double elapsed_us(int from, int to) const override {
    double sum = 0;
    for (int mark = from; mark < to; ++mark) sum += script_.us(iteration_ - 1, mark);
    return sum;
  }

 private:
  const Script& script_;
  int iteration_ = 0;
};

/// Runs when launched, as a graph does, and not when it is recorded.
class FakeGraph final : public Graph {
 public:
  FakeGraph(const Script& script, std::function<void()> work, int& launches)
      : script_(script), work_(std::move(work)), launches_(launches) {}
  void launch() override {
    ++launches_;
    if (!script_.lose_launches) work_();
  }

 private:
  const Script& script_;
  std::function<void()> work_;
  int& launches_;
};

class FakeEngine final : public Engine {
 public:
  FakeEngine(std::unique_ptr<Engine> inner, bool waits) : inner_(std::move(inner)), waits_(waits) {}
  EngineTraits traits() const override {
    EngineTraits traits = inner_->traits();
    traits.waits_for_sizes = waits_;
    return traits;
  }
  void reserve(std::int64_t rows) override { inner_->reserve(rows); }
  void forward(const ExpertsForward& args) override { inner_->forward(args); }
  void backward(const ExpertsBackward& args) override { inner_->backward(args); }

 private:
  std::unique_ptr<Engine> inner_;
  bool waits_;
};

class FakeBackend final : public Backend {
 public:
  Script script;
  int captures = 0, launches = 0;            ///< graphs recorded and replayed
  std::unique_ptr<FakeSensors> instruments;  ///< none unless a test puts them there
  std::vector<const void*> copied;           ///< where copy() wrote

  std::string_view name() const override { return "fake"; }
  const DeviceInfo& device() const override { return inner_->device(); }
  Memory& memory() override { return memory_; }
  StreamView stream() const override { return {script.has_queue ? const_cast<FakeBackend*>(this) : nullptr}; }
  bool supports(DType dtype) const override { return inner_->supports(dtype); }
  std::string math(DType dtype) const override { return "fake " + std::string(name_of(dtype)); }
  std::vector<std::string> engines() const override { return inner_->engines(); }
  using Capabilities::why_not;
  std::string why_not(std::string_view, const EngineShape&) const override { return script.engine_refuses; }
  std::unique_ptr<Engine> make_engine(std::string_view name, const EngineShape& shape) override {
    return std::make_unique<FakeEngine>(inner_->make_engine(name, shape), script.engine_waits);
  }
  std::unique_ptr<Timestamps> make_timestamps(int) override {
    return std::make_unique<FakeTimestamps>(script);
  }
  void synchronize() override {}
  void profile(bool open) override { script.profile(open); }
  bool has_graphs() const override { return script.has_graphs; }
  std::unique_ptr<Graph> capture(const std::function<void()>& work) override {
    ++captures;
    return std::make_unique<FakeGraph>(script, work, launches);
  }
  Sensors* sensors() override { return instruments.get(); }
  std::string why_no_sensors() const override { return "the fake backend has no sensors"; }
  void fill(TensorView tensor, const UniformField& field, std::int64_t first) override {
    inner_->fill(tensor, field, first);
  }
  void poison(TensorView tensor) override { inner_->poison(tensor); }
  void upload(TensorView tensor, std::span<const float> host) override { inner_->upload(tensor, host); }
  void download(std::span<float> host, TensorView tensor) override { inner_->download(host, tensor); }
  void gate(const GateForward& args) override { inner_->gate(args); }
  void gate(const GateBackward& args) override { inner_->gate(args); }
  void limit(const LimitRows& args) override { inner_->limit(args); }
  void plan(const PlanArgs& args) override { inner_->plan(args); }
  void pack(const PackForward& args) override { inner_->pack(args); }
  void regroup(const Regroup& args) override { inner_->regroup(args); }
  void pack(const PackBackward& args) override { inner_->pack(args); }
  void combine(const CombineForward& args) override {
    script.before_combine();
    inner_->combine(args);
    if (script.spoil_output) args.y.as<float>()[0] += 1;
    if (script.spoilt_token >= 0) args.y.slice(script.spoilt_token, 1).as<float>()[0] += 1;
  }
  void combine(const CombineBackward& args) override { inner_->combine(args); }
  void gemm(TensorView, TensorView, TensorView) override {}
  void activate(Activation activation, TensorView in, TensorView out) override {
    inner_->activate(activation, in, out);
  }
  void add(TensorView from, TensorView to) override { inner_->add(from, to); }
  void copy(TensorView, TensorView to) override { copied.push_back(to.data); }

 private:
  std::unique_ptr<Backend> inner_ = make_cpu_backend(1);
  FakeMemory memory_{inner_->memory(), script};
};

}  // namespace moebench
