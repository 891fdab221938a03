// SPDX-License-Identifier: Apache-2.0
#include "comm/local_ranks.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "comm/backoff.h"
#include "comm/tcp/socket.h"

namespace moebench {
namespace {

constexpr useconds_t kLookUs = 10'000;
constexpr int kCannotStart = 127;  // as a shell says it

std::string this_program() {
  char path[4096] = {};
  if (readlink("/proc/self/exe", path, sizeof path - 1) < 0)
    throw EnvironmentError(cat("cannot find this program in /proc/self/exe: ", std::strerror(errno)));
  return path;
}

/// Null-terminated pointers to `words`, as exec takes them.
std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> environment_with(const std::vector<std::string>& more) {
  std::vector<std::string> all(more);
  for (char** entry = environ; entry && *entry; ++entry) all.emplace_back(*entry);
  return all;
}

/// How a process of the run is started.
struct Start {
  std::string program;
  std::vector<std::string> words;
  std::vector<std::string> variables;  ///< "NAME=value", beside the environment
  int inherited = -1;                  ///< a descriptor that the process keeps
  bool reads = true;                   ///< from standard input
};

/// The processes of a run: ranks, or one launcher of ranks.
class ChildProcesses {
 public:
  explicit ChildProcesses(double grace_s) : grace_s_(grace_s) {}

  void start(const Start& what) {
    // Allocate before fork: other threads may hold the allocator's locks.
    std::vector<std::string> environment = environment_with(what.variables), words_of = what.words;
    const std::vector<char*> words = pointers_to(words_of), settings = pointers_to(environment);
    const pid_t parent = getpid(), child = fork();
    if (child < 0) {
      signal_all(SIGKILL);
      throw EnvironmentError(cat("cannot start ", what.program, ": ", std::strerror(errno)));
    }
    if (child > 0) {
      running_.push_back(child);
      started_.push_back(child);
      return;
    }
    setpgid(0, 0);  // Ctrl-C reaches only the parent, which forwards it once
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(kCannotStart);
    if (what.inherited >= 0) fcntl(what.inherited, F_SETFD, 0);
    if (!what.reads) dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
    execvpe(what.program.c_str(), words.data(), settings.data());
    _exit(kCannotStart);
  }

  /// `code_of(i, status)`: the exit code for the i-th started process, which ended before signal_all() was called.
  template <class CodeOf>
  int wait(CodeOf code_of) {
    while (!running_.empty()) {
      take_ended(code_of);
      pass_interrupt_on();
      if (worst_ != 0 && !running_.empty()) shorten_deadline();
      usleep(kLookUs);
    }
    return interrupted_ ? static_cast<int>(ExitCode::interrupted) : worst_;
  }

 private:
  void signal_all(int signal) const {
    for (const pid_t child : running_) kill(child, signal);
  }
  template <class CodeOf>
  void take_ended(CodeOf code_of) {
    int status = 0;
    for (pid_t child; (child = waitpid(-1, &status, WNOHANG)) > 0;) {
      std::erase(running_, child);
      if (signalled_ && worst_ != 0) continue;
      const auto place = std::find(started_.begin(), started_.end(), child) - started_.begin();
      worst_ = std::max(worst_, code_of(static_cast<int>(place), status));
    }
  }
  void pass_interrupt_on() {
    if (interrupted_ || interrupt_signal() == 0) return;
    interrupted_ = true;
    signal_all(interrupt_signal());
  }
  /// A stopped process has no use for time.
  void kill_stopped() const {
    for (const pid_t child : running_) {
      siginfo_t info{};
      if (waitid(P_PID, static_cast<id_t>(child), &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
          info.si_pid == child)
        kill(child, SIGKILL);
    }
  }
  /// One has failed: ends those that are stopped, gives the others grace_s_, then SIGTERM, then SIGKILL.
  void shorten_deadline() {
    kill_stopped();
    if (!shortened_) limit_ = deadline_in(grace_s_);
    shortened_ = true;
    if (std::chrono::steady_clock::now() < limit_) return;
    signal_all(signalled_ ? SIGKILL : SIGTERM);
    signalled_ = true;
    limit_ = deadline_in(grace_s_);
  }

  double grace_s_;
  std::vector<pid_t> running_, started_;
  int worst_ = 0;
  bool interrupted_ = false, shortened_ = false, signalled_ = false;
  std::chrono::steady_clock::time_point limit_;
};

/// Rank 0 reports the deaths of the others; this process reports that of rank 0.
int code_of_rank(int rank, int status) {
  if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
  if (rank == 0) std::fputs(cat("moebench: rank 0 died (signal ", WTERMSIG(status), ")\n").c_str(), stderr);
  return static_cast<int>(ExitCode::communicator);
}

/// mpirun returns 128 + N for a rank that signal N ended; an interrupted rank returns that too.
[[maybe_unused]] int code_of_mpirun(int, int status) {
  constexpr int kSignals = 128;
  const int code = WIFSIGNALED(status) ? kSignals + WTERMSIG(status) : WEXITSTATUS(status);
  const bool lost = code > kSignals && code != static_cast<int>(ExitCode::interrupted);
  return lost ? static_cast<int>(ExitCode::communicator) : code;
}

}  // namespace

int run_local_ranks(int ranks, const std::vector<std::string>& argv, double grace_s) {
  int port = 0;
  const Socket listener = listen_locally(port);
  ChildProcesses processes(grace_s);
  for (int rank = 0; rank < ranks; ++rank) {
    Start start{.program = this_program(),
                .words = argv,
                .variables = {cat(kRankVariable, "=", rank), cat(kSizeVariable, "=", ranks),
                              cat(kPortVariable, "=", port)}};
    if (rank == 0) {
      start.variables.push_back(cat(kListenerVariable, "=", listener.get()));
      start.inherited = listener.get();
    }
    processes.start(start);
  }
  return processes.wait(code_of_rank);
}

#ifdef MOEBENCH_HAVE_MPI
int run_mpirun(int ranks, const std::vector<std::string>& argv) {
  Start start{.program = MOEBENCH_MPIEXEC,
              .words = {MOEBENCH_MPIEXEC, "-np", cat(ranks), this_program()},
              .reads = false};  // as a group of its own it may not read from the terminal
  start.words.insert(start.words.end(), argv.begin() + 1, argv.end());
  // Settings of Open MPI 4 and 5, which others do not read; what the user has set stands.
  const auto unless_set = [](const char* name, const char* value) { setenv(name, value, 0); };
  for (const char* name :
       {"OMPI_MCA_rmaps_base_oversubscribe", "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
        "PRTE_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM"})
    unless_set(name, "1");
  unless_set("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe");
  for (const char* name : {"OMPI_MCA_hwloc_base_binding_policy", "PRTE_MCA_hwloc_default_binding_policy"})
    unless_set(name, "none");  // ranks share the cores evenly by themselves
  for (const char* name : {"OMPI_MCA_odls_base_sigkill_timeout", "PRTE_MCA_odls_base_sigkill_timeout"})
    unless_set(name, "5");  // seconds in which rank 0 may finish its report
  constexpr double kGraceS = 5;
  ChildProcesses processes(kGraceS);
  processes.start(start);
  const int code = processes.wait(code_of_mpirun);
  if (code == kCannotStart)
    throw EnvironmentError(cat("cannot start ", start.program, " for ", ranks, " ranks"));
  return code;
}
bool can_run_mpirun() { return true; }
#else
int run_mpirun(int, const std::vector<std::string>&) {
  throw EnvironmentError("this moebench was built without MPI");
}
bool can_run_mpirun() { return false; }
#endif

}  // namespace moebench
