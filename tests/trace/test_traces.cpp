// SPDX-License-Identifier: Apache-2.0
// Traces that their formats' own libraries wrote (PyTorch 2.11, NumPy 2.5, the lines of Megatron-LM's tracer), what becomes of
// them, and files that are not what they say. golden/make.py writes them.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "suite/expect_usage_error.h"
#include "trace/npy.h"
#include "trace/torch_file.h"
#include "trace/torch_tensor.h"
#include "trace/trace_reader.h"
#include "trace/trace_selection.h"

namespace moebench {
namespace {

namespace fs = std::filesystem;
using Experts = std::vector<std::int32_t>;

const std::string kGolden = MOEBENCH_GOLDEN;

std::vector<TraceStep> all_of(TraceReader& reader) {
  std::vector<TraceStep> steps;
  TraceStep step;
  while (reader.next(step, [](auto, auto) { return true; })) steps.push_back(step);
  return steps;
}
std::vector<TraceStep> all_of(const std::string& path, ArrayMeaning meaning = ArrayMeaning::experts) {
  return all_of(*open_trace(path, meaning));
}

/// A folder that goes when the test ends.
class Traces : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / cat("moebench-traces-", ::getpid(), "-",
                                              testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  static std::string bytes_of(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string file(const std::string& name, const std::string& bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
  /// Writes `from` in the format that the name says, and reads it again.
  std::vector<TraceStep> converted(const std::string& from, const std::string& to,
                                   ArrayMeaning meaning = ArrayMeaning::experts) const {
    const auto reader = open_trace(from);
    const auto writer = create_trace(path(to), reader->info(), meaning);
    TraceStep step;
    while (reader->next(step, [](auto, auto) { return true; })) writer->add(step);
    writer->finish();
    return all_of(path(to), meaning);
  }

  fs::path folder_;
};

/// One line that names the file and the byte.
template <class Body>
void expect_refused(const Body& body, const std::string& words) {
  expect_usage_error(body, words, " at byte ");
}

TEST_F(Traces, OfTheTokenImbalanceBenchmarkAreRead) {
  const auto reader = open_trace(kGolden + "/v1");
  EXPECT_EQ(reader->info().experts, 8);
  EXPECT_EQ(reader->info().top_k, 2);
  const auto steps = all_of(*reader);
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0].step, 5);
  EXPECT_EQ(steps[0].layer, 3);
  EXPECT_EQ(steps[0].experts, (Experts{0, 7, 4, 7, 2, 6, 0, 4, 2, 4, 0, 4}));
  EXPECT_NEAR(steps[0].weights[0], 0.33870584, 1e-7);
}

TEST_F(Traces, OfRolloutsAreRead) {
  const auto steps = all_of(kGolden + "/r3.npy");
  ASSERT_EQ(steps.size(), 3u);
  EXPECT_EQ(steps[0].experts, (Experts{6, 2, 2, 3, 5, 7, 3, 1, 7, 1}));
  EXPECT_EQ(steps[2].experts, (Experts{4, 1, 4, 6, 1, 3, 6, 1, 1, 5}));
  EXPECT_EQ(steps[2].layer, 2);
}

TEST_F(Traces, OfCountsAreRead) {
  const auto steps = all_of(kGolden + "/counts.npy");
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_EQ(steps[1].counts, (std::vector<std::int64_t>{0, 0, 0, 0, 3, 3, 3, 3}));
  EXPECT_EQ(all_of(kGolden + "/load.npy")[0].counts, (std::vector<std::int64_t>{4, 3, 2, 1, 1, 1, 0, 0}));
  EXPECT_EQ(all_of(kGolden + "/r3.npy", ArrayMeaning::counts).size(), 15u);
}

TEST_F(Traces, OfMegatronJoinTheTokensOfItsRanks) {
  const auto steps = all_of(kGolden + "/megatron");
  ASSERT_EQ(steps.size(), 6u);
  EXPECT_EQ(steps[0].tokens, 7);
  EXPECT_EQ(steps[0].layer, 3);
  EXPECT_EQ(Experts(steps[0].experts.begin(), steps[0].experts.begin() + 2), (Experts{3, 4}));
  EXPECT_EQ(Experts(steps[0].experts.begin() + 6, steps[0].experts.begin() + 8), (Experts{4, 5}));
  EXPECT_EQ(steps[2].layer, 10000);  // of the first MTP block
  EXPECT_EQ(steps[3].step, 1);
  EXPECT_EQ(all_of(kGolden + "/megatron/router_trace_rank0.jsonl")[0].tokens, 3);
}

TEST_F(Traces, ComeBackFromEveryFormatThatHoldsThem) {
  const auto same = [](const std::vector<TraceStep>& a, const std::vector<TraceStep>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].step, b[i].step);
      EXPECT_EQ(a[i].layer, b[i].layer);
      EXPECT_EQ(a[i].experts, b[i].experts);
      EXPECT_EQ(a[i].weights, b[i].weights);
      EXPECT_EQ(a[i].counts, b[i].counts);
    }
  };
  for (const char* name : {"/v1", "/r3.npy", "/counts.npy", "/megatron"})
    same(all_of(kGolden + name), converted(kGolden + name, cat("own-of-", std::string(name).substr(1, 2))));
  same(all_of(kGolden + "/r3.npy"), converted(kGolden + "/r3.npy", "again.npy"));
  same(all_of(kGolden + "/megatron"), converted(kGolden + "/megatron", "again.jsonl"));
  same(all_of(kGolden + "/v1"), converted(kGolden + "/v1", "again/"));
  const auto counts = converted(kGolden + "/v1", "counts.npy", ArrayMeaning::counts);
  EXPECT_EQ(counts[0].counts, (std::vector<std::int64_t>{3, 0, 2, 0, 4, 0, 1, 2}));
}

TEST_F(Traces, AreRefusedWhereAFormatCannotHoldThem) {
  EXPECT_THROW(converted(kGolden + "/megatron", "two-steps.npy"), UsageError);
  EXPECT_THROW(converted(kGolden + "/counts.npy", "counts.jsonl"), UsageError);
  EXPECT_FALSE(fs::exists(path("counts.jsonl")));  // nothing is left of what was not finished
  file("there", "x");
  EXPECT_THROW(create_trace(path("there"), {"", 8, 2}), UsageError);
  fs::create_directory(path("folder"));
  EXPECT_THROW(create_trace(path("folder/"), {"", 8, 2}), UsageError);
  expect_usage_error([&] { converted(kGolden + "/megatron", "v1/"); }, "give --experts");
  expect_usage_error([&] { converted(kGolden + "/counts.npy", "v1/"); }, "counts alone");
  const auto writer = create_trace(path("v1/"), {"", 8, 2});
  expect_usage_error([&] { writer->finish(); }, "none was selected");
  TraceStep step{.tokens = 1, .experts = {0, 1}, .weights = {}, .counts = {}};
  expect_usage_error([&] { writer->add(step); }, "the trace has none");
  step.weights = {0.5f, 0.75f};
  expect_usage_error([&] { writer->add(step); }, "those of token 0 sum to 1.25");
  EXPECT_FALSE(fs::exists(path("v1")));
  step.weights = {0.25f, 0.75f};
  writer->add(step);
  expect_usage_error([&] { writer->add(step); }, "one step of one layer");
}

TEST_F(Traces, CutAnywhereAreRefusedWithTheirPlace) {
  converted(kGolden + "/v1", "whole.moeroute");
  for (const std::string& whole : {path("whole.moeroute"), kGolden + "/r3.npy", kGolden + "/counts.npy"}) {
    const std::string bytes = bytes_of(whole);
    for (std::size_t size = 1; size < bytes.size(); size += size < 128 ? 1 : 7)
      expect_refused([&] { all_of(file("cut", bytes.substr(0, size))); }, "");
  }
  const std::string tensor = bytes_of(kGolden + "/v1/tensors/gates.pt");
  for (std::size_t size = 0; size < tensor.size(); size += 3)
    expect_refused(
        [&] { parse_torch_tensor(*source_of("t.pt", std::as_bytes(std::span(tensor).first(size)))); },
        "t.pt");
}

TEST_F(Traces, ThatAnnounceMoreThanThereIsAreRefusedBeforeMemoryIsTaken) {
  std::string huge = npy_head("<i4", {std::int64_t{1} << 40, 1000, 8});
  expect_refused([&] { all_of(file("huge.npy", huge)); }, "were announced here");
  std::string odd = npy_head("<i4", {1, 1, 1});
  odd.replace(odd.find("<i4"), 3, "<\nx");
  expect_refused([&] { all_of(file("odd.npy", odd)); }, "elements are '<?x'");
  converted(kGolden + "/v1", "own");
  std::string own = bytes_of(path("own"));
  const std::int64_t many = std::int64_t{1} << 60;
  std::memcpy(&own[32 + 24], &many, sizeof many);
  expect_refused([&] { all_of(file("own2", own)); }, "at most");
}

TEST_F(Traces, WithExpertsThatRepeatOrDoNotExistAreRefused) {
  converted(kGolden + "/v1", "own");
  std::string own = bytes_of(path("own"));
  own[32 + 40] = own[32 + 41];
  expect_refused([&] { all_of(file("twice", own)); }, "has expert 7 twice");
  own[32 + 40] = 8;
  expect_refused([&] { all_of(file("ninth", own)); }, "not in 0 to 7");
  const char* line = R"({"step": 0, "layer": 0, "num_tokens": 1, "topk": 2, "top_indices": [[3, -1]]})";
  expect_refused([&] { all_of(file("none.jsonl", line)); }, "not in 0 to");
}

TEST_F(Traces, OfBadLinesAreRefused) {
  const auto of_line = [&](const std::string& line) {
    return [this, line] { all_of(file("bad.jsonl", line)); };
  };
  expect_refused(of_line("{\"step\": 0"), "not JSON");
  expect_refused(of_line("{\"step\": 0}"), "needs step, layer");
  expect_refused(of_line(R"({"step":0,"layer":0,"num_tokens":2,"topk":1,"top_indices":[[1]]})"),
                 "1 rows of 1; announced are 2 of 1");
  expect_refused(of_line(R"({"step":0,"layer":0,"num_tokens":1,"topk":1,"top_indices":[[1.5]]})"),
                 "real number");
  expect_refused(of_line(R"({"step":0,"layer":0,"num_tokens":1,"topk":1,"top_indices":[[[1]]]})"),
                 "nested too deep");
  expect_refused(of_line(R"({"step":0,"layer":0,"num_tokens":2,"topk":1,"top_indices":[[1],[1,2]]})"),
                 "differ in length");
  expect_refused(of_line("{" + std::string(100000, '[')), "not JSON");
}

TEST_F(Traces, RunNoPickle) {
  const auto tensor = [](const std::string& name) {
    const std::string bytes = bytes_of(kGolden + "/" + name);
    return parse_torch_tensor(*source_of(name, std::as_bytes(std::span(bytes))));
  };
  EXPECT_EQ(tensor("v1/tensors/gates.pt").shape, (std::vector<std::int64_t>{6, 2}));
  EXPECT_EQ(tensor("v1/tensors/source_rank.pt").type, TorchType::int32);
  expect_refused([&] { tensor("dict.pt"); }, "a tensor was expected here");
  expect_refused([&] { tensor("strided.pt"); }, "rows one after the other was expected here");
  expect_refused([&] { tensor("legacy.pt"); }, "not the zip archive");
  std::string hostile = bytes_of(kGolden + "/v1/tensors/gates.pt");
  hostile.replace(hostile.find("torch._utils\n_rebuild_tensor_v2"), 12, "posix\nsystem");
  expect_refused([&] { parse_torch_tensor(*source_of("evil.pt", std::as_bytes(std::span(hostile)))); },
                 "a tensor was expected");
}

TEST_F(Traces, TensorsAreWrittenAsTorchWritesThem) {
  for (const std::string name : {"token_ids", "gates", "source_rank", "expert_ids"}) {
    const std::string golden = bytes_of(kGolden + "/v1/tensors/" + name + ".pt");
    const TorchTensor tensor = parse_torch_tensor(*source_of(name, std::as_bytes(std::span(golden))));
    const auto elements =
        std::as_bytes(std::span(golden))
            .subspan(tensor.begin, tensor.elements() * (tensor.type == TorchType::int64 ? 8 : 4));
    const std::string made = torch_file(name, tensor.type, tensor.shape, elements);
    const std::size_t pickle = made.find(
        "\x80\x02"
        "ctorch");
    const std::size_t stop = made.find('.', made.find("OrderedDict", pickle));
    ASSERT_NE(stop, std::string::npos);
    EXPECT_NE(golden.find(made.substr(pickle, stop + 1 - pickle)), std::string::npos)
        << name << ": opcode by opcode";
    const TorchTensor again = parse_torch_tensor(*source_of(name, std::as_bytes(std::span(made))));
    EXPECT_EQ(again.shape, tensor.shape);
    EXPECT_EQ(again.begin % 64, 0u) << "aligned, as torch.save has it";
    EXPECT_EQ(made.substr(again.begin, elements.size()), golden.substr(tensor.begin, elements.size()));
  }
  expect_usage_error([] { torch_file("x", TorchType::int32, {std::int64_t{1} << 31}, {}); },
                     "does not fit a .pt file");
}

TEST_F(Traces, WithAnotherHashAreRefused) {
  fs::copy(kGolden + "/v1", folder_ / "v1", fs::copy_options::recursive);
  const std::string gates = path("v1/tensors/gates.pt");
  std::string bytes = bytes_of(gates);
  bytes[0x2c0] ^= 1;
  std::ofstream(gates, std::ios::binary) << bytes;
  expect_refused([&] { all_of(path("v1")); }, "SHA-256");
  fs::remove(gates);
  EXPECT_THROW(all_of(path("v1")), UsageError);
}

TEST(TraceSelection, IsReadFromTheEnd) {
  const TraceSelection all = parse_selection("a@b/c.npy");
  EXPECT_EQ(all.path, "a@b/c.npy");
  EXPECT_FALSE(all.layer);
  const TraceSelection some = parse_selection("x.npy@layer=3@step=4-9@as=counts");
  EXPECT_EQ(some.path, "x.npy");
  EXPECT_EQ(some.layer, 3);
  EXPECT_EQ(some.first_step, 4);
  EXPECT_EQ(some.last_step, 9);
  EXPECT_EQ(some.meaning, ArrayMeaning::counts);
  for (const char* bad : {"", "@layer=1", "x@layer=", "x@step=3-1", "x@step=a", "x@as=trace"})
    EXPECT_THROW(parse_selection(bad), UsageError) << bad;
}

TEST(TraceSelection, SaysWhatIsReplayed) {
  const TraceFacts facts = facts_of(parse_selection(kGolden + "/megatron@layer=4"));
  EXPECT_EQ(facts.steps, 2);
  EXPECT_EQ(facts.selection, "layer 4, all steps");
  EXPECT_EQ(facts.sha256.size(), 64u);
  EXPECT_EQ(facts_of(parse_selection(kGolden + "/megatron")).layer, 3);  // the first
  EXPECT_THROW(facts_of(parse_selection(kGolden + "/megatron@layer=9")), UsageError);
  const Shape shape{.tokens = 10, .hidden = 4, .ffn = 4, .experts = 8, .top_k = 2};
  EXPECT_EQ(why_not_replayed(facts, shape), "");
  EXPECT_NE(fitting_of(facts, shape).find("repeated"), std::string::npos);
  Shape other = shape;
  other.top_k = 1;
  EXPECT_NE(why_not_replayed(facts, other).find("top-k 2"), std::string::npos);
  other = shape, other.experts = 4;
  EXPECT_NE(why_not_replayed(facts, other).find("an expert 7"), std::string::npos);
}

TEST(TraceSelection, IsDrawnRowByRowAndFromTheStartAgain) {
  const Shape shape{.tokens = 12, .hidden = 4, .ffn = 4, .experts = 8, .top_k = 2};
  const auto draw = draw_trace(parse_selection(kGolden + "/v1"), shape, 1);
  std::vector<std::int64_t> chosen(2);
  for (const auto& [token, expected] :
       {std::pair(0, std::vector<std::int64_t>{0, 7}), {5, {0, 4}}, {7, {4, 7}}}) {
    draw->choose(3, token, chosen);
    EXPECT_EQ(chosen, expected) << token;
  }
}

TEST(TraceSelection, OfCountsHasTheseCounts) {
  const Shape shape{.tokens = 6, .hidden = 4, .ffn = 4, .experts = 8, .top_k = 2};
  const auto draw = draw_trace(parse_selection(kGolden + "/counts.npy@layer=1"), shape, 1);
  std::vector<std::int64_t> rows(8), chosen(2);
  for (std::int64_t t = 0; t < 6; ++t) {
    draw->choose(0, t, chosen);
    EXPECT_NE(chosen[0], chosen[1]);
    for (const std::int64_t e : chosen) ++rows[e];
  }
  EXPECT_EQ(rows, (std::vector<std::int64_t>{0, 0, 0, 0, 3, 3, 3, 3}));
}

}  // namespace
}  // namespace moebench
