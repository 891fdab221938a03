// SPDX-License-Identifier: Apache-2.0
// Records and a report made by hand, with something in every field.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "base/text.h"
#include "report/document.h"

namespace moebench::example {

/// `samples` in an order without correlation, always the same.
inline std::vector<double> shuffled(std::vector<double> samples) {
  std::minstd_rand random(7);
  for (std::size_t i = samples.size(); i > 1; --i) std::swap(samples[i - 1], samples[random() / 16 % i]);
  return samples;
}

/// `n` samples evenly from 0.99 to 1.01 times `median_us`, in no order.
inline std::vector<double> samples_around(double median_us, int n = 21) {
  std::vector<double> samples;
  for (int i = 0; i < n; ++i) samples.push_back(median_us * (0.99 + 0.02 * i / (n - 1)));
  return shuffled(std::move(samples));
}

inline TimeRecord time_record(std::vector<double> samples, double flops) {
  TimeRecord time{.device = summarize(samples), .samples = std::move(samples), .flops = flops};
  time.tflops = flops / time.device.p50 / 1e6;
  time.floor_us = time.device.p50 / 2;
  time.limit_pct = 50;
  return time;
}

inline DeviceRecord device_record() {
  return {.readings = 40,
          .sm_min_mhz = 1620,
          .sm_max_mhz = 1980,
          .memory_min_mhz = 3201,
          .memory_max_mhz = 3201,
          .temperature_max_c = 55,
          .power_mean_w = 612,
          .power_max_w = 650,
          .clock_limits = {"power cap"},
          .throttled_samples = 2,
          .throttled_at = {3, 4},
          .energy_uj_per_token = 31.25,
          .energy_s = 2.5,
          .energy_from = "counter"};
}

inline RoutingRecord routing(const LoadStats& of_experts) {
  StepRecord step{.rows_per_expert = of_experts, .ranks_per_token = 1.5, .time = {.n = 4, .p50 = 12}};
  step.rank_rows = {8192}, step.expert_rows = {5000, 3192};
  RoutingRecord routing{.how = "replayed", .ranks_per_token = 1.5, .steps = {step}};
  routing.trace = {.name = "a.npy",
                   .sha256 = std::string(64, 'a'),
                   .format = "npy experts",
                   .selection = "layer 3, all steps",
                   .steps = 1,
                   .layer = 3,
                   .least_tokens = 7,
                   .most_tokens = 9};
  routing.trace_fitting = "tokens are cut";
  routing.placement = {.window = 2,
                       .expert_bytes = 3e6,
                       .move_us_floor = 120,
                       .steps = {{.before = 1.75, .planned = 1.25, .oracle = 1, .moved = 6, .busiest = 2}}};
  return routing;
}

inline MemoryRecord memory_record() {
  return {
      .estimated_bytes = 5e9,
      .weights_bytes = 1e9,
      .gradients_bytes = 1e9,
      .activations_bytes = 2e9,
      .inputs_bytes = 1e9,
      .workspace_bytes = 1e8,
      .peak_bytes = 4.5e9,
      .at_peak = {.weights = 1e9, .gradients = 1e9, .activations = 1.5e9, .inputs = 0.9e9, .workspace = 1e8},
      .host_estimated_bytes = 2e8,
      .resident_bytes = 4.8e9,
      .timed_allocations = 0};
}

inline Record record(int experts, const std::string& engine, double median_us) {
  Record r;
  r.bench_case.shape = {.tokens = 4096, .hidden = 1024, .ffn = 4096, .experts = experts, .top_k = 2};
  r.bench_case.engine = engine;
  r.bench_case.axes = {{"experts", cat(experts)}, {"engine", engine}};
  r.id = id_of(r.bench_case);
  r.check = {.mode = "quick", .passed = true, .items = {{"y", 3e-7, 1e-5, "token 17"}, {"dx", 4e-7, 1e-5}}};
  r.check.rechecked_sets = 3;
  r.check.recheck_items = {{"y", 2e-7, 1e-5, "token 5 of input set 1"}};
  r.rows_per_expert = {.min = 1, .max = 4096, .median = 1024, .mean = 1024.5, .imbalance = 3, .empty = 1};
  r.routing = routing(r.rows_per_expert);
  r.rows_per_rank = {.min = 8192, .max = 8192, .median = 8192, .mean = 8192, .imbalance = 0, .empty = 0};
  r.drops = DropsRecord{.dropped_pct = 12.5, .lost_tokens = 3, .kept_weight_pct = 90.25};
  r.losses = LossRecord{.aux = 0.0125, .z = 0.002};
  r.time["total"] = time_record(samples_around(median_us), 3e11);
  r.time["forward"] = time_record(samples_around(median_us / 3), 1e11);
  r.time["backward"] = time_record(samples_around(median_us / 1.5), 2e11);
  r.host = summarize(samples_around(median_us * 1.1));
  const Summary time = summarize(samples_around(median_us / 4));
  r.stages = {{.stage = Stage::plan, .pass = Pass::forward, .fused_into = Stage::experts},
              {.stage = Stage::experts,
               .pass = Pass::forward,
               .time = time,
               .flops = 1e11,
               .bytes = 1e9,
               .floor_us = median_us / 8,
               .limit_pct = 50,
               .bound = Bound::compute},
              {.stage = Stage::dispatch, .pass = Pass::backward, .time = time, .link_bytes = 1e6}};
  r.tokens_per_s = 4096 / median_us * 1e6;
  r.exchange_gbs = 1.25;
  r.stop = {.reason = "noise",
            .warmup = 3,
            .samples = 21,
            .noise_target_pct = 1,
            .lag1 = 0.25,
            .effective_n = 20,
            .flags = {"bimodal"}};
  r.run = "20260131T120000Z-host-42";
  r.ranks = {
      .slowest = 1, .rows = {8000, 8384}, .tokens = {2048, 2048}, .median_us = {median_us * 0.9, median_us}};
  r.memory = memory_record();
  r.device = device_record();
  r.math = "fp32 SIMD, fp32 accumulation";
  r.queue_us = median_us / 10;
  r.setup_us = 1234.5;
  r.comm_us = 234.5;
  r.first_iteration_us = 98765;
  r.capture_us = 4321;
  return r;
}

/// A record that has no time.
inline Record without_time(int experts, Status status, const std::string& reason) {
  Record r = record(experts, "loop", 1000);
  r.status = status;
  r.reason = reason;
  r.check.passed = status != Status::incorrect;
  return r;
}

inline Environment environment() {
  return {.host = "host",
          .os = "Debian 12",
          .kernel = "Linux 6.1",
          .container = "docker",
          .load_average = 0.25,
          .variables = {{"OMP_NUM_THREADS", "2"}},
          .cpu = {.model = "Some CPU",
                  .architecture = "x86_64",
                  .sockets = 1,
                  .cores = 2,
                  .threads = 4,
                  .numa_nodes = 1,
                  .usable_threads = 4,
                  .quota_threads = 2,
                  .caches = {{.level = 3, .type = "Unified", .bytes = 33554432, .shared_by = 4}},
                  .memory_bytes = 8e9,
                  .governor = "performance",
                  .virtual_machine = true,
                  .turbo = false},
          .warnings = {"CPU turbo is on"}};
}

inline Document document() {
  Document d;
  d.tool = {.version = "0.1.0",
            .commit = std::string(40, 'a'),
            .dirty = true,
            .build_type = "Release",
            .compiler = "GNU 12.2.0",
            .flags = "-O3",
            .features = {"mpi"}};
  d.run = {.id = "20260131T120000Z-host-42",
           .argv = {"moebench", "run", "--experts", "8,16"},
           .repro = "mpirun -np 2 moebench run --experts 8,16",
           .start = "2026-01-31T12:00:00Z",
           .end = "2026-01-31T12:01:00Z",
           .wall_s = 60.5,
           .ranks_setup_us = 1e5,
           .backend_setup_us = 3e5,
           .exit_code = 6};
  d.earlier_runs = {{.id = "20260130T120000Z-host-41",
                     .argv = {"moebench", "run", "--experts", "8"},
                     .repro = "moebench run --experts 8",
                     .start = "2026-01-30T12:00:00Z",
                     .commit = std::string(40, 'b'),
                     .host = "host",
                     .load_average = 0.5}};
  d.suite = SuiteInfo{"smoke", "Does everything work?", "Yes.", "{\"name\": \"smoke\"}"};
  d.environment = environment();
  d.machine = {.gpus = {{"Some GPU", 132, 8e10, 5e7}},
               .mpi = MpiInfo{"Open MPI 4.1.4", "mpirun"},
               .ranks = {{0, "host", 42, "cpu"}, {1, "host", 43, "gpu", "0000:19:00.0", "GPU-4d2c"}},
               .libraries = {{"OpenBLAS", "0.3.21"}}};
  d.peaks = {{.backend = "cpu",
              .dtype = DType::fp32,
              .ranks = 2,
              .gemm_tflops = 0.2,
              .copy_gbs = 20,
              .launch_us = 3}};
  d.points = {record(8, "loop", 183420), record(16, "loop", 184100), record(8, "naive-mask", 250000),
              without_time(32, Status::incorrect, "y: error 0.031 exceeds bound 1e-05"),
              without_time(64, Status::skipped, "needs 12.0 GB, 8.0 GB are free")};
  d.warnings = {"one of all"};
  return d;
}

/// A directory of this process' own, removed at the end.
class Directory {
 public:
  explicit Directory(const std::string& name)
      : path_(std::filesystem::temp_directory_path() / cat("moebench-", name, "-", getpid())) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~Directory() { std::filesystem::remove_all(path_); }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

inline std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::vector<std::string> names_in(const Directory& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory / ""))
    names.push_back(entry.path().filename().string());
  return names;
}

inline void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace moebench::example
