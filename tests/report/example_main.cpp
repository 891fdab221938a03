// SPDX-License-Identifier: Apache-2.0
// report_example DIR: writes DIR/valid and DIR/invalid, for validate.py to judge by the schema.
#include <functional>
#include <iostream>

#include "report/example.h"
#include "report/record_json.h"

namespace {

using moebench::Json;
namespace fs = std::filesystem;

struct Break {
  const char* name;
  std::function<void(Json&)> apply;
};

/// Each breaks one rule. `points` 0 is ok, 3 is incorrect.
const std::vector<Break>& breaks() {
  static const std::vector<Break> all{
      {"other_schema", [](Json& r) { r["schema"] = "moebench.report/2"; }},
      {"unknown_key", [](Json& r) { r["extra"] = 1; }},
      {"unknown_key_in_a_point", [](Json& r) { r["points"][0]["extra"] = 1; }},
      {"number_as_text", [](Json& r) { r["points"][0]["time"]["total"]["p50_us"] = "1.5"; }},
      {"negative_time", [](Json& r) { r["points"][0]["time"]["total"]["min_us"] = -1; }},
      {"unknown_status", [](Json& r) { r["points"][0]["status"] = "fine"; }},
      {"ok_without_time", [](Json& r) { r["points"][0]["time"] = nullptr; }},
      {"time_of_a_wrong_result", [](Json& r) { r["points"][3]["time"] = r["points"][0]["time"]; }},
      {"stages_of_a_wrong_result", [](Json& r) { r["points"][3]["stages"] = r["points"][0]["stages"]; }},
      {"rates_of_a_wrong_result", [](Json& r) { r["points"][3]["rates"] = r["points"][0]["rates"]; }},
      {"ok_with_a_failed_check", [](Json& r) { r["points"][0]["check"]["passed"] = false; }},
      {"no_reason", [](Json& r) { r["points"][3]["reason"] = nullptr; }},
      {"no_id", [](Json& r) { r["points"][0].erase("id"); }},
      {"unknown_stage", [](Json& r) { r["points"][0]["stages"][0]["stage"] = "route"; }},
      {"time_of_a_fused_stage",
       [](Json& r) { r["points"][0]["stages"][0]["time"] = r["points"][0]["host"]; }},
      {"unknown_exit_code", [](Json& r) { r["run"]["exit_code"] = 7; }},
      {"local_time", [](Json& r) { r["run"]["start"] = "2026-01-31T12:00:00"; }},
      {"forbidden_variable", [](Json& r) { r["environment"]["variables"]["HOME"] = "/root"; }},
      {"no_peaks", [](Json& r) { r.erase("peaks"); }},
  };
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: report_example DIR\n";
    return 2;
  }
  const fs::path directory = argv[1];
  fs::remove_all(directory);
  fs::create_directories(directory / "valid");
  fs::create_directories(directory / "invalid");
  const auto write = [&](const std::string& name, const Json& json) {
    moebench::example::write(directory / (name + ".json"), moebench::text_of(json, true));
  };

  auto document = moebench::example::document();
  const Json full = to_json(document);
  write("valid/full", full);
  // Read and written again it must still be a report.
  write("valid/again", to_json(moebench::document_from_json(full, "")));
  write("valid/empty", to_json(moebench::Document{.run = {.start = "2026-01-31T12:00:00Z"}}));
  for (const auto& broken : breaks()) {
    Json json = full;
    broken.apply(json);
    write(std::string("invalid/") + broken.name, json);
  }
}
