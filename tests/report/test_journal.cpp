// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <functional>

#include "base/error.h"
#include "report/example.h"
#include "report/journal.h"
#include "report/record_json.h"

namespace moebench {
namespace {

namespace fs = std::filesystem;

Document head() {
  Document document = example::document();
  document.points.clear();
  document.warnings.clear();
  document.run.end.clear();
  return document;
}

std::string message_of(const std::function<void()>& act) {
  try {
    act();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(Journal, HoldsEachRecordOnTheDiskBeforeTheEnd) {
  const example::Directory directory("journal");
  const auto file = directory / "r.json";
  Journal journal(file, OnExisting::refuse, head());
  EXPECT_TRUE(fs::exists(directory / "r.json.part"));
  journal.add(example::record(8, "loop", 100));
  journal.add(Peaks{.backend = "cuda", .copy_gbs = 5});
  journal.warn("something");
  const Document left = read_document(directory / "r.json.part");
  EXPECT_EQ(left.points.size(), 1u);
  EXPECT_EQ(left.peaks.size(), 2u);
  EXPECT_EQ(left.warnings, std::vector<std::string>{"something"});
  EXPECT_FALSE(fs::exists(file));
}

TEST(Journal, IsFoldedIntoOneReport) {
  const example::Directory directory("fold");
  Journal journal(directory / "r.json", OnExisting::refuse, head());
  journal.add(example::record(8, "loop", 100));
  journal.add(example::without_time(16, Status::skipped, "too big"));
  journal.finish(ExitCode::partial);
  EXPECT_FALSE(fs::exists(directory / "r.json.part"));
  const Document report = read_document(directory / "r.json");
  EXPECT_EQ(report.points.size(), 2u);
  EXPECT_EQ(report.run.exit_code, 6);
  EXPECT_FALSE(report.run.interrupted);
  EXPECT_FALSE(report.run.end.empty());
}

TEST(Journal, WritesSamplesOnlyOnRequest) {
  const example::Directory directory("samples");
  for (const bool keep : {false, true}) {
    Journal journal(directory / "r.json", OnExisting::replace, head(), keep);
    journal.add(example::record(8, "loop", 100));
    journal.finish(ExitCode::ok);
    EXPECT_EQ(read_document(directory / "r.json").points[0].time["total"].samples.empty(), !keep);
  }
}

TEST(Journal, RefusesAReportThatExists) {
  const example::Directory directory("exists");
  const auto file = directory / "r.json";
  example::write(file, "precious");
  EXPECT_THROW(Journal(file, OnExisting::refuse, head()), UsageError);
  const auto message = message_of([&] { Journal(file, OnExisting::refuse, head()); });
  EXPECT_NE(message.find("--force"), std::string::npos) << message;
  EXPECT_NE(message.find("--resume"), std::string::npos) << message;
  EXPECT_EQ(example::contents(file), "precious");
  EXPECT_FALSE(fs::exists(directory / "r.json.part"));
}

TEST(Journal, RefusesTheRestOfARunThatDidNotFinish) {
  const example::Directory directory("leftover");
  example::write(directory / "r.json.part", "precious");
  EXPECT_THROW(Journal(directory / "r.json", OnExisting::refuse, head()), UsageError);
  EXPECT_EQ(example::contents(directory / "r.json.part"), "precious");
}

TEST(Journal, ReplacesAReportOnlyAtTheEnd) {
  const example::Directory directory("force");
  const auto file = directory / "r.json";
  example::write(file, "precious");
  Journal journal(file, OnExisting::replace, head());
  journal.add(example::record(8, "loop", 100));
  EXPECT_EQ(example::contents(file), "precious");
  journal.finish(ExitCode::ok);
  EXPECT_EQ(read_document(file).points.size(), 1u);
}

TEST(Journal, ResumesAFinishedReportAndALeftover) {
  const example::Directory directory("resume");
  const auto file = directory / "r.json";
  {
    Journal journal(file, OnExisting::refuse, head());
    journal.add(example::record(8, "loop", 100));
    journal.add(example::without_time(16, Status::failed, "broke"));
    journal.finish(ExitCode::partial);
  }
  {
    Journal journal(file, OnExisting::resume, head());
    journal.add(example::record(32, "loop", 100));
  }  // ends without finish(): a crash
  const auto part = directory / "r.json.part";
  example::write(part, example::contents(part) + "{\"point\":{\"id\":\"to");

  Journal journal(file, OnExisting::resume, head());
  EXPECT_EQ(journal.document().points.size(), 3u);
  EXPECT_NE(journal.find(example::record(8, "loop", 1).id), nullptr);
  EXPECT_NE(journal.find(example::record(32, "loop", 1).id), nullptr);
  EXPECT_EQ(journal.find(example::record(16, "loop", 1).id), nullptr) << "what failed is measured again";
  journal.add(example::record(16, "loop", 100));
  journal.finish(ExitCode::ok);
  const Document report = read_document(file);
  ASSERT_EQ(report.points.size(), 3u);
  for (const auto& point : report.points) EXPECT_TRUE(has_times(point)) << point.bench_case.title();
}

TEST(Journal, SaysWhenWhatItResumesWasMeasuredOtherwise) {
  const example::Directory directory("mixed");
  Document earlier = head();
  earlier.tool.build_type = "Debug";
  earlier.tool.commit = "b";
  {
    Journal journal(directory / "r.json", OnExisting::refuse, earlier);
    journal.add(example::record(8, "loop", 100));
  }
  const Journal journal(directory / "r.json", OnExisting::resume, head());
  const std::string warnings = join(journal.document().warnings, "\n");
  EXPECT_NE(warnings.find("build type: Debug / Release"), std::string::npos) << warnings;
  EXPECT_NE(warnings.find("another commit"), std::string::npos) << warnings;
}

TEST(Journal, DoesNotResumeWhatIsNoReport) {
  const example::Directory directory("noreport");
  example::write(directory / "r.json", "{\"mine\": true}");
  EXPECT_THROW(Journal(directory / "r.json", OnExisting::resume, head()), UsageError);
  EXPECT_EQ(example::contents(directory / "r.json"), "{\"mine\": true}");
}

TEST(Journal, RefusesAnUnwritablePlaceBeforeAnythingIsMeasured) {
  const example::Directory directory("unwritable");
  EXPECT_THROW(Journal(directory / "none/r.json", OnExisting::refuse, head()), EnvironmentError);
  EXPECT_THROW(Journal("/dev/null", OnExisting::replace, head()), EnvironmentError);
  EXPECT_THROW(Journal("/proc/moebench.json", OnExisting::refuse, head()), EnvironmentError);
  fs::create_directories(directory / "r.json");
  EXPECT_THROW(Journal(directory / "r.json", OnExisting::replace, head()), EnvironmentError);
}

TEST(Journal, LosesNothingWhenTheDiskFillsUp) {
  const example::Directory directory("full");
  Journal journal(directory / "r.json", OnExisting::refuse, head());
  journal.add(example::record(8, "loop", 100));
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{fs::file_size(directory / "r.json.part") + 100, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &limit);
  const auto add = message_of([&] { journal.add(example::record(16, "loop", 100)); });
  const auto finish = message_of([&] { journal.finish(ExitCode::environment); });
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_NE(add.find("cannot write"), std::string::npos) << add;
  EXPECT_NE(finish.find("every record is kept"), std::string::npos) << finish;
  EXPECT_EQ(read_document(directory / "r.json.part").points.size(), 1u);
  EXPECT_FALSE(fs::exists(directory / "r.json"));
  // With space again the record that did not fit is not lost either: it is in the document.
  journal.finish(ExitCode::ok);
  EXPECT_EQ(read_document(directory / "r.json").points.size(), 2u);
}

TEST(Journal, IsWrittenByOneRunAtATime) {
  const example::Directory directory("two");
  const auto file = directory / "r.json";
  Journal first(file, OnExisting::refuse, head());
  first.add(example::record(8, "loop", 100));
  for (const auto way : {OnExisting::refuse, OnExisting::resume, OnExisting::replace}) {
    EXPECT_THROW(Journal(file, way, head()), EnvironmentError);
    const auto message = message_of([&] { Journal(file, way, head()); });
    EXPECT_NE(message.find("another run (pid "), std::string::npos) << message;
    EXPECT_NE(message.find("r.json"), std::string::npos) << message;
  }
  first.finish(ExitCode::ok);
  Journal second(file, OnExisting::resume, head());
  EXPECT_EQ(second.document().points.size(), 1u);
}

TEST(Journal, KeepsAReportThatAppearsWhileItMeasures) {
  const example::Directory directory("appears");
  const auto file = directory / "r.json";
  Journal journal(file, OnExisting::refuse, head());
  journal.add(example::record(8, "loop", 100));
  example::write(file, "precious");
  const auto message = message_of([&] { journal.finish(ExitCode::ok); });
  EXPECT_NE(message.find("has appeared meanwhile"), std::string::npos) << message;
  EXPECT_NE(message.find("every record is kept"), std::string::npos) << message;
  EXPECT_EQ(example::contents(file), "precious");
  EXPECT_EQ(read_document(directory / "r.json.part").points.size(), 1u);
}

TEST(Journal, KeepsForEachPointTheRunThatMeasuredIt) {
  const example::Directory directory("runs");
  const auto file = directory / "r.json";
  const auto measure = [&](const std::string& id, const std::string& iters, int experts) {
    Document begun = head();
    begun.earlier_runs.clear();
    begun.run.id = id;
    begun.run.argv = {"moebench", "run", "--iters", iters};
    Journal journal(file, OnExisting::resume, begun);
    journal.add(example::record(experts, "loop", 100));
    journal.finish(ExitCode::ok);
    return join(journal.document().warnings, "\n");
  };
  measure("first", "5", 8);
  measure("second", "5", 16);
  const std::string warnings = measure("third", "77", 32);
  EXPECT_NE(warnings.find("kept points were measured with --iters 5, the others with --iters 77"),
            std::string::npos)
      << warnings;
  const Document report = read_document(file);
  ASSERT_EQ(report.points.size(), 3u);
  EXPECT_EQ(report.points[0].run, "first");
  EXPECT_EQ(report.points[1].run, "second");
  EXPECT_EQ(report.points[2].run, "third");
  EXPECT_EQ(report.run.id, "third");
  ASSERT_EQ(report.earlier_runs.size(), 2u);
  EXPECT_EQ(report.earlier_runs[0].id, "first") << "in order";
  EXPECT_EQ(report.earlier_runs[1].id, "second");
  EXPECT_EQ(report.earlier_runs[0].argv.back(), "5");
  EXPECT_EQ(report.earlier_runs[0].commit, report.tool.commit);
  EXPECT_FALSE(report.earlier_runs[0].start.empty());
}

TEST(Journal, GivesPointsWithoutARunToTheReportThatHeldThem) {
  const example::Directory directory("oldruns");
  Document earlier = head();
  earlier.run.id = "old";
  earlier.points = {example::record(8, "loop", 100)};
  earlier.points[0].run.clear();
  example::write(directory / "r.json", text_of(to_json(earlier)));
  const Journal journal(directory / "r.json", OnExisting::resume, head());
  ASSERT_EQ(journal.document().points.size(), 1u);
  EXPECT_EQ(journal.document().points[0].run, "old");
}

TEST(Journal, FollowsALinkToAReport) {
  const example::Directory directory("link");
  example::write(directory / "real.json", "old");
  fs::create_symlink(directory / "real.json", directory / "link.json");
  Journal journal(directory / "link.json", OnExisting::replace, head());
  journal.finish(ExitCode::ok);
  EXPECT_TRUE(fs::is_symlink(directory / "link.json"));
  EXPECT_NO_THROW(read_document(directory / "real.json"));
}

TEST(Journal, MeasuresAgainWhatWasCheckedLessThanAsked) {
  const example::Directory directory("less");
  Journal journal(directory / "r.json", OnExisting::refuse, head());
  Record quick = example::record(8, "loop", 100), unchecked = example::record(16, "loop", 100);
  unchecked.check = {};
  quick.check.rechecked_sets = 0;
  journal.add(quick);
  journal.add(unchecked);
  const auto holds = [&](const Record& record, CheckMode asked, bool recheck = false) {
    return journal.reuse(record.bench_case, asked, recheck) != nullptr;
  };
  EXPECT_TRUE(holds(quick, CheckMode::none) && holds(quick, CheckMode::quick));
  EXPECT_FALSE(holds(quick, CheckMode::full));
  EXPECT_FALSE(holds(quick, CheckMode::quick, true)) << "it was not checked again after timing";
  quick.check.rechecked_sets = 2;
  journal.add(quick);
  EXPECT_TRUE(holds(quick, CheckMode::quick, true));
  EXPECT_TRUE(holds(unchecked, CheckMode::none));
  EXPECT_FALSE(holds(unchecked, CheckMode::quick));
}

TEST(Journal, SaysOfHeldPointsWhichStayAndWhichAreMeasuredAgain) {
  const example::Directory directory("settle");
  const auto path = directory / "a.json";
  Document head = example::document();
  head.points.clear();
  {
    Journal journal(path, OnExisting::refuse, head);
    for (const int experts : {8, 16, 32}) journal.add(example::record(experts, "loop", 1000));
    journal.finish(ExitCode::ok);
  }
  const auto said = [&](const std::vector<Case>& to_measure) {
    Journal journal(path, OnExisting::resume, head);
    journal.settle_held(to_measure);
    journal.finish(ExitCode::ok);
    return join(journal.document().warnings, "\n");
  };
  const std::vector<Case> all{example::record(8, "loop", 1).bench_case,
                              example::record(16, "loop", 1).bench_case,
                              example::record(32, "loop", 1).bench_case};
  const std::string again = said(all);
  EXPECT_EQ(again.find("points were kept"), std::string::npos) << again;
  EXPECT_NE(again.find("3 points of the run of 2026-01-31T12:00:00Z"), std::string::npos) << again;
  const std::string one = said({all[0]});
  EXPECT_NE(one.find("2 points were kept from the run of "), std::string::npos) << one;
  EXPECT_NE(one.find("are measured again"), std::string::npos) << one;
}

}  // namespace
}  // namespace moebench
