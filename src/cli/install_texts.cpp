// SPDX-License-Identifier: Apache-2.0
#include "cli/install_texts.h"

#include <algorithm>
#include <cctype>

#include "base/text.h"
#include "cli/help.h"
#include "cli/list_topics.h"
#include "cli/options_flags.h"
#include "suite/embedded.h"
#include "suite/presets.h"

namespace moebench {
namespace {

/// What may stand behind the flag, as far as it is known here; none where it is a number or a file.
std::vector<std::string> values_of(const FlagLine& flag) {
  std::vector<std::string> words;
  if (flag.name == "suite")
    for (const EmbeddedText& suite : embedded_suites()) words.emplace_back(suite.name);
  if (flag.name == "preset")
    for (const Preset& preset : presets()) words.emplace_back(preset.name);
  if (!words.empty() || flag.value.find('|') == std::string_view::npos) return words;
  for (const std::string& word : split(flag.value, '|'))
    if (std::none_of(word.begin(), word.end(), [](unsigned char c) { return std::isupper(c); }))
      words.push_back(word);
  return words;
}

bool takes_file(const FlagLine& flag) {
  return flag.value.find("FILE") != std::string_view::npos ||
         flag.value.find("DIR") != std::string_view::npos;
}

std::vector<std::string> names_of_commands() {
  std::vector<std::string> names;
  for (const Command command : all_commands()) names.emplace_back(name_of(command));
  return names;
}

/// What follows `help` and `list`.
std::vector<std::string> words_of(Command command) {
  if (command == Command::help) return help_topics();
  if (command == Command::list) return {kListTopics.begin(), kListTopics.end()};
  return {};
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

std::string bash_completion() {
  std::string values, flags;
  for (const Command command : all_commands()) {
    std::vector<std::string> names = words_of(command);
    for (const FlagLine& flag : flags_of(command)) {
      names.push_back(cat("--", flag.name));
      const auto words = values_of(flag);
      if (words.empty() && flag.value.empty()) continue;
      values +=
          cat("    ", name_of(command), ",--", flag.name, ") ",
              words.empty() ? takes_file(flag) ? "COMPREPLY=($(compgen -f -- \"$current\"))" : "COMPREPLY=()"
                            : cat("COMPREPLY=($(compgen -W '", join(words, " "), "' -- \"$current\"))"),
              "; return ;;\n");
    }
    flags += cat("    ", name_of(command), ") words='", join(names, " "), "' ;;\n");
  }
  return cat(
      "# bash completion for moebench, made from its flag tables\n_moebench() {\n",
      "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} words=\n",
      "  if [ \"$COMP_CWORD\" = 1 ]; then\n    COMPREPLY=($(compgen -W '", join(names_of_commands(), " "),
      " --version --help' -- \"$current\"))\n    return\n  fi\n", "  case ${COMP_WORDS[1]},$previous in\n",
      values, "  esac\n  case ${COMP_WORDS[1]} in\n", flags, "  esac\n",
      "  if [ -n \"$words\" ] && { [[ $current == -* ]] || [[ ${COMP_WORDS[1]} == @(help|list) ]]; }; then\n",
      "    COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n  else\n",
      "    COMPREPLY=($(compgen -f -- \"$current\"))\n  fi\n}\ncomplete -o filenames -F _moebench "
      "moebench\n");
}

/// Text between brackets or behind a colon of an _arguments specification, inside single quotes.
std::string zsh_text(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '\'')
      result += "'\\''";
    else if (c == '[' || c == ']' || c == ':' || c == '\\')
      result += cat('\\', c);
    else
      result += c;
  }
  return result;
}

std::string zsh_completion() {
  std::string text =
      cat("#compdef moebench\n# zsh completion for moebench, made from its flag tables\n_moebench() {\n",
          "  if (( CURRENT == 2 )); then\n    compadd ", join(names_of_commands(), " "),
          "\n    return\n  fi\n  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $command "
          "in\n");
  for (const Command command : all_commands()) {
    text += cat("    ", name_of(command), ")\n      _arguments");
    for (const FlagLine& flag : flags_of(command)) {
      const auto words = values_of(flag);
      text += cat(" \\\n        '--", flag.name, "[", zsh_text(flag.help), "]");
      if (!flag.value.empty())
        text += cat(":", zsh_text(flag.value), ":",
                    words.empty() ? takes_file(flag) ? "_files" : " " : cat("(", join(words, " "), ")"));
      text += "'";
    }
    const auto words = words_of(command);
    text += words.empty() ? " \\\n        '*:file:_files'\n"
                          : cat(" \\\n        '*:topic:(", join(words, " "), ")'\n");
    text += "      ;;\n";
  }
  return text + "  esac\n}\n_moebench \"$@\"\n";
}

std::string fish_text(std::string_view text) {
  return cat("'", replaced(replaced(std::string(text), "\\", "\\\\"), "'", "\\'"), "'");
}

std::string fish_completion() {
  std::string text = cat("# fish completion for moebench, made from its flag tables\n",
                         "complete -c moebench -n __fish_use_subcommand -f -a ",
                         fish_text(join(names_of_commands(), " ")), "\n");
  for (const Command command : all_commands()) {
    const std::string when =
        cat("complete -c moebench -n '__fish_seen_subcommand_from ", name_of(command), "'");
    if (const auto words = words_of(command); !words.empty())
      text += cat(when, " -f -a ", fish_text(join(words, " ")), "\n");
    for (const FlagLine& flag : flags_of(command)) {
      const auto words = values_of(flag);
      text += cat(when, " -l ", flag.name,
                  flag.value.empty() ? ""
                  : takes_file(flag) ? " -r"
                                     : " -x",
                  words.empty() ? "" : cat(" -a ", fish_text(join(words, " "))), " -d ", fish_text(flag.help),
                  "\n");
    }
  }
  return text;
}

/// What is not ASCII by its code point, as troff wants it.
std::string ascii(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const auto first = static_cast<unsigned char>(text[at++]);
    if (first < 0x80) {
      result += static_cast<char>(first);
      continue;
    }
    unsigned code = first >= 0xF0 ? first & 0x07u : first >= 0xE0 ? first & 0x0Fu : first & 0x1Fu;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80)
      code = code << 6 | (static_cast<unsigned char>(text[at++]) & 0x3Fu);
    result += format("\\[u%04X]", code);
  }
  return result;
}

/// A line of text for troff.
std::string roff(std::string_view line) {
  const std::string text = ascii(replaced(replaced(std::string(line), "\\", "\\e"), "-", "\\-"));
  return text.starts_with('.') || text.starts_with('\'') ? cat("\\&", text) : text;
}

/// Prose is filled; what is indented stays as it is.
std::string roff_page(const std::string& page) {
  std::string text;
  bool as_it_is = false;
  for (const std::string& line : split(page, '\n')) {
    const bool indented = line.starts_with("  ");
    if (indented != as_it_is && !line.empty()) {
      text += indented ? ".nf\n" : ".fi\n";
      as_it_is = indented;
    }
    text += line.empty() ? ".PP\n" : roff(line) + "\n";
  }
  return as_it_is ? text + ".fi\n" : text;
}

std::string man_page() {
  std::string text = cat(
      ".TH MOEBENCH 1 \"\" \"moebench\" \"User Commands\"\n.SH NAME\n",
      "moebench \\- measures Mixture\\-of\\-Experts layers\n.SH SYNOPSIS\n.B moebench\n.I command\n[flags]\n",
      ".SH DESCRIPTION\n", roff_page(help_page("overview")));
  for (const std::string& topic : help_topics()) {
    if (topic == "overview") continue;
    std::string title = topic;
    std::transform(title.begin(), title.end(), title.begin(),
                   [](unsigned char c) { return std::toupper(c); });
    text += cat(".SH \"", roff(title), "\"\n", roff_page(help_page(topic)));
    for (const Command command : all_commands()) {
      if (topic != name_of(command)) continue;
      for (const FlagLine& flag : flags_of(command))
        text +=
            cat(".TP\n.B ", roff(cat("--", flag.name)), flag.value.empty() ? "" : " ", roff(flag.value), "\n",
                roff(flag.help),
                flag.default_value.empty() ? std::string() : cat(" [", roff(flag.default_value), "]"), "\n");
    }
  }
  return text;
}

}  // namespace

std::optional<std::string> install_text(std::string_view word) {
  if (word == "man") return man_page();
  if (word == "completion-bash") return bash_completion();
  if (word == "completion-zsh") return zsh_completion();
  if (word == "completion-fish") return fish_completion();
  return std::nullopt;
}

}  // namespace moebench
