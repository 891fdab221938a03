// SPDX-License-Identifier: Apache-2.0
#include "cli/repro.h"

#include <filesystem>

#include "base/text.h"

namespace moebench {
namespace {

std::string quoted(const std::string& word) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,/:@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

/// How the launcher is told the number of ranks.
std::string_view launcher_of(const Launch& launch) {
  if (launch.launcher == "srun") return "srun -n";
  if (launch.launcher == "torchrun") return "torchrun --no-python --nproc-per-node";
  return "mpirun -np";
}

/// "a.repeat.json" for "a.json", "results/repeat/" for "results/".
std::string another_name(const std::string& path) {
  if (path == "-") return path;
  if (path.ends_with('/')) return path + "repeat/";
  const std::filesystem::path given(path);
  const std::string name = cat(given.stem().string(), ".repeat", given.extension().string());
  return (given.parent_path() / name).string();
}

/// Whether a flag, "--csv" or "MOEBENCH_CSV", names what is written.
bool writes(std::string_view flag) {
  for (const std::string_view name : {"json", "csv", "trace"})
    if (flag == cat("--", name) || flag == variable_of(name)) return true;
  return false;
}

bool is_left_out(std::string_view flag) {
  for (const std::string_view name : {"resume", "force"})
    if (flag == cat("--", name) || flag == variable_of(name)) return true;
  return false;
}

}  // namespace

std::string repro_line(const std::vector<std::string>& argv, const Launch& launch,
                       const Variables& environment) {
  std::vector<std::string> words;
  for (const auto& [name, value] : environment)
    if (!is_left_out(name))
      words.push_back(cat(name, "=", quoted(writes(name) ? another_name(value) : value)));
  if (launch.size > 1 && launch.launcher != "moebench")
    words.push_back(cat(launcher_of(launch), " ", launch.size));
  words.emplace_back("moebench");
  for (std::size_t i = 1; i < argv.size(); ++i) {
    const std::size_t equals = argv[i].find('=');
    const std::string flag = argv[i].substr(0, equals);
    if (is_left_out(flag)) continue;
    if (writes(flag) && equals != std::string::npos) {
      words.push_back(quoted(cat(flag, "=", another_name(argv[i].substr(equals + 1)))));
      continue;
    }
    words.push_back(quoted(argv[i]));
    if (writes(flag) && i + 1 < argv.size()) words.push_back(quoted(another_name(argv[++i])));
  }
  return join(words, " ");
}

}  // namespace moebench
