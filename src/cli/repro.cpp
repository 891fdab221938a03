// SPDX-License-Identifier: Apache-2.0
#include "cli/repro.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>

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

/// The launcher's option for the number of ranks.
std::string_view launcher_of(const Launch& launch) {
  if (launch.launcher == "srun") return "srun -n";
  if (launch.launcher == "torchrun") return "torchrun --no-python --nproc-per-node";
  return "mpirun -np";
}

/// The command line of the process that started this one: mpirun itself, for the ranks of its host.
std::vector<std::string> parent_words() {
  std::ifstream file(cat("/proc/", getppid(), "/cmdline"), std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  auto words = split(text, '\0');
  if (!words.empty() && words.back().empty()) words.pop_back();
  return words;
}

std::string base_name(const std::string& path) { return std::filesystem::path(path).filename().string(); }

/// "mpirun --oversubscribe -np 4": what stood before the program; without the values of variables, which may be secret.
/// Empty where the parent is no launcher of this program.
std::string launcher_words(const std::vector<std::string>& parent, const std::string& program) {
  constexpr std::array kLaunchers{"mpirun", "mpiexec", "orterun", "prterun"};
  if (parent.empty()) return {};
  const std::string launcher = base_name(parent[0]);
  const auto known = [&](const char* name) { return launcher == name || launcher == cat(name, ".openmpi"); };
  if (std::none_of(kLaunchers.begin(), kLaunchers.end(), known)) return {};
  std::string text = launcher;
  for (std::size_t i = 1; i < parent.size(); ++i) {
    if (base_name(parent[i]) == base_name(program)) return text;
    const bool is_variable = parent[i - 1] == "-x";
    text += cat(" ", quoted(is_variable ? parent[i].substr(0, parent[i].find('=')) : parent[i]));
  }
  return {};
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
  bool knows_launcher = true;
  if (launch.size > 1 && launch.launcher != "moebench") {
    const std::string known = launcher_words(parent_words(), argv[0]);
    knows_launcher = !known.empty();
    words.push_back(knows_launcher ? known : cat(launcher_of(launch), " ", launch.size));
  }
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
  if (!knows_launcher) words.emplace_back("# other options of the launcher are not known");
  return join(words, " ");
}

}  // namespace moebench
