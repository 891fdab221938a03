// SPDX-License-Identifier: Apache-2.0
#include "report/record_json.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "report/routing_fields.h"
#include "suite/flag.h"

namespace moebench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::array kTimes{"total", "forward", "backward", "sync"};

Stage parse_stage(std::string_view word) {
  std::vector<std::string> words;
  for (const StageInfo& stage : kStages) {
    if (stage.name == word) return stage.stage;
    words.emplace_back(stage.name);
  }
  throw_unknown("stage", word, words);
}

Pass parse_pass(std::string_view word) {
  std::vector<std::string> words;
  for (const Pass pass : kPasses) {
    if (name_of(pass) == word) return pass;
    words.emplace_back(name_of(pass));
  }
  throw_unknown("pass", word, words);
}

/// A figure that fewer than `fewest` samples cannot know is null.
template <class Io, class Value>
void figure_of(Io& io, const char* key, Value& value, int n, int fewest) {
  if constexpr (Io::kReads)
    io.known(key, value);
  else if (n < fewest)
    io.known(key, std::nan(""));
  else
    io(key, value);
}

/// In a const record for a writer, in a mutable one for a reader.
template <class Io, class S>
void summary_fields(Io& io, S& s) {
  constexpr int kInterval = 6;  // as many as an interval of the median needs
  io("n", s.n);
  io("mean_us", s.mean);
  figure_of(io, "stdev_us", s.stdev, s.n, 2);
  io("min_us", s.min);
  io("max_us", s.max);
  figure_of(io, "p5_us", s.p5, s.n, 20);
  figure_of(io, "p25_us", s.p25, s.n, 4);
  io("p50_us", s.p50);
  figure_of(io, "p75_us", s.p75, s.n, 4);
  figure_of(io, "p95_us", s.p95, s.n, 20);
  figure_of(io, "p99_us", s.p99, s.n, 100);
  figure_of(io, "noise_pct", s.noise_pct, s.n, kInterval);
  io("ci95_low_us", s.ci95_low, -kInfinity);
  io("ci95_high_us", s.ci95_high, kInfinity);
  if constexpr (Io::kReads) s.effective_n = std::nan("");
  io.known("effective_n", s.effective_n);
}

template <class Io, class T>
void time_fields(Io& io, T& t) {
  summary_fields(io, t.device);
  io("tflops", t.tflops);
  io("flops", t.flops);
  io("bytes", t.bytes);
  io("floor_us", t.floor_us, 0);
  io("limit_pct", t.limit_pct, 0);
  if (Io::kReads || !t.samples.empty()) io.numbers("samples_us", t.samples);
}

/// An object only where there is something to say.
template <class Io, class Optional, class Fields>
void optional_object(Io& io, const char* key, Optional& value, Fields fields) {
  if constexpr (Io::kReads) {
    if (io.find(key)) value.emplace();
  }
  if (value) io.object(key, [&](auto& inner) { fields(inner, *value); });
}

template <class Io, class R>
void drops_fields(Io& io, R& record) {
  optional_object(io, "drops", record.drops, [](auto& inner, auto& drops) {
    inner("dropped_pct", drops.dropped_pct);
    inner("lost_tokens", drops.lost_tokens);
    inner("kept_weight_pct", drops.kept_weight_pct);
  });
  optional_object(io, "losses", record.losses, [](auto& inner, auto& losses) {
    inner("aux", losses.aux);
    inner("z", losses.z);
  });
}

template <class Io, class I>
void check_item_fields(Io& io, I& item) {
  io("name", item.name);
  io("error", item.error);
  io("bound", item.bound);
  io.text("where", item.where);
  io.text("why_not", item.why_not);
}

/// The verdict follows from the rest: reports without it are read like others.
template <class Io, class R>
void check_fields(Io& io, R& record) {
  auto& check = record.check;
  io("mode", check.mode);
  std::string verdict(verdict_of(record));
  io.text("verdict", verdict);
  io("passed", check.passed);
  const auto item_fields = [](auto& inner, auto& item) { check_item_fields(inner, item); };
  io.list("items", check.items, item_fields);
  io.object(
      "recheck",
      [&](auto& again) {
        again("sets", check.rechecked_sets);
        again.list("items", check.recheck_items, item_fields);
      },
      check.rechecked_sets > 0);
}

template <class Io, class S>
void stage_fields(Io& io, S& s) {
  io.word("stage", s.stage, parse_stage);
  io.word("pass", s.pass, parse_pass);
  std::string fused_into = s.fused_into ? std::string(name_of(*s.fused_into)) : std::string();
  io.text("fused_into", fused_into);
  if constexpr (Io::kReads) {
    if (!fused_into.empty()) s.fused_into = parse_stage(fused_into);
  }
  if (Io::kReads || s.overlaps) io("overlaps", s.overlaps);
  io.object(
      "time", [&](auto& inner) { summary_fields(inner, s.time); }, !s.fused_into);
  io("flops", s.flops);
  io("bytes", s.bytes);
  io("link_bytes", s.link_bytes);
  io("floor_us", s.floor_us, 0);
  io("limit_pct", s.limit_pct, 0);
  std::string bound = s.floor_us > 0 ? std::string(name_of(s.bound)) : std::string();
  io.text("bound", bound);
  if constexpr (Io::kReads) {
    if (!bound.empty()) s.bound = parse_bound(bound);
  }
}

template <class Io, class M>
void memory_fields(Io& io, M& memory) {
  io("estimated_bytes", memory.estimated_bytes);
  io("weights_bytes", memory.weights_bytes);
  io("gradients_bytes", memory.gradients_bytes);
  io("activations_bytes", memory.activations_bytes);
  io("inputs_bytes", memory.inputs_bytes);
  io("workspace_bytes", memory.workspace_bytes);
  io("peak_bytes", memory.peak_bytes);
  io.object(
      "at_peak",
      [&](auto& split) {
        split("weights_bytes", memory.at_peak.weights);
        split("gradients_bytes", memory.at_peak.gradients);
        split("activations_bytes", memory.at_peak.activations);
        split("inputs_bytes", memory.at_peak.inputs);
        split("workspace_bytes", memory.at_peak.workspace);
      },
      memory.peak_bytes > 0);
  io("host_estimated_bytes", memory.host_estimated_bytes);
  io.known("resident_bytes", memory.resident_bytes);
  io("timed_allocations", memory.timed_allocations);
}

template <class Io, class D>
void device_fields(Io& io, D& device) {
  io("readings", device.readings);
  io("sm_min_mhz", device.sm_min_mhz, 0);
  io("sm_max_mhz", device.sm_max_mhz, 0);
  io("memory_min_mhz", device.memory_min_mhz, 0);
  io("memory_max_mhz", device.memory_max_mhz, 0);
  io("temperature_max_c", device.temperature_max_c, 0);
  io("power_mean_w", device.power_mean_w, 0);
  io("power_max_w", device.power_max_w, 0);
  io("clock_limits", device.clock_limits);
  io("throttled_samples", device.throttled_samples);
  if (Io::kReads || !device.throttled_at.empty()) io.numbers("throttled_at", device.throttled_at);
  io("energy_uj_per_token", device.energy_uj_per_token, 0);
  io("energy_s", device.energy_s, 0);
  io.text("energy_from", device.energy_from);
  io.text("energy_unknown", device.energy_unknown);
}

/// `p50_us` is `median_us` by the name that other medians have; a writer that knows only one is read, too.
template <class Io, class R>
void rank_fields(Io& io, R& ranks) {
  io("slowest", ranks.slowest);
  io.numbers("rows", ranks.rows);
  io.numbers("tokens", ranks.tokens);
  io.numbers("median_us", ranks.median_us);
  if constexpr (Io::kReads) {
    if (!ranks.median_us.empty()) return;
  }
  io.numbers("p50_us", ranks.median_us);
}

template <class Io, class R>
void timing_fields(Io& io, R& record, bool timed) {
  io.object(
      "time",
      [&](auto& times) {
        for (const char* key : kTimes) {
          if constexpr (Io::kReads) {
            if (times.find(key)) times.object(key, [&](auto& time) { time_fields(time, record.time[key]); });
          } else if (const auto found = record.time.find(key); found != record.time.end()) {
            times.object(key, [&](auto& time) { time_fields(time, found->second); });
          }
        }
      },
      timed);
  io.object(
      "host", [&](auto& host) { summary_fields(host, record.host); }, timed && record.host.n > 0);
  io.list(
      "stages", record.stages, [](auto& inner, auto& stage) { stage_fields(inner, stage); }, timed);
  io.object(
      "rates",
      [&](auto& rates) {
        rates("tokens_per_s", record.tokens_per_s, 0);
        rates("exchange_gbs", record.exchange_gbs, 0);
      },
      timed);
  io.object(
      "stop",
      [&](auto& stop) {
        stop("reason", record.stop.reason);
        stop.text("unmet", record.stop.unmet);
        stop("warmup", record.stop.warmup);
        stop("samples", record.stop.samples);
        stop("noise_target_pct", record.stop.noise_target_pct);
        stop.known("lag1", record.stop.lag1);
        stop.known("effective_n", record.stop.effective_n);
        stop("flags", record.stop.flags);
      },
      timed);
  io.object(
      "repetitions",
      [&](auto& repetitions) {
        repetitions.numbers("median_us", record.repetitions.median_us);
        repetitions.known("within_pct", record.repetitions.within_pct);
        repetitions("between_pct", record.repetitions.between_pct);
      },
      timed && !record.repetitions.median_us.empty());
  io.object(
      "ranks", [&](auto& ranks) { rank_fields(ranks, record.ranks); }, timed);
}

/// Null with the reason beside it where nothing was read.
template <class Io, class R>
void sensor_fields(Io& io, R& record, bool timed) {
  io.object(
      "device", [&](auto& device) { device_fields(device, record.device); },
      timed && record.device.readings > 0);
  std::string unknown = timed ? record.device.unknown : std::string();
  io.text("device_unknown", unknown);
  if constexpr (Io::kReads) record.device.unknown = unknown;
}

template <class Io, class R>
void record_fields(Io& io, R& record, bool timed) {
  io.text("run", record.run);
  io.word("status", record.status, parse_status);
  io.text("reason", record.reason);
  io.object("check", [&](auto& check) { check_fields(check, record); });
  io.object("load", [&](auto& load) {
    load.object("rows_per_expert", [&](auto& rows) { load_fields(rows, record.rows_per_expert); });
    load.object("rows_per_rank", [&](auto& rows) { load_fields(rows, record.rows_per_rank); });
    drops_fields(load, record);
  });
  routing_fields(io, record.routing);
  timing_fields(io, record, timed);
  io.object("memory", [&](auto& memory) { memory_fields(memory, record.memory); });
  sensor_fields(io, record, timed);
  io.text("math", record.math);
  io("queue_us", record.queue_us, 0);
  io("setup_us", record.setup_us, 0);
  io("comm_us", record.comm_us, 0);
  io("first_iteration_us", record.first_iteration_us, 0);
  io("capture_us", record.capture_us, 0);
  io("warnings", record.warnings);
}

/// A number if the text is how JSON writes that number, else the text: "8" → 8, "zipf:1.2" → "zipf:1.2".
Json scalar(const std::string& text) {
  if (const auto whole = to_int(text); whole && cat(*whole) == text) return *whole;
  if (const auto real = to_double(text); real && Json(*real).dump() == text) return *real;
  return text;
}

Json pairs_to_json(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Json json = Json::object();
  for (const auto& [key, value] : pairs) json[key] = scalar(value);
  return json;
}

std::vector<std::pair<std::string, std::string>> pairs_from_json(const Json* json, const std::string& where) {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (!json) return pairs;
  if (!json->is_object()) throw UsageError(cat(where, ": expected an object, found ", json->type_name()));
  for (const auto& [key, value] : json->items()) {
    if (!value.is_string() && !value.is_number())
      throw UsageError(cat(where, ".", key, ": expected a number or a text, found ", value.type_name()));
    pairs.emplace_back(key, value.is_string() ? value.get<std::string>() : value.dump());
  }
  return pairs;
}

/// The case that has these settings; those that this program does not know are passed over.
Case case_of(const std::vector<std::pair<std::string, std::string>>& settings, const std::string& where) {
  Case bench_case;
  for (const Flag& flag : flags())  // in this order: a later flag may build on an earlier one
    for (const auto& [key, value] : settings) {
      if (key != flag.name) continue;
      const auto number = to_int(value);
      if (flag.number && (!number || *number < flag.min || *number > flag.max))
        throw UsageError(cat(where, key, ": expected a whole number from ", flag.min, " to ", flag.max,
                             ", found ", value));
      try {
        flag.write(bench_case, value);
      } catch (const UsageError& error) {
        throw UsageError(cat(where, key, ": ", error.what()));
      }
    }
  return bench_case;
}

}  // namespace

Json to_json(const Record& record) {
  const bool timed = has_times(record);
  Record copy = record;
  if (!timed) copy.queue_us = copy.setup_us = copy.comm_us = copy.first_iteration_us = copy.capture_us = 0;
  Json json = Json::object();
  json["id"] = record.id.empty() ? id_of(record.bench_case) : record.id;
  json["axes"] = pairs_to_json(record.bench_case.axes);
  json["case"] = pairs_to_json(record.bench_case.settings());
  std::vector<std::string> odd;
  JsonWriter writer(json, "", odd);
  record_fields(writer, copy, timed);
  auto& warnings = copy.warnings;
  for (const auto& sentence : odd)
    if (std::find(warnings.begin(), warnings.end(), sentence) == warnings.end()) warnings.push_back(sentence);
  json["warnings"] = warnings;
  return json;
}

std::vector<std::string> paths_of_record() {
  Record record;
  for (const char* key : kTimes) record.time[key] = {};
  record.drops.emplace();
  record.losses.emplace();
  std::vector<std::string> paths{"id"};
  for (const Flag& flag : flags()) paths.push_back(cat("case.", flag.name));
  JsonPaths io(paths);
  record_fields(io, record, true);
  return paths;
}

Record record_from_json(const Json& json, const std::string& where) {
  JsonReader reader(json, where);
  Record record;
  const auto settings = pairs_from_json(reader.find("case"), where + "case");
  record.bench_case = case_of(settings, where + "case.");
  record.bench_case.axes = pairs_from_json(reader.find("axes"), where + "axes");
  record_fields(reader, record, true);
  reader("id", record.id);
  if (record.id.empty()) record.id = id_of(record.bench_case);
  return record;
}

std::string text_of(const Json& json, bool indented) {
  return json.dump(indented ? 2 : -1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace moebench
