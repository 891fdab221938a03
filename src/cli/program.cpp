// SPDX-License-Identifier: Apache-2.0
#include "cli/program.h"

#include <unistd.h>

#include <csignal>
#include <ctime>
#include <iostream>

#include "base/interrupt.h"
#include "base/text.h"
#include "bench/environment.h"
#include "cli/commands.h"
#include "cli/help.h"
#include "cli/install_texts.h"
#include "comm/world.h"
#include "report/terminal.h"

namespace moebench {
namespace {

/// A page, or a file for an installation (`help man`).
std::string help_of(const std::string& topic) {
  if (const auto text = install_text(topic)) return *text;
  return help_text(topic, terminal_columns(STDOUT_FILENO));
}

ExitCode dispatch(const Options& options, const std::vector<std::string>& argv) {
  switch (options.command) {
    case Command::run:
    case Command::verify:
      return run_command(options, argv);
    case Command::compare:
      return compare_command(options);
    case Command::ab:
      return ab_command(options);
    case Command::report:
      return report_command(options);
    case Command::info:
      return info_command(options);
    case Command::list:
      return list_command(options);
    case Command::memory:
      return memory_command(options);
    case Command::links:
    case Command::calibrate:
      return links_command(options, argv);
    case Command::project:
      return project_command(options, argv);
    case Command::trace:
      return routing_trace_command(options, argv);
    case Command::help:
      std::cout << help_of(options.arguments.empty() ? "" : options.arguments[0]);
      break;
    case Command::version:
      std::cout << version_text() << '\n';
      break;
  }
  return ExitCode::ok;
}

/// Whether this process prints messages that are the same on every rank.
bool is_reporting_rank() {
  try {
    return detect_launch().rank == 0;
  } catch (const Error&) {
    return true;
  }
}

/// A launcher ends all ranks when one fails, so the others wait until rank 0 has printed its message. True if a signal
/// ended the wait; if none came, only this rank has failed and prints its own message.
bool wait_for_rank0_message() {
  constexpr timespec kGrace{.tv_sec = 3, .tv_nsec = 0};
  // Until a signal, such as the launcher's.
  return interrupt_signal() != 0 || nanosleep(&kGrace, nullptr) != 0 || interrupt_signal() != 0;
}

}  // namespace

ExitCode run_program(int argc, const char* const* argv) {
  catch_interrupts();
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is then an error of write(), like a full disk
  try {
    const Options options = parse_options(argc, argv, moebench_variables());
    if (is_reporting_rank())
      for (const std::string& warning : options.warnings)
        std::cerr << "moebench: warning: " << warning << '\n';
    const ExitCode code = dispatch(options, {argv, argv + argc});
    // A terminal that has closed must not hide how the run ended.
    if (!std::cout.flush() && code == ExitCode::ok) throw EnvironmentError("cannot write to standard output");
    return code;
  } catch (const Error& error) {
    if (is_reporting_rank())
      std::cerr << "moebench: " << error.what() << '\n';
    else if (!wait_for_rank0_message())
      std::cerr << "moebench: rank " << detect_launch().rank << ": " << error.what() << '\n';
    return error.code();
  } catch (const std::bad_alloc&) {
    std::cerr << "moebench: out of host memory\n";
    return ExitCode::environment;
  } catch (const std::exception& error) {
    std::cerr << "moebench: internal error: " << error.what() << '\n';
    return ExitCode::internal;
  }
}

}  // namespace moebench
