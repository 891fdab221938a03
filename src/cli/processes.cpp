// SPDX-License-Identifier: Apache-2.0
#include "cli/processes.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "base/interrupt.h"
#include "base/text.h"
#include "cli/options.h"

namespace moebench {
namespace {

constexpr int kCannotStart = 127;  // as a shell says it

std::string last_line_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line, last;
  while (std::getline(file, line))
    if (!line.empty()) last = line;
  constexpr std::string_view kPrefix = "moebench: ";
  return last.starts_with(kPrefix) ? last.substr(kPrefix.size()) : last;
}

/// The exit code; 128 + N for signal N.
int run(std::vector<std::string>& words, const std::filesystem::path& errors) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const pid_t parent = getpid(), child = fork();
  if (child < 0) throw EnvironmentError(cat("cannot start ", words.front(), ": ", std::strerror(errno)));
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(kCannotStart);
    const int nothing = open("/dev/null", O_RDWR);
    const int log = open(errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (nothing < 0 || log < 0) _exit(kCannotStart);
    dup2(nothing, STDIN_FILENO);
    dup2(nothing, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execvp(pointers[0], pointers.data());
    dprintf(STDERR_FILENO, "%s\n", std::strerror(errno));
    _exit(kCannotStart);
  }
  int status = 0;
  bool passed_on = false;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR)
      throw EnvironmentError(cat("cannot wait for ", words.front(), ": ", std::strerror(errno)));
    if (interrupt_signal() != 0 && !passed_on) kill(child, interrupt_signal());
    passed_on = interrupt_signal() != 0;
  }
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace

std::vector<std::string> words_of(const std::string& command) {
  std::vector<std::string> words;
  std::string word;
  bool inside = false;  // a word has begun, though it may be empty
  char quote = 0;
  for (std::size_t i = 0; i < command.size(); ++i) {
    const char c = command[i];
    if (c == '\\' && quote != '\'' && i + 1 < command.size()) {
      word += command[++i];
      inside = true;
    } else if (quote ? c == quote : c == '\'' || c == '"') {
      quote = quote ? 0 : c;
      inside = true;
    } else if (!quote && (c == ' ' || c == '\t' || c == '\n')) {
      if (inside) words.push_back(std::move(word));
      word.clear();
      inside = false;
    } else {
      word += c;
      inside = true;
    }
  }
  if (quote) throw UsageError(cat("'", command, "' has a quote that does not end"));
  if (inside) words.push_back(std::move(word));
  return words;
}

void forget_output_variables() {
  for (const char* flag : {"json", "csv", "resume", "force", "repetitions", "quiet"})
    unsetenv(variable_of(flag).c_str());
}

std::string this_program() {
  char path[4096] = {};
  if (readlink("/proc/self/exe", path, sizeof path - 1) < 0)
    throw EnvironmentError(cat("cannot find this program in /proc/self/exe: ", std::strerror(errno)));
  return path;
}

ReportDirectory::ReportDirectory(const std::filesystem::path& given) : path_(given), kept_(!given.empty()) {
  std::error_code error;
  if (kept_) {
    std::filesystem::create_directories(path_, error);
    if (error)
      throw EnvironmentError(cat("cannot make the directory ", path_.string(), ": ", error.message()));
    if (!std::filesystem::is_empty(path_, error))
      throw UsageError(cat(path_.string(), " is not empty: the reports need a directory of their own"));
    return;
  }
  std::string name = (std::filesystem::temp_directory_path(error) / "moebench-XXXXXX").string();
  if (error || !mkdtemp(name.data()))
    throw EnvironmentError(cat("cannot make a directory like ", name, ": ", std::strerror(errno)));
  path_ = name;
}

ReportDirectory::~ReportDirectory() {
  std::error_code ignored;
  if (!kept_) std::filesystem::remove_all(path_, ignored);
}

Document run_process(std::vector<std::string> words, const std::filesystem::path& report) {
  throw_if_interrupted();
  words.insert(words.end(), {"--json", report.string(), "--quiet"});
  const std::filesystem::path errors = report.string() + ".err";
  const int code = run(words, errors);
  throw_if_interrupted();
  const std::string said = last_line_of(errors);
  std::error_code ignored;
  std::filesystem::remove(errors, ignored);
  if (code == static_cast<int>(ExitCode::interrupted))
    throw Error(ExitCode::interrupted, cat(words.front(), " was interrupted"));
  if (std::filesystem::exists(report, ignored)) return read_document(report);
  if (code == kCannotStart)
    throw EnvironmentError(cat("cannot start ", words.front(), said.empty() ? "" : ": ", said));
  const bool known = code == 2 || code == 3 || code == 8 || code == 124;
  throw Error(known ? static_cast<ExitCode>(code) : ExitCode::environment,
              cat("'", words.front(), "' ended with exit code ", code, " and left no report",
                  said.empty() ? "" : ": ", said));
}

}  // namespace moebench
