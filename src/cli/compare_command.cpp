// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iostream>

#include "base/text.h"
#include "cli/commands.h"
#include "report/comparison.h"
#include "report/durable_file.h"
#include "report/record_json.h"

namespace moebench {
namespace {

/// One report, or all of a directory in the order of their names: each a process of its own.
std::vector<Document> read_side(const std::string& given) {
  if (!std::filesystem::is_directory(given)) return {read_document(given)};
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(given))
    if (entry.path().extension() == ".json" && entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  if (files.empty()) throw EnvironmentError(cat("cannot read ", given, ": no report (*.json) is there"));
  std::vector<Document> documents;
  for (const auto& file : files) {
    try {
      documents.push_back(read_document(file));
    } catch (const UsageError& error) {
      throw EnvironmentError(cat("cannot read all reports of ", given, ": ", error.what()));
    }
  }
  return documents;
}

}  // namespace

void refuse_to_replace(const Options& options) {
  for (const std::string& file : {options.json, options.csv}) {
    if (file.empty() || file == "-") continue;
    require_writable(file);
    std::error_code error;
    if (!options.force && std::filesystem::exists(file, error))
      throw UsageError(cat(file, " already exists; give --force to replace it"));
  }
}

void show(const Comparison& comparison, const Options& options) {
  const bool taken = options.json == "-" || options.csv == "-";  // standard output, by one of the files
  (taken ? std::cerr : std::cout) << (options.markdown ? markdown_of(comparison) : text_of(comparison));
  const auto write = [](const std::string& file, const std::string& text) {
    if (file == "-")
      std::cout << text;
    else if (!file.empty())
      replace_file(file, text);
  };
  write(options.json, text_of(to_json(comparison), true) + "\n");
  write(options.csv, csv_of(comparison));
}

ExitCode compare_command(const Options& options) {
  refuse_to_replace(options);
  const std::string &name_a = options.arguments[0], &name_b = options.arguments[1];
  const Comparison comparison = compare(read_side(name_a), read_side(name_b),
                                        {.threshold_pct = options.threshold_pct,
                                         .filter = parse_filter(options.sweep.filter),
                                         .paired = options.paired,
                                         .name_a = name_a,
                                         .name_b = name_b});
  show(comparison, options);
  return comparison.exit_code();
}

}  // namespace moebench
