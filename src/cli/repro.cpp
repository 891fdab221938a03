// SPDX-License-Identifier: Apache-2.0
#include "cli/repro.h"

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

}  // namespace

std::string repro_line(const std::vector<std::string>& argv, const Launch& launch,
                       const Variables& environment) {
  std::vector<std::string> words;
  bool writes = false, forces = false;
  for (const auto& [name, value] : environment) {
    if (name == "MOEBENCH_RESUME") continue;
    writes |= name == "MOEBENCH_JSON" || name == "MOEBENCH_CSV";
    words.push_back(cat(name, "=", quoted(value)));
  }
  if (launch.size > 1 && launch.launcher != "moebench")
    words.push_back(cat(launcher_of(launch), " ", launch.size));
  words.emplace_back("moebench");
  for (std::size_t i = 1; i < argv.size(); ++i) {
    if (argv[i] == "--resume") continue;
    writes |= argv[i].starts_with("--json") || argv[i].starts_with("--csv");
    forces |= argv[i] == "--force";
    words.push_back(quoted(argv[i]));
  }
  if (writes && !forces) words.emplace_back("--force");
  return join(words, " ");
}

}  // namespace moebench
