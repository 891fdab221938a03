// SPDX-License-Identifier: Apache-2.0
// `trace record|show|convert`: recorded routings.
#include <filesystem>
#include <iostream>

#include "base/text.h"
#include "bench/subject.h"
#include "cli/commands.h"
#include "cli/run_context.h"
#include "cli/start_ranks.h"
#include "moe/load.h"
#include "trace/trace_selection.h"

namespace moebench {
namespace {

const std::string& output_of(const Options& options) {
  if (options.output.empty()) throw UsageError("trace needs --output FILE (-o), the trace to write");
  return options.output;
}

/// All steps and layers that a selection names; of every layer if it names none.
bool is_selected(const TraceSelection& selection, std::int64_t step, std::int64_t layer) {
  return step >= selection.first_step && step <= selection.last_step &&
         layer == selection.layer.value_or(layer);
}

/// Rows of each expert in a step.
std::vector<std::int64_t> rows_of(const TraceStep& step, std::int64_t experts) {
  if (!step.counts.empty()) return step.counts;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(experts));
  for (const std::int32_t expert : step.experts) {
    if (static_cast<std::size_t>(expert) >= rows.size()) rows.resize(static_cast<std::size_t>(expert) + 1);
    ++rows[static_cast<std::size_t>(expert)];
  }
  return rows;
}

ExitCode show(const Options& options) {
  const TraceSelection selection = parse_selection(options.arguments[1]);
  const auto reader = open_trace(selection.path, selection.meaning);
  const TraceInfo& info = reader->info();
  const auto known = [](std::int64_t value) { return value > 0 ? cat(value) : std::string("not said"); };
  std::cout << selection.path << ": " << info.format << ", experts " << known(info.experts) << ", top-k "
            << known(info.top_k) << "\nsha256 " << reader->sha256() << "\n\n";
  std::cout << "    step   layer   tokens   max/mean      cv  entropy  empty\n";
  TraceStep step;
  const auto want = [&](std::int64_t s, std::int64_t layer) { return is_selected(selection, s, layer); };
  while (reader->next(step, want)) {
    const LoadStats load = load_stats(rows_of(step, info.experts));
    std::cout << format("%8lld %7lld %8lld %10.2f %7.2f %8.3f %6lld\n", static_cast<long long>(step.step),
                        static_cast<long long>(step.layer), static_cast<long long>(step.tokens),
                        load.imbalance + 1, load.cv, load.entropy, static_cast<long long>(load.empty));
  }
  if (info.experts == 0)
    std::cout << "\nThe format does not say how many experts there are: figures are over those up to the "
                 "last used.\n";
  return ExitCode::ok;
}

ExitCode convert(const Options& options) {
  const TraceSelection selection = parse_selection(options.arguments[1]),
                       target = parse_selection(output_of(options));
  const auto reader = open_trace(selection.path, selection.meaning);
  TraceInfo info = reader->info();
  const auto experts = options.sweep.command_line.find("experts");
  if (info.experts == 0 && experts != options.sweep.command_line.end())
    info.experts = to_int(experts->second).value_or(0);  // the format does not say it, the user does
  const auto writer = create_trace(target.path, info, target.meaning);
  TraceStep step;
  std::int64_t steps = 0;
  const auto want = [&](std::int64_t s, std::int64_t layer) { return is_selected(selection, s, layer); };
  while (reader->next(step, want)) {
    for (const std::int32_t expert : step.experts)
      if (info.experts > 0 && expert >= info.experts)
        throw UsageError(cat(selection.path, ": has an expert ", expert, " of ", info.experts));
    writer->add(step);
    ++steps;
  }
  if (steps == 0) throw UsageError(cat(selection.path, ": has nothing of what is selected"));
  writer->finish();
  std::cerr << "trace: " << target.path << ", " << steps << (steps == 1 ? " step" : " steps") << '\n';
  return ExitCode::ok;
}

/// The gates' choices of all ranks, step by step, as layer 0.
void record_steps(const Case& recorded, RunContext& context, TraceWriter* writer) {
  const auto subject = make_subject(recorded, context.bench());
  NoTrace none;
  for (int step = 0; step < subject->routing_steps(); ++step) {
    subject->run(Pass::forward, step, none);
    const auto choice = subject->choice();
    TraceStep written{.step = step, .tokens = recorded.shape.tokens};
    written.experts = gather_all(context.world(), choice->experts);
    written.weights = gather_all(context.world(), choice->scores);
    for (const std::int32_t expert : written.experts)
      if (expert < 0) throw UsageError("the gate drops slots, and a trace has an expert in each");
    if (writer) writer->add(written);
  }
}

ExitCode record(const Options& options, const std::vector<std::string>& argv) {
  const std::string& path = output_of(options);
  const SweepAxes axes = read_sweep(options.sweep);
  if (const auto code = start_ranks(options, axes, argv)) return *code;
  RunContext context(axes.only("backend"), {.comm = axes.only("comm"), .timeout_s = options.timeout_s});
  const Sweep sweep = expand_sweep(axes, context.capabilities());
  const Case& only = sweep.cases.front();
  if (sweep.cases.size() != 1 || only.subject != SubjectKind::layer)
    throw UsageError(cat("trace record takes one case of subject layer, not ", sweep.cases.size()));
  if (only.shape.ranks != context.world().size())
    throw UsageError(cat("trace record takes a case on all ranks: the case has ", only.shape.ranks, ", but ",
                         context.world().size(), " run"));
  Case recorded = only;
  recorded.passes = PassSet::fwd;
  std::unique_ptr<TraceWriter> writer;
  if (context.world().rank() == 0)
    writer =
        create_trace(path, {"", recorded.shape.experts, recorded.shape.top_k}, parse_selection(path).meaning);
  record_steps(recorded, context, writer.get());
  if (!writer) return ExitCode::ok;
  writer->finish();
  std::cerr << "trace: " << path << '\n';
  return ExitCode::ok;
}

}  // namespace

ExitCode routing_trace_command(const Options& options, const std::vector<std::string>& argv) {
  const std::string what = options.arguments.empty() ? "" : options.arguments[0];
  if (what != "record" && what != "show" && what != "convert")
    throw UsageError(cat(what.empty() ? "trace needs a word" : cat("unknown word of trace '", what, "'"),
                         "; valid: record, show, convert"));
  if ((options.arguments.size() == 2) != (what != "record"))
    throw UsageError(what == "record"
                         ? cat("unexpected '", options.arguments[1], "' after 'trace record'")
                         : cat("trace ", what, " needs a trace: moebench trace ", what, " FILE"));
  if (what == "record") return record(options, argv);
  return what == "show" ? show(options) : convert(options);
}

}  // namespace moebench
