// SPDX-License-Identifier: Apache-2.0
#include "comm/agreement.h"

#include <array>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/text.h"

namespace moebench {
namespace {

/// FNV-1a, the same on every machine.
std::uint64_t hash(std::string_view text) {
  std::uint64_t value = 0xCBF29CE484222325;
  for (const unsigned char byte : text) value = (value ^ byte) * 0x100000001B3;
  return value;
}

constexpr char kEnd = '\0';  // no argument and no variable holds it

std::string text_of(const Identity::Named& named) {
  std::string text;
  for (const auto& [name, value] : named) text += cat(name, kEnd, value, kEnd);
  return text;
}

/// What packed() made. What is malformed is left out: it is then different, which is all that matters.
Identity unpacked(std::string_view text) {
  const auto words = split(text, kEnd);
  Identity identity{.build = words[0]};
  for (std::size_t i = 1; i + 2 < words.size(); i += 3)
    (words[i] == "c" ? identity.command : identity.environment).emplace_back(words[i + 1], words[i + 2]);
  return identity;
}

/// Values of one name, as they were given; a flag may be given more than once.
std::map<std::string, std::string> by_name(const Identity::Named& named) {
  std::map<std::string, std::string> values;
  for (const auto& [name, value] : named) values[name] += cat(values[name].empty() ? "" : " ", value);
  return values;
}

std::string first_difference(const Identity::Named& first, const Identity::Named& other, int rank) {
  const auto a = by_name(first), b = by_name(other);
  const auto shown = [](const std::map<std::string, std::string>& values, const std::string& name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string("not given") : cat("'", found->second, "'");
  };
  std::map<std::string, std::string> all(a);
  all.insert(b.begin(), b.end());
  for (const auto& [name, value] : all)
    if (const auto mine = shown(a, name), its = shown(b, name); mine != its)
      return cat(name, " is ", its, " on rank ", rank, " and ", mine, " on rank 0");
  return {};
}

}  // namespace

Greeting greeting_of(const Identity& identity) {
  Greeting greeting;
  greeting.build = hash(identity.build);
  greeting.command = hash(text_of(identity.command));
  greeting.environment = hash(text_of(identity.environment));
  return greeting;
}

std::string packed(const Identity& identity) {
  std::string text = identity.build + kEnd;
  for (const auto& [name, value] : identity.command) text += cat("c", kEnd, name, kEnd, value, kEnd);
  for (const auto& [name, value] : identity.environment) text += cat("e", kEnd, name, kEnd, value, kEnd);
  return text;
}

std::string why_not_alike(const Identity& first, int rank, const Greeting& greeting, std::string_view text) {
  const Greeting mine = greeting_of(first);
  if (greeting == mine) return {};
  const std::string advice = "; start all ranks alike, with one build";
  if (std::memcmp(greeting.magic, mine.magic, sizeof mine.magic) != 0 || greeting.protocol != mine.protocol)
    return cat("rank ", rank, " is of another build than rank 0, with another protocol", advice);
  const Identity other = unpacked(text);
  if (other.build != first.build)
    return cat("rank ", rank, " is ", other.build, " and rank 0 is ", first.build, advice);
  std::string found = first_difference(first.command, other.command, rank);
  if (found.empty()) found = first_difference(first.environment, other.environment, rank);
  if (found.empty()) found = cat("the flags of rank ", rank, " come in another order than those of rank 0");
  return found + advice;
}

void require_agreement(World& world, const Identity& identity) {
  if (world.size() == 1) return;
  constexpr std::size_t kNumbers = sizeof(Greeting) / sizeof(double);
  const Greeting mine = greeting_of(identity);
  std::array<double, kNumbers> numbers;  // carried as they are, bit for bit
  std::memcpy(numbers.data(), &mine, sizeof mine);
  const auto all = world.gather(numbers);
  std::vector<Greeting> greetings(static_cast<std::size_t>(world.size()));
  std::memcpy(static_cast<void*>(greetings.data()), all.data(), greetings.size() * sizeof(Greeting));
  bool alike = true, can_tell = true;
  for (const Greeting& greeting : greetings) {
    alike = alike && greeting == greetings[0];
    can_tell = can_tell && greeting.protocol == mine.protocol;
  }
  if (alike) return;
  std::vector<std::string> texts(greetings.size());
  if (can_tell) texts = world.gather_text(packed(identity));
  const Identity first = can_tell ? unpacked(texts[0]) : identity;
  for (std::size_t rank = 1; rank < greetings.size(); ++rank)
    if (greetings[rank] != greetings[0])
      throw UsageError(why_not_alike(first, static_cast<int>(rank), greetings[rank], texts[rank]));
}

}  // namespace moebench
