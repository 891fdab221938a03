// SPDX-License-Identifier: Apache-2.0
// The chain of questions that every case passes before anything is measured.
#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"
#include "bench/why_not.h"
#include "suite/flag.h"

namespace moebench {
namespace {

Case small() { return {.shape = {.tokens = 16, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 2}}; }

/// A backend of which every part says no.
class Refusing final : public Capabilities {
 public:
  std::string_view name() const override { return "refusing"; }
  bool supports(DType) const override { return false; }
  std::vector<std::string> engines() const override { return {"loop", "grouped"}; }
  std::string why_not(std::string_view engine, const EngineShape& shape) const override {
    asked = shape;
    return refuse_engine ? "engine " + std::string(engine) + " refuses" : "";
  }
  std::string why_not(const Shape&) const override { return "backend refuses"; }

  EngineTraits traits(std::string_view engine, const EngineShape&) const override {
    return {.row_order = engine == "grouped" ? RowOrder::by_token : RowOrder::by_expert};
  }

  bool refuse_engine = true;
  mutable EngineShape asked{};
};

TEST(WhyNot, SaysNothingOfACaseThatCanRun) {
  EXPECT_EQ(why_not(small(), cpu_capabilities()), "");
  for (const SubjectKind subject : {SubjectKind::dense, SubjectKind::linear}) {
    Case other = small();
    other.subject = subject;
    other.passes = default_passes(subject);
    EXPECT_EQ(why_not(other, cpu_capabilities()), "");
  }
}

TEST(WhyNot, AsksSizesGateEngineSubjectAndBackendInThisOrder) {
  Refusing backend;
  Case point = small();
  point.shape.top_k = 9;
  point.gate = "no-gate";
  EXPECT_EQ(why_not(point, backend), "top_k 9 exceeds experts 4");
  point.shape.top_k = 2;
  EXPECT_EQ(why_not(point, backend),
            "unknown gate 'no-gate'; valid: topk, softmax-topk, sigmoid, sqrtsoftplus, switch, gshard, "
            "noisy-topk, forced, expert-choice, sinkhorn");
  point.gate = "topk";
  EXPECT_EQ(why_not(point, backend), "engine loop refuses");
  backend.refuse_engine = false;
  EXPECT_EQ(why_not(point, backend), "backend refuses");
  point.subject = SubjectKind::linear;
  EXPECT_EQ(why_not(point, backend), "subject linear has no fwd+bwd pass; valid: fwd");
}

TEST(WhyNot, RefusesAPlantedRoutingThatTheGateWouldNotFollow) {
  Case point = small();
  point.routing = parse_routing("zipf:1");
  EXPECT_EQ(why_not(point, cpu_capabilities()), "");
  point.gate = "forced";
  EXPECT_EQ(why_not(point, cpu_capabilities()), "gate forced does not follow routing zipf:1; valid: random");
  point.gate = "sigmoid";
  point.gate_options.bias = 1;
  EXPECT_EQ(why_not(point, cpu_capabilities()), "") << "replayed of itself";
  point.routing_via = RoutingVia::planted;
  EXPECT_EQ(why_not(point, cpu_capabilities()),
            "a gate with a bias does not follow routing zipf:1; valid: random, or --routing-via replayed");
  point.routing_via = RoutingVia::replayed;
  EXPECT_EQ(why_not(point, cpu_capabilities()), "");
  point.gate_options.losses.aux = 0.1;
  EXPECT_NE(why_not(point, cpu_capabilities()).find("count its own choice"), std::string::npos);
  point.gate_options = {};
  for (const char* gate : {"forced", "noisy-topk"}) {
    point.gate = gate;
    EXPECT_NE(why_not(point, cpu_capabilities()).find("draws by chance"), std::string::npos) << gate;
  }
  point.routing_via = {};
  point.gate = "sigmoid";
  point.gate_options.bias = 1;
  point.routing = {};
  EXPECT_EQ(why_not(point, cpu_capabilities()), "");
  point.gate = "topk";
  EXPECT_EQ(why_not(point, cpu_capabilities()),
            "this gate has no bias; valid: --gate sigmoid or sqrtsoftplus");
}

TEST(WhyNot, AsksAnEngineAboutTheExpertsOfOneRank) {
  Refusing backend;
  Case point = small();
  point.shape.ranks = point.shape.ep = 2;
  point.passes = PassSet::fwd;
  point.streams = 3;
  EXPECT_EQ(why_not(point, backend), "engine loop refuses");
  EXPECT_EQ(backend.asked.experts, 2);
  EXPECT_EQ(backend.asked.top_k, 2);
  EXPECT_EQ(backend.asked.streams, 3);
  EXPECT_FALSE(backend.asked.single_rank);
  EXPECT_FALSE(backend.asked.backward);
}

TEST(WhyNot, KnowsByItsTraitsWhichEngineTheDirectExchangeCannotServe) {
  Refusing backend;
  backend.refuse_engine = false;
  Case point = small();
  point.shape.ranks = point.shape.ep = 2;
  point.exchange = Exchange::direct;
  point.engine = "grouped";
  EXPECT_EQ(why_not(point, backend),
            "exchange direct brings rows by expert, and engine grouped reads them by token");
  point.engine = "loop";
  EXPECT_EQ(why_not(point, backend), "backend refuses");
  point.overlap = Overlap::wgrad;
  EXPECT_EQ(
      why_not(point, backend),
      "overlap wgrad needs an engine that runs a pass in parts; engine loop of backend refusing does not");
}

TEST(WhyNot, LetsABiasThatMovesWorkAgainstAPlantedRouting) {
  Case point = small();
  point.routing = parse_routing("zipf:1");
  point.gate = "sigmoid";
  point.gate_options.bias_update = 0.001;
  EXPECT_EQ(why_not(point, cpu_capabilities()), "");
  point.routing_via = RoutingVia::replayed;
  EXPECT_EQ(
      why_not(point, cpu_capabilities()),
      "the bias that moves follows the gate's own choice, so no routing can be replayed over it; valid: no "
      "--gate-bias-update");
  point.gate = "sinkhorn";
  point.gate_options = {};
  EXPECT_EQ(why_not(point, cpu_capabilities()), "");
  point.routing_via = RoutingVia::planted;
  EXPECT_EQ(why_not(point, cpu_capabilities()),
            "gate sinkhorn does not follow routing zipf:1; valid: random, or --routing-via replayed");
}

TEST(WhyNot, RefusesRoomForARowInEachPlaceOfAToken) {
  Case point = small();
  point.gate = "expert-choice";
  point.gate_options.capacity = {.factor = 1, .policy = DropPolicy::probs};
  point.shape.slots = 4;
  EXPECT_EQ(why_not(point, cpu_capabilities()), "");
  point.shape.ranks = point.shape.ep = 2;
  point.exchange = Exchange::direct;
  EXPECT_EQ(why_not(point, cpu_capabilities()), "");
  point.overlap = Overlap::tile;
  EXPECT_EQ(
      why_not(point, cpu_capabilities()),
      "overlap tile keeps room for a row in each of the 4 places of a token under gate expert-choice; valid: "
      "none, wgrad, peer");
}

TEST(WhyNot, AsksTheDenseSubjectsEngineAboutOneWideExpert) {
  Refusing backend;
  Case point = small();
  point.subject = SubjectKind::dense;
  EXPECT_EQ(why_not(point, backend), "engine loop refuses");
  EXPECT_EQ(backend.asked.experts, 1);
  EXPECT_EQ(backend.asked.ffn, 16);
}

TEST(WhyNot, NamesTheBackendThatHasTheEngineAndWhyItIsNotHere) {
  Case point = small();
  point.engine = "grouped";
  const auto absent = [] { return std::string("no driver"); };
  const auto here = [] { return std::string(); };
  EXPECT_EQ(why_not(point, cpu_capabilities(), std::vector<OtherBackend>{{"cuda", {"grouped"}, absent}}),
            "engine grouped is of backend cuda, which is not here: no driver");
  EXPECT_EQ(why_not(point, cpu_capabilities(), std::vector<OtherBackend>{{"cuda", {"grouped"}, here}}),
            "engine grouped is of backend cuda, and this run is on cpu");
  EXPECT_EQ(why_not(point, cpu_capabilities(), std::vector<OtherBackend>{{"cuda", {"streams"}, here}}),
            "unknown engine of backend cpu 'grouped'; valid: loop, naive-sample, naive-mask, naive-rau");
}

TEST(WhyNot, RefusesFormatsThatTheCpuLacksForEverySubject) {
  for (const SubjectKind subject : {SubjectKind::layer, SubjectKind::dense, SubjectKind::linear}) {
    Case point = small();
    point.subject = subject;
    point.passes = PassSet::fwd;
    point.shape.dtype = DType::bf16;
    EXPECT_NE(why_not(point, cpu_capabilities()).find("backend cpu "), std::string::npos);
    EXPECT_NE(why_not(point, cpu_capabilities()).find("bf16"), std::string::npos);
  }
}

TEST(WhyNot, RefusesToReplayWithoutGraphs) {
  Case point = small();
  point.graph = true;
  EXPECT_EQ(why_not(point, cpu_capabilities()), "backend cpu has no graphs to replay; valid: --graph off");
}

/// A backend without threads, as a GPU's is.
class Threadless final : public Capabilities {
  std::string_view name() const override { return "gpu"; }
  bool supports(DType) const override { return true; }
  std::vector<std::string> engines() const override { return {"loop"}; }
};

TEST(WhyNot, RefusesThreadsWhereThereAreNone) {
  Case point = small();
  point.threads = 2;
  EXPECT_EQ(why_not(point, cpu_capabilities()), "");
  EXPECT_EQ(why_not(point, Threadless()), "backend gpu has no threads to set; valid: no --threads");
}

TEST(WhyNot, GivesTheSameAnswerOfAnOpenBackendAsOfItsCapabilities) {
  const auto cpu = make_cpu_backend(1);
  Case point = small();
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    point.shape.dtype = dtype;
    EXPECT_EQ(why_not(point, *cpu), why_not(point, cpu_capabilities()));
  }
}

TEST(WhyNot, CountsBytesAndRanks) {
  EXPECT_EQ(why_no_room(100, 100), "");
  EXPECT_EQ(why_no_room(24.3e9, 5000), "needs 24.3 GB on each rank, 5.0 kB are available");
  EXPECT_EQ(why_no_room(Room{.device = 60, .host = 50}, {.device = 0, .host = 100}, true),
            "needs 110 bytes on each rank, 100 bytes are available");
  EXPECT_EQ(why_no_room(Room{.device = 60, .host = 50}, {.device = 60, .host = 50}, false), "");
  EXPECT_EQ(why_no_room(Room{.device = 60, .host = 50}, {.device = 60, .host = 40}, false),
            "in the host's memory: needs 50 bytes on each rank, 40 bytes are available");
  EXPECT_EQ(why_few_ranks(2, 2), "");
  EXPECT_EQ(why_few_ranks(4, 2), "needs 4 ranks, but 2 run; start with mpirun -np 4");
}

TEST(Exchange, HasTheWordsThatItsFlagShows) {
  const Flag& flag = find_flag("exchange");
  EXPECT_EQ(flag.value, std::string(name_of(Exchange::fused)) + "|" +
                            std::string(name_of(Exchange::per_expert)) + "|" +
                            std::string(name_of(Exchange::direct)) + "|" + std::string(kAuto));
}

TEST(WhyNot, RefusesDirectExchangeForEnginesThatReadRowsByToken) {
  Case point;
  point.shape = {.tokens = 8, .hidden = 8, .ffn = 8, .experts = 4, .top_k = 1, .ranks = 2, .ep = 2};
  point.backend = "cpu";
  point.engine = "naive-mask";
  point.exchange = Exchange::direct;
  EXPECT_EQ(why_not(point, cpu_capabilities(), {}),
            "exchange direct brings rows by expert, and engine naive-mask reads them by token");
  point.engine = "loop";
  EXPECT_EQ(why_not(point, cpu_capabilities(), {}), "");
  point.shape.ranks = point.shape.ep = point.shape.experts = 32;
  EXPECT_EQ(why_not(point, cpu_capabilities(), {}), "exchange direct joins at most 16 ranks, not 32");
}

}  // namespace
}  // namespace moebench
