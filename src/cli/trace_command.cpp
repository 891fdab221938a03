// SPDX-License-Identifier: Apache-2.0
// `run --profile` and `run --trace FILE`: a few iterations of one case, looked at and not timed.
#include <filesystem>
#include <iostream>
#include <memory>

#include "base/text.h"
#include "bench/trace_run.h"
#include "cli/commands.h"
#include "cli/run_context.h"
#include "cli/run_display.h"
#include "report/durable_file.h"
#include "report/trace_json.h"

namespace moebench {
namespace {

constexpr int kFew = 3;

const Case& only_case(const Options& options, std::span<const Case> cases, int ranks) {
  const std::string flag = options.profile ? "--profile" : "--trace";
  if (options.profile && !options.trace.empty()) throw UsageError("--profile and --trace: give one of them");
  for (const auto& [name, given] :
       {std::pair("--json", !options.json.empty()), std::pair("--csv", !options.csv.empty()),
        std::pair("--samples", options.samples), std::pair("--resume", options.resume)})
    if (given) throw UsageError(cat(flag, " times nothing, so ", name, " has nothing to write"));
  if (cases.size() != 1)
    throw UsageError(
        cat(flag, " takes one case, not ", cases.size(), "; choose it with --filter or --max-points 1"));
  if (cases[0].shape.ranks != ranks)
    throw UsageError(cat(flag, " takes a case on all ranks: the case has ", cases[0].shape.ranks, ", but ",
                         ranks, ranks == 1 ? " runs" : " run"));
  return cases[0];
}

void require_free(const Options& options) {
  require_writable(options.trace);
  std::error_code error;
  if (!options.force && std::filesystem::exists(options.trace, error))
    throw UsageError(cat(options.trace, " already exists; give --force to replace it"));
}

/// Throws the first failure's words if something is wrong with the result.
void require_right(const CheckRecord& check) {
  for (const auto& item : check.items)
    if (!item.passed())
      throw Error(ExitCode::incorrect, format("%s error %.2g exceeds %.2g: a wrong result is not looked at",
                                              item.name.c_str(), item.error, item.bound));
}

void say_how(const Case& bench_case, int iterations) {
  std::cout << bench_case.title() << ": " << iterations << (iterations == 1 ? " iteration" : " iterations")
            << " inside the profiler's window\n";
  if (!Ranges::profiler_attached())
    std::cout
        << "No profiler listens. Start this line under one: tools/nsys or tools/ncu before 'moebench run'.\n";
}

}  // namespace

ExitCode trace_command(const Options& options, RunContext& context, std::span<const Case> cases) {
  World& world = context.world();
  const Case& bench_case = only_case(options, cases, world.size());
  if (!options.profile) require_free(options);
  const Machine machine = context.describe();
  const int iterations = options.sampling.iters > 0 ? options.sampling.iters : kFew;
  const auto progress =
      world.rank() == 0
          ? std::unique_ptr<Progress>(new Progress(make_progress({&bench_case, 1}, options.quiet)))
          : nullptr;
  const TellPhase tell = [&](std::string_view what) {
    if (progress) progress->phase(bench_case, what);
  };
  if (progress) acknowledge_on_stderr(options);
  try {
    tell("building");
    TraceRun trace_run(bench_case, context.bench());
    require_right(trace_run.prepare(options.sampling, tell));
    tell(options.profile ? "running for the profiler" : "tracing");
    if (options.profile) {
      trace_run.profile(iterations);
      if (progress) progress->clear();
      if (world.rank() == 0) say_how(bench_case, iterations);
      return ExitCode::ok;
    }
    const Timeline timeline = trace_run.trace(iterations);
    if (world.rank() != 0) return ExitCode::ok;
    progress->clear();
    const std::string text = trace_json(timeline, machine.ranks, version_text());
    options.force ? replace_file(options.trace, text) : create_file(options.trace, text);
    std::cout << bench_case.title() << ": " << iterations << (iterations == 1 ? " iteration" : " iterations")
              << " in " << options.trace << "; open it in ui.perfetto.dev or chrome://tracing\n";
  } catch (const Error& error) {
    if (world.size() == 1) throw;
    std::cerr << "moebench: rank " << world.rank() << ": " << error.what()
              << std::endl;  // the others wait for this one
    world.abort(static_cast<int>(error.code()));
  }
  return ExitCode::ok;
}

}  // namespace moebench
