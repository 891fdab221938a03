// SPDX-License-Identifier: Apache-2.0
#include "comm/local_ranks.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "comm/poll.h"
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

/// The processes of a run.
class Family {
 public:
  Family(std::vector<std::string> argv, double grace_s)
      : program_(this_program()), argv_(std::move(argv)), grace_s_(grace_s) {}

  /// `inherited`: a descriptor that the process keeps, or -1.
  void start(const std::vector<std::string>& variables, int inherited) {
    // All that takes memory comes before fork: other threads may hold its locks.
    std::vector<std::string> environment = environment_with(variables);
    const std::vector<char*> words = pointers_to(argv_), settings = pointers_to(environment);
    const pid_t parent = getpid(), child = fork();
    if (child < 0) {
      tell(SIGKILL);
      throw EnvironmentError(cat("cannot start a rank: ", std::strerror(errno)));
    }
    if (child > 0) {
      running_.push_back(child);
      return;
    }
    setpgid(0, 0);  // a terminal's Ctrl-C reaches the parent alone, which passes it on once
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(kCannotStart);
    if (inherited >= 0) fcntl(inherited, F_SETFD, 0);
    execve(program_.c_str(), words.data(), settings.data());
    _exit(kCannotStart);
  }

  int wait() {
    while (!running_.empty()) {
      take_ended();
      pass_interrupt_on();
      if (worst_ != 0 && !running_.empty()) hurry();
      usleep(kLookUs);
    }
    return worst_;
  }

 private:
  void tell(int signal) const {
    for (const pid_t child : running_) kill(child, signal);
  }
  void take_ended() {
    int status = 0;
    for (pid_t child; (child = waitpid(-1, &status, WNOHANG)) > 0;) {
      std::erase(running_, child);
      const int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
      if (!told_ || worst_ == 0) worst_ = std::max(worst_, code);
    }
  }
  void pass_interrupt_on() {
    if (interrupted_ || interrupt_signal() == 0) return;
    interrupted_ = true;
    tell(interrupt_signal());
  }
  /// One has failed: the others are told to end, and then made to.
  void hurry() {
    if (!hurried_) limit_ = deadline_in(grace_s_);
    hurried_ = true;
    if (std::chrono::steady_clock::now() < limit_) return;
    tell(told_ ? SIGKILL : SIGTERM);
    told_ = true;
    limit_ = deadline_in(grace_s_);
  }

  std::string program_;
  std::vector<std::string> argv_;
  double grace_s_;
  std::vector<pid_t> running_;
  int worst_ = 0;
  bool interrupted_ = false, hurried_ = false, told_ = false;
  std::chrono::steady_clock::time_point limit_;
};

}  // namespace

int run_local_ranks(int ranks, const std::vector<std::string>& argv, double grace_s) {
  int port = 0;
  const Socket listener = listen_locally(port);
  Family family(argv, grace_s);
  for (int rank = 0; rank < ranks; ++rank) {
    std::vector<std::string> variables{cat(kRankVariable, "=", rank), cat(kSizeVariable, "=", ranks),
                                       cat(kPortVariable, "=", port)};
    if (rank == 0) variables.push_back(cat(kListenerVariable, "=", listener.get()));
    family.start(variables, rank == 0 ? listener.get() : -1);
  }
  return family.wait();
}

#ifdef MOEBENCH_HAVE_MPI
void become_mpirun(int ranks, const std::vector<std::string>& argv) {
  std::vector<std::string> words{MOEBENCH_MPIEXEC, "-np", cat(ranks), this_program()};
  words.insert(words.end(), argv.begin() + 1, argv.end());
  // Settings of Open MPI 4 and 5, which others do not read; what the user has set stands.
  for (const char* name :
       {"OMPI_MCA_rmaps_base_oversubscribe", "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
        "PRTE_ALLOW_RUN_AS_ROOT", "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM"})
    setenv(name, "1", 0);
  setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe", 0);
  for (const char* name : {"OMPI_MCA_hwloc_base_binding_policy", "PRTE_MCA_hwloc_default_binding_policy"})
    setenv(name, "none", 0);  // ranks share the cores evenly by themselves
  execvp(words.front().c_str(), pointers_to(words).data());
  throw EnvironmentError(
      cat("cannot start ", words.front(), " for ", ranks, " ranks: ", std::strerror(errno)));
}
#else
void become_mpirun(int, const std::vector<std::string>&) {}
#endif

}  // namespace moebench
