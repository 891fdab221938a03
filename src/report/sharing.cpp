// SPDX-License-Identifier: Apache-2.0
#include "report/sharing.h"

#include <map>
#include <set>

#include "base/text.h"

namespace moebench {
namespace {

/// The numbers that "0-3,8" lists.
std::set<std::int64_t> numbers_of(const std::string& list) {
  std::set<std::int64_t> numbers;
  for (const std::string& part : split(list, ',')) {
    const auto ends = split(part, '-');
    const auto first = to_int(ends.front()), last = to_int(ends.back());
    if (!first || !last) return {};
    for (auto number = *first; number <= *last; ++number) numbers.insert(number);
  }
  return numbers;
}

struct Host {
  std::size_t ranks = 0;
  bool known = true;  ///< of each rank, where it may run
  std::set<std::int64_t> cores;
};

}  // namespace

std::vector<std::string> sharing_of(const Machine& machine) {
  std::map<std::string, std::size_t> of_gpu;
  std::map<std::string, Host> hosts;
  for (const RankInfo& rank : machine.ranks) {
    if (!rank.uuid.empty()) ++of_gpu[rank.uuid];
    Host& host = hosts[rank.host];
    const auto cores = numbers_of(rank.cores);
    ++host.ranks;
    host.known &= !cores.empty();
    host.cores.insert(cores.begin(), cores.end());
  }
  std::vector<std::string> sentences;
  for (const auto& [uuid, ranks] : of_gpu)
    if (ranks > 1) sentences.push_back(cat(ranks, " ranks share 1 GPU (", uuid, "): they take turns"));
  for (const auto& [name, host] : hosts)
    if (host.known && host.ranks > host.cores.size())
      sentences.push_back(cat(host.ranks, " ranks share ", host.cores.size(), " hardware thread",
                              host.cores.size() == 1 ? "" : "s", " of ", name, ": they take turns"));
  return sentences;
}

}  // namespace moebench
