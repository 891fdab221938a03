// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <stdlib.h>

#include "cli/options.h"
#include "cli/options_flags.h"
#include "suite/expect_usage_error.h"

namespace moebench {
namespace {

using Strings = std::vector<std::string>;

Options parse(const std::vector<const char*>& words, const Variables& environment = {}) {
  std::vector<const char*> argv{"moebench"};
  argv.insert(argv.end(), words.begin(), words.end());
  return parse_options(static_cast<int>(argv.size()), argv.data(), environment);
}

void expect_refused(const std::vector<const char*>& words, std::string_view message,
                    const Variables& environment = {}) {
  expect_usage_error([&] { parse(words, environment); }, message);
}

TEST(Options, AskForHelpIfNothingIsGiven) {
  EXPECT_EQ(parse({}).command, Command::help);
  EXPECT_TRUE(parse({}).arguments.empty());
  EXPECT_EQ(parse({"--help"}).command, Command::help);
  EXPECT_EQ(parse({"help", "axes"}).arguments, Strings{"axes"});
}

TEST(Options, AskForHelpAfterAnyCommand) {
  for (const char* command : {"run", "verify", "compare", "info", "list"})
    for (const char* flag : {"-h", "--help"}) {
      const Options options = parse({command, flag});
      EXPECT_EQ(options.command, Command::help);
      EXPECT_EQ(options.arguments, Strings{command});
    }
  EXPECT_EQ(parse({"run", "--experts", "8", "-h"}).command, Command::help);
  EXPECT_EQ(parse({"run", "--no-such-flag", "-h"}).command, Command::help);
}

TEST(Options, AskForTheVersion) { EXPECT_EQ(parse({"--version"}).command, Command::version); }

TEST(Options, HaveTheDocumentedDefaults) {
  const Options options = parse({"run"});
  EXPECT_TRUE(options.sweep.command_line.empty());
  EXPECT_EQ(options.sampling.check, CheckMode::quick);
  EXPECT_TRUE(options.sampling.stages);
  EXPECT_FALSE(options.plan || options.quiet || options.force || options.resume || options.samples);
  EXPECT_TRUE(options.warnings.empty());
  EXPECT_EQ(parse({"verify"}).sampling.check, CheckMode::full);
}

TEST(Options, HelpShowsTheDefaultsThatHold) {
  // Applying every default that help shows must change nothing.
  Options options = parse({"run"});
  Settings settings;
  for (const OptionFlag& flag : option_flags())
    if (!flag.default_value.empty() && flag.name != "check") flag.apply(options, flag.default_value);
  const Options fresh = parse({"run"});
  EXPECT_EQ(options.sampling.warmup, fresh.sampling.warmup);
  EXPECT_EQ(options.sampling.iters, fresh.sampling.iters);
  EXPECT_EQ(options.sampling.min_time_s, fresh.sampling.min_time_s);
  EXPECT_EQ(options.sampling.max_time_s, fresh.sampling.max_time_s);
  EXPECT_EQ(options.sampling.noise_pct, fresh.sampling.noise_pct);
  EXPECT_EQ(options.timeout_s, fresh.timeout_s);
  EXPECT_EQ(options.threshold_pct, fresh.threshold_pct);
  EXPECT_EQ(options.sweep.scale, fresh.sweep.scale);
}

TEST(Options, TakeEveryFlagOfRun) {
  const Options options = parse({"run",
                                 "--tokens",
                                 "1:64:*2",
                                 "--engine=loop,naive-mask",
                                 "--suite",
                                 "smoke",
                                 "--preset",
                                 "dbrx",
                                 "--scale",
                                 "0.5",
                                 "--filter",
                                 "experts<=16",
                                 "--max-points",
                                 "7",
                                 "--plan",
                                 "--warmup",
                                 "5",
                                 "--iters",
                                 "20",
                                 "--min-time",
                                 "0.5",
                                 "--max-time",
                                 "3",
                                 "--noise",
                                 "2.5",
                                 "--interleave",
                                 "--no-stages",
                                 "--check",
                                 "none",
                                 "--timeout",
                                 "9",
                                 "--json",
                                 "a.json",
                                 "--csv",
                                 "a.csv",
                                 "--samples",
                                 "--resume",
                                 "--quiet"});
  EXPECT_EQ(options.command, Command::run);
  EXPECT_EQ(options.sweep.command_line, (Settings{{"tokens", "1:64:*2"}, {"engine", "loop,naive-mask"}}));
  EXPECT_EQ(options.sweep.suite, "smoke");
  EXPECT_EQ(options.sweep.preset, "dbrx");
  EXPECT_EQ(options.sweep.scale, 0.5);
  EXPECT_EQ(options.sweep.filter, "experts<=16");
  EXPECT_EQ(options.sweep.max_points, 7u);
  EXPECT_EQ(options.sampling.warmup, 5);
  EXPECT_EQ(options.sampling.iters, 20);
  EXPECT_EQ(options.sampling.min_time_s, 0.5);
  EXPECT_EQ(options.sampling.max_time_s, 3);
  EXPECT_EQ(options.sampling.noise_pct, 2.5);
  EXPECT_EQ(options.sampling.check, CheckMode::none);
  EXPECT_TRUE(options.sampling.interleave);
  EXPECT_FALSE(options.sampling.stages);
  EXPECT_EQ(options.timeout_s, 9);
  EXPECT_EQ(options.json, "a.json");
  EXPECT_EQ(options.csv, "a.csv");
  EXPECT_TRUE(options.plan && options.samples && options.resume && options.quiet);
}

TEST(Options, TakeEveryFlagOfACaseByItsName) {
  for (const Flag& flag : flags()) {
    const std::string name = "--" + std::string(flag.name);
    const std::string value = flag.default_value.empty() ? "4" : std::string(flag.default_value);
    EXPECT_EQ(parse({"run", name.c_str(), value.c_str()}).sweep.command_line,
              (Settings{{std::string(flag.name), value}}));
  }
}

TEST(Options, TakeEveryFlagFromTheEnvironment) {
  const Options options = parse({"run"}, {{"MOEBENCH_TOP_K", "1,2"},
                                          {"MOEBENCH_EXPERTS_PER_RANK", "4"},
                                          {"MOEBENCH_MIN_TIME", "0.1"},
                                          {"MOEBENCH_JSON", "r.json"},
                                          {"MOEBENCH_QUIET", "1"},
                                          {"MOEBENCH_NO_STAGES", "off"}});
  EXPECT_EQ(options.sweep.environment, (Settings{{"top-k", "1,2"}, {"experts-per-rank", "4"}}));
  EXPECT_TRUE(options.sweep.command_line.empty());
  EXPECT_EQ(options.sampling.min_time_s, 0.1);
  EXPECT_EQ(options.json, "r.json");
  EXPECT_TRUE(options.quiet);
  EXPECT_TRUE(options.sampling.stages);
  EXPECT_TRUE(options.warnings.empty());
}

TEST(Options, PutTheCommandLineOverTheEnvironment) {
  const Options options =
      parse({"run", "--iters", "7", "--quiet=off"}, {{"MOEBENCH_ITERS", "3"}, {"MOEBENCH_QUIET", "on"}});
  EXPECT_EQ(options.sampling.iters, 7);
  EXPECT_FALSE(options.quiet);
}

TEST(Options, WarnOfVariablesThatMeanNothing) {
  const Options options = parse({"run"}, {{"MOEBENCH_EXPERT", "8"}, {"MOEBENCH_THRESHOLD", "5"}});
  ASSERT_EQ(options.warnings.size(), 1u);  // the threshold belongs to compare: no typo
  EXPECT_EQ(options.warnings[0],
            "MOEBENCH_EXPERT is not a setting of moebench and is ignored; did you mean MOEBENCH_EXPERTS?");
}

TEST(Options, GuessAVariableByWhatFollowsTheCommonBeginning) {
  const auto warning = [](const char* name) { return parse({"run"}, {{name, "1"}}).warnings.at(0); };
  EXPECT_EQ(warning("MOEBENCH_FOO"), "MOEBENCH_FOO is not a setting of moebench and is ignored");
  EXPECT_EQ(warning("MOEBENCH_HELP"), "MOEBENCH_HELP is not a setting of moebench and is ignored");
}

TEST(Options, LeaveVariablesOfOtherCommandsAlone) {
  EXPECT_EQ(parse({"compare", "a", "b"}, {{"MOEBENCH_ITERS", "nonsense"}}).command, Command::compare);
}

TEST(Options, NameTheVariableThatIsWrong) {
  expect_refused({"run"}, "MOEBENCH_ITERS: 'x' is not a whole number", {{"MOEBENCH_ITERS", "x"}});
  expect_refused({"run"}, "MOEBENCH_EXPERTS: --experts '8,,9'", {{"MOEBENCH_EXPERTS", "8,,9"}});
  expect_refused({"run"}, "MOEBENCH_TOTAL_TOKENS: 'total-tokens' and 'tokens'",
                 {{"MOEBENCH_TOKENS", "8"}, {"MOEBENCH_TOTAL_TOKENS", "8"}});
  expect_refused({"run"}, "MOEBENCH_QUIET: ", {{"MOEBENCH_QUIET", ""}});
  expect_refused({"run"}, "MOEBENCH_JSON: needs a value", {{"MOEBENCH_JSON", ""}});
}

TEST(Options, NameTheNearestFlagForAnUnknownOne) {
  expect_refused({"run", "--expert", "8"}, "unknown flag '--expert'; did you mean '--experts'?");
  expect_refused({"run", "--toekns=8"}, "unknown flag '--toekns'; did you mean '--tokens'?");
  expect_refused({"run", "-x"}, "unknown flag '-x'");
  expect_refused({"run", "-qx"}, "unknown flag '-q'");
  expect_refused({"compare", "a", "b", "--iters", "3"}, "unknown flag '--iters'");
  expect_refused({"rnu"}, "unknown command 'rnu'; did you mean 'run'?");
  expect_refused({"--tokens", "8"}, "'--tokens' comes before the command");
  expect_refused({""}, "unknown command ''");
}

TEST(Options, RefuseMissingAndRepeatedValues) {
  expect_refused({"run", "--json"}, "--json needs a value");
  expect_refused({"run", "--tokens"}, "--tokens needs a value");
  expect_refused({"run", "--json", "--quiet"}, "--json: needs a value, but '--quiet' follows");
  expect_refused({"run", "--json="}, "--json: needs a value");
  expect_refused({"run", "--tokens="}, "--tokens '': no value");
  expect_refused({"run", "--tokens", "8", "--tokens", "9"}, "--tokens is given twice");
}

TEST(Options, AdviseCommasOnlyWhereAFlagTakesSeveralValues) {
  expect_refused({"run", "--tokens", "8", "--tokens", "9"},
                 "--tokens is given twice; separate values with commas");
  expect_refused({"run", "--preset", "dbrx", "--preset", "dbrx"}, "separate values with commas");
  for (const char* flag : {"--suite", "--json", "--max-time", "--backend", "--comm"})
    expect_refused({"run", flag, "1", flag, "2"}, std::string(flag) + " is given twice; give it once");
  expect_refused({"run", "--plan", "--plan"}, "--plan is given twice; give it once");
}

TEST(Options, LetADefaultTimeGiveWayToTheOneThatIsGiven) {
  EXPECT_EQ(parse({"run", "--max-time", "0.1"}).sampling.min_time_s, 0.1);
  EXPECT_EQ(parse({"run", "--max-time", "5"}).sampling.min_time_s, 0.2);
  EXPECT_EQ(parse({"run", "--min-time", "20"}).sampling.max_time_s, 20);
  expect_refused({"run", "--max-time", "0.1"}, "--min-time 0.3 exceeds --max-time 0.1",
                 {{"MOEBENCH_MIN_TIME", "0.3"}});
}

TEST(Options, RefuseValuesOutOfRange) {
  expect_refused({"run", "--tokens", "-5"}, "--tokens: needs a value, but '-5' follows");
  expect_refused({"compare", "a", "b", "--threshold", "-3"},
                 "--threshold: '-3' is not a percentage of at least 0");
  expect_refused({"compare", "a", "b", "--threshold", "-3%"},
                 "--threshold: '-3%' is not a percentage of at least 0");
  expect_refused({"run", "--max-time", "-1"}, "--max-time: '-1' is not a number of at least 0");
  expect_refused({"run", "--iters", "1.5"}, "--iters: '1.5' is not a whole number");
  expect_refused({"run", "--iters", "99999999999"}, "--iters: '99999999999'");
  expect_refused({"run", "--max-time", "0"}, "--max-time: '0' is not a number above 0");
  expect_refused({"run", "--max-time", "nan"}, "--max-time: 'nan'");
  expect_refused({"run", "--timeout", "inf"}, "--timeout: 'inf'");
  expect_refused({"run", "--scale", "0"}, "--scale: '0' is not a number in (0, 1]");
  expect_refused({"run", "--scale", "1.01"}, "--scale: '1.01'");
  expect_refused({"run", "--max-points", "0"}, "--max-points: '0'");
  expect_refused({"run", "--check", "fast"}, "fast");
  expect_refused({"run", "--quiet=perhaps"}, "--quiet: 'perhaps' is neither on nor off");
  expect_refused({"run", "--filter", "experts"}, "--filter 'experts': no operator");
  expect_refused({"run", "--dtype", "fp8"}, "fp8");
  expect_refused({"compare", "a", "b", "--threshold", "x"}, "--threshold: 'x'");
}

TEST(Options, RefuseContradictions) {
  expect_refused({"run", "--min-time", "5", "--max-time", "1"}, "--min-time 5 exceeds --max-time 1");
  expect_refused({"run", "--resume"}, "--resume needs --json");
  expect_refused({"run", "--resume", "--force", "--json", "a"}, "give one");
  expect_refused({"run", "--experts", "8", "--experts-per-rank", "8"}, "say the same in two ways");
}

TEST(Options, TakeTwoReportsToCompare) {
  const Options options = parse({"compare", "a.json", "--threshold", "5.5", "b.json"});
  EXPECT_EQ(options.arguments, (Strings{"a.json", "b.json"}));
  EXPECT_EQ(options.threshold_pct, 5.5);
  expect_refused({"compare", "a.json"}, "compare needs two reports");
  expect_refused({"compare", "a", "b", "c"}, "unexpected 'c'");
  EXPECT_EQ(parse({"compare", "a", "b", "--threshold", "3%"}).threshold_pct, 3);
  EXPECT_EQ(parse({"compare", "a", "b", "--filter", "experts<=8"}).sweep.filter, "experts<=8");
  EXPECT_TRUE(parse({"compare", "a", "b", "--markdown"}).markdown);
}

TEST(Options, TakeTwoProgramsToRunInTurns) {
  const Options options = parse({"ab", "old/moebench --engine loop", "new/moebench", "--threshold", "1%",
                                 "--", "--experts", "8", "--quiet"});
  EXPECT_EQ(options.command, Command::ab);
  EXPECT_EQ(options.arguments, (Strings{"old/moebench --engine loop", "new/moebench"}));
  EXPECT_EQ(options.common, (Strings{"--experts", "8", "--quiet"}));
  EXPECT_FALSE(options.quiet) << "it is the programs'";
  EXPECT_EQ(parse({"ab", "x", "y", "--repetitions", "20"}).repetitions, 20);
  EXPECT_EQ(parse({"run", "--repetitions", "5"}).repetitions, 5);
  expect_refused({"ab", "x"}, "ab needs two programs");
  expect_refused({"ab", "x", "y", "--repetitions", "0"}, "--repetitions: '0'");
}

TEST(Options, RefuseStrayWords) {
  expect_refused({"run", "8"}, "unexpected '8' after 'run'");
  expect_refused({"run", "--tokens", "8", "16"}, "unexpected '16'");
  expect_refused({"help", "run", "verify"}, "unexpected 'verify'");
  expect_refused({"run", "--", "stray"}, "unexpected 'stray'");
}

TEST(Options, ReadOnlyTheirOwnVariables) {
  setenv("MOEBENCH_SEED", "3=4", 1);
  setenv("MOEBENCHMARK", "x", 1);
  const Variables environment = moebench_variables();
  EXPECT_EQ(environment.at("MOEBENCH_SEED"), "3=4");
  EXPECT_FALSE(environment.contains("MOEBENCHMARK"));
  unsetenv("MOEBENCH_SEED");
  unsetenv("MOEBENCHMARK");
}

TEST(Options, RefuseToVerifyWithoutChecking) {
  const char* const message = "verify checks nothing with --check none (or MOEBENCH_CHECK=none)";
  expect_refused({"verify", "--check", "none"}, message);
  expect_refused({"verify"}, message, {{"MOEBENCH_CHECK", "none"}});
  EXPECT_EQ(parse({"verify", "--check", "quick"}, {{"MOEBENCH_CHECK", "none"}}).sampling.check,
            CheckMode::quick);
  EXPECT_EQ(parse({"run"}, {{"MOEBENCH_CHECK", "none"}}).sampling.check, CheckMode::none);
}

TEST(Options, CheckAgainOnlyWhatIsChecked) {
  EXPECT_FALSE(parse({"run"}).sampling.recheck);
  EXPECT_TRUE(parse({"run", "--recheck", "on"}).sampling.recheck);
  expect_refused({"run", "--recheck", "on", "--check", "none"},
                 "--recheck on repeats a check, and --check is none");
}

}  // namespace
}  // namespace moebench
