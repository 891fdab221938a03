// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "moe/random_experts.h"
#include "project/projection.h"
#include "project/published.h"
#include "suite/expect_usage_error.h"

namespace moebench {
namespace {

/// 100 GB/s in a node and 10 GB/s between nodes, 4 GPUs per node; fitted up to 16 GPUs with 5 % error.
Fabric a_fabric() {
  const auto number = [](double value) {
    return Sourced{.value = value, .provenance = Provenance::fitted, .source = "a test"};
  };
  return {.name = "test",
          .gpus_per_node = 4,
          .intra = {number(100), number(100), number(20)},
          .inter = Tier{number(10), number(10), number(200)},
          .largest_gpus = number(16),
          .error_pct = number(5)};
}

Shape a_layer() {
  return {.tokens = 256,
          .hidden = 64,
          .ffn = 128,
          .experts = 16,
          .top_k = 4,
          .activation = Activation::swiglu,
          .dtype = DType::bf16};
}

Shape a_job(int ranks, int ep) {
  Shape job = a_layer();
  job.ranks = ranks;
  job.ep = ep;
  job.tokens *= ranks;
  return job;
}

Projection projection_of(const std::vector<std::int64_t>& nodes, ProjectRequest request = {},
                         const ComputeTable& compute = {}) {
  request.nodes = nodes;
  Projection all = project_exchanges(a_layer(), {}, 1, request, a_fabric());
  project_times(all, compute);
  return all;
}

std::int64_t total_rows(const Traffic& traffic) {
  return std::accumulate(traffic.ranks.begin(), traffic.ranks.end(), std::int64_t{0},
                         [](std::int64_t sum, const RankTraffic& rank) { return sum + rank.rows; });
}

TEST(Traffic, DrawsDifferentExpertsForEachToken) {
  std::vector<std::int64_t> chosen(8), again(8);
  for (std::int64_t token = 0; token < 1000; ++token) {
    draw_experts(1, token, 9, chosen);
    EXPECT_EQ(std::set<std::int64_t>(chosen.begin(), chosen.end()).size(), 8u);
    for (const std::int64_t expert : chosen) EXPECT_TRUE(expert >= 0 && expert < 9);
    draw_experts(1, token, 9, again);
    EXPECT_EQ(chosen, again);
  }
  draw_experts(2, 999, 9, again);
  EXPECT_NE(chosen, again);
}

TEST(Traffic, IsEvenAsTheClosedFormSays) {
  Shape job{.tokens = 64 * 512, .hidden = 16, .ffn = 16, .experts = 256, .top_k = 8, .ranks = 64, .ep = 64};
  const Traffic traffic = draw_traffic(job, {}, 1, 8, Dedup::node);
  EXPECT_EQ(total_rows(traffic), job.tokens * 8);
  EXPECT_NEAR(traffic.nodes_per_token, expected_groups(8, 256, 8), 0.02);
  EXPECT_NEAR(traffic.ranks_per_token, expected_groups(64, 256, 8), 0.02);
}

/// The K largest logits of random tokens, as the gate computes them.
Traffic of_the_gate(const Shape& job) {
  const Workload workload(job, {}, 1);
  const UniformField gate = workload.field(Parameter::gate);
  std::vector<float> x(static_cast<std::size_t>(job.tokens * job.hidden));
  workload.input(0, 0, job.tokens, x);
  Traffic traffic;
  traffic.ranks.resize(static_cast<std::size_t>(job.ranks));
  for (std::int64_t token = 0; token < job.tokens; ++token) {
    std::vector<std::pair<double, std::int64_t>> logits;
    for (std::int64_t e = 0; e < job.experts; ++e) {
      double logit = 0;
      for (std::int64_t h = 0; h < job.hidden; ++h)
        logit += x[static_cast<std::size_t>(token * job.hidden + h)] *
                 gate.at(static_cast<std::uint64_t>(h * job.experts + e));
      logits.emplace_back(-logit, e);
    }
    std::partial_sort(logits.begin(), logits.begin() + job.top_k, logits.end());
    std::set<std::int64_t> ranks, nodes;
    for (std::int64_t k = 0; k < job.top_k; ++k) {
      const std::int64_t owner = logits[static_cast<std::size_t>(k)].second / job.experts_per_rank();
      ++traffic.ranks[static_cast<std::size_t>(owner)].rows;
      ranks.insert(owner);
      nodes.insert(owner / 4);
    }
    traffic.ranks_per_token += static_cast<double>(ranks.size()) / static_cast<double>(job.tokens);
    traffic.nodes_per_token += static_cast<double>(nodes.size()) / static_cast<double>(job.tokens);
  }
  return traffic;
}

TEST(Traffic, AgreesInDistributionWithTheGateAtEightRanks) {
  Shape job{.tokens = 8 * 512, .hidden = 64, .ffn = 16, .experts = 64, .top_k = 4, .ranks = 8, .ep = 8};
  const Traffic drawn = draw_traffic(job, {}, 1, 4, Dedup::node), gate = of_the_gate(job);
  EXPECT_EQ(total_rows(drawn), total_rows(gate));
  EXPECT_NEAR(drawn.ranks_per_token, gate.ranks_per_token, 0.02 * gate.ranks_per_token);
  EXPECT_NEAR(drawn.nodes_per_token, gate.nodes_per_token, 0.02 * gate.nodes_per_token);
  const double mean = static_cast<double>(job.tokens * job.top_k) / 8;
  for (const RankTraffic& rank : gate.ranks) EXPECT_NEAR(static_cast<double>(rank.rows), mean, 0.15 * mean);
  for (const RankTraffic& rank : drawn.ranks) EXPECT_NEAR(static_cast<double>(rank.rows), mean, 0.05 * mean);
}

TEST(Traffic, CountsTheBytesOfOneTokenByHand) {
  // One token per GPU, 2 nodes of 2 GPUs, 4 experts, all chosen: every row goes everywhere. A row has 8 · 2 bytes.
  Shape job{.tokens = 4,
            .hidden = 8,
            .ffn = 8,
            .experts = 8,
            .top_k = 8,
            .ranks = 4,
            .ep = 4,
            .dtype = DType::bf16};
  const auto busiest = [&](Dedup dedup) { return draw_traffic(job, {}, 1, 2, dedup).ranks[0]; };
  // Two experts per GPU: two rows to each of two GPUs of the other node, two to the neighbour.
  EXPECT_EQ(busiest(Dedup::none).net_out, 4 * 16);
  EXPECT_EQ(busiest(Dedup::none).node_out, 2 * 16);
  EXPECT_EQ(busiest(Dedup::rank).net_out, 2 * 16);
  EXPECT_EQ(busiest(Dedup::rank).node_out, 1 * 16);
  // Once to the other node; to the neighbour its own row, and the one that it passes on.
  EXPECT_EQ(busiest(Dedup::node).net_out, 1 * 16);
  EXPECT_EQ(busiest(Dedup::node).net_in, 1 * 16);
  EXPECT_EQ(busiest(Dedup::node).node_out, 2 * 16);
  EXPECT_EQ(busiest(Dedup::node).node_in, 2 * 16);
  EXPECT_EQ(busiest(Dedup::node).rows, 8);
}

TEST(Traffic, StaysInsideTheGroupsThatShareTheExperts) {
  const Traffic traffic = draw_traffic(a_job(8, 4), {}, 1, 4, Dedup::node);
  for (const RankTraffic& rank : traffic.ranks) {
    EXPECT_EQ(rank.net(), 0);
    EXPECT_GT(rank.node(), 0);
  }
  EXPECT_EQ(traffic.nodes_per_token, 1);
}

TEST(Traffic, FollowsTheRouting) {
  const Traffic one = draw_traffic(a_job(4, 4), parse_routing("one"), 1, 4, Dedup::rank);
  EXPECT_EQ(one.ranks[0].rows, 4 * 256 * 4);  // experts 0 to 3 are all on the first GPU
  EXPECT_EQ(one.ranks[1].rows, 0);
  const Traffic even = draw_traffic(a_job(4, 4), parse_routing("balanced"), 1, 4, Dedup::rank);
  for (const RankTraffic& rank : even.ranks) EXPECT_EQ(rank.rows, 256 * 4);
  EXPECT_GT(draw_traffic(a_job(4, 4), parse_routing("zipf:1.2"), 1, 4, Dedup::rank).ranks[0].rows, 256 * 4);
}

TEST(Exchange, TakesTheSlowerTierOrBoth) {
  Fabric fabric = a_fabric();
  const RankTraffic traffic{.net_out = 1e6, .net_in = 2e6, .node_out = 5e6, .node_in = 4e6};
  EXPECT_NEAR(exchange_time(fabric, traffic).total_us, 200 + 200,
              1e-9);  // 2 MB at 10 GB/s, 5 MB at 100 are 50 µs
  fabric.concurrent = false;
  EXPECT_NEAR(exchange_time(fabric, traffic).total_us, 200 + 20 + 200 + 50, 1e-9);
  EXPECT_NEAR(exchange_time(fabric, {.node_out = 5e6}).total_us, 20 + 50, 1e-9);
  EXPECT_EQ(exchange_time(fabric, {}).total_us, 0);
}

TEST(Exchange, PredictsHybridEpAsItsLineDoes) {
  // 4096 tokens of 7168, 8 of 8P experts: published 1633, 3679, 6196 µs; the line is within 2 % of them.
  const Fabric fabric = find_fabric("hgx-h100-ndr");
  const double published[] = {1633, 3679, 6196};
  for (int i = 0; i < 3; ++i) {
    const int ranks = 16 << i;
    const Shape job{.tokens = 4096 * ranks,
                    .hidden = 7168,
                    .ffn = 2048,
                    .experts = 8 * ranks,
                    .top_k = 8,
                    .ranks = ranks,
                    .ep = ranks,
                    .dtype = DType::bf16};
    const Traffic traffic = draw_traffic(job, {}, 1, 8, Dedup::node);
    EXPECT_NEAR(exchange_time(fabric, traffic.ranks[0]).total_us, published[i], 0.025 * published[i]);
  }
}

TEST(Projections, OverlapHidesTheSmallerPart) {
  EXPECT_EQ(overlapped(100, 40, 0), 140);
  EXPECT_EQ(overlapped(100, 40, 1), 100);
  EXPECT_EQ(overlapped(100, 40, 0.5), 120);
  EXPECT_EQ(overlapped(40, 100, 1), 100);
}

TEST(Projections, WidenTheirErrorByRootTwoPerDoubling) {
  EXPECT_EQ(widening(16, 16), 1);
  EXPECT_EQ(widening(8, 16), 1);
  EXPECT_NEAR(widening(32, 16), std::sqrt(2), 1e-12);
  EXPECT_NEAR(widening(128, 16), 2 * std::sqrt(2), 1e-12);
}

TEST(Projections, SayWhereTheirExchangeComesFrom) {
  const Projection all = projection_of({1, 4, 8, 16, 32});
  const Provenance expected[] = {Provenance::fitted, Provenance::fitted, Provenance::fitted,
                                 Provenance::extrapolated, Provenance::extrapolated};
  for (std::size_t i = 0; i < all.rows.size(); ++i)
    EXPECT_EQ(all.rows[i].exchange, expected[i]) << all.rows[i].gpus;
  EXPECT_NEAR(all.rows[3].error_pct, 5 * 2, 1e-9);  // 64 GPUs are two doublings beyond 16
  EXPECT_NEAR(all.rows[3].error_us, 0.1 * all.rows[3].comm_us, 1e-9);
}

TEST(Projections, RefuseMoreThanEightTimesWhatWasFitted) {
  expect_usage_error([] { projection_of({1, 33}); }, "--nodes 33 are 132 GPUs, more than 8 times the 16");
  EXPECT_EQ(projection_of({64}, {.extrapolate = true}).rows[0].exchange, Provenance::extrapolated);
}

TEST(Projections, ShareTheExpertsOverAsManyGpusAsDivideBoth) {
  const Projection all = projection_of({1, 2, 3, 8});
  const int expected[] = {4, 8, 4, 16};  // of 4, 8, 12 and 32 GPUs and 16 experts
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(all.rows[i].ep, expected[i]);
  expect_usage_error([] { projection_of({1}, {.ep = 3}); }, "--ep 3 does not divide the 4 GPUs of 1 nodes");
  expect_usage_error([] { projection_of({8}, {.ep = 32}); }, "--ep 32 does not divide the 16 experts");
  expect_usage_error([] { projection_of({1}, {.gpus_per_node = 8}); },
                     "--gpus-per-node 8 exceeds the 4 of test");
}

TEST(Projections, SumGradientsApart) {
  const Projected row = projection_of({2}, {.ep = 4}).rows[0];
  // The gate's 64 · 16 · 2 bytes over 8 GPUs, the 4 experts' 3 · 64 · 128 · 2 bytes over 2: at 10 GB/s, and twice 200 µs.
  EXPECT_NEAR(row.sync_us, 2.0 * 7 / 8 * 2048 / 10e3 + 400 + 2.0 * 1 / 2 * 4 * 49152 / 10e3 + 400, 1e-6);
}

ComputeTable a_table() {
  return {{{.experts = 4,
            .tokens = 256,
            .top_k = 4,
            .rows = 1024,
            .experts_forward = 100,
            .experts_backward = 200,
            .other_forward = 10,
            .other_backward = 20,
            .backward = true},
           {.experts = 4,
            .tokens = 512,
            .top_k = 4,
            .rows = 2048,
            .experts_forward = 180,
            .experts_backward = 360,
            .other_forward = 18,
            .other_backward = 36,
            .backward = true}},
          "report.json"};
}

ComputeNeed a_need(std::int64_t tokens, std::int64_t rows, std::int64_t experts = 4) {
  return {.experts = experts, .rows = rows, .tokens = tokens, .top_k = 4, .all_experts = 16};
}

TEST(Compute, IsReadBetweenMeasuredRowsAndNotBeyond) {
  const ComputeTable table = a_table();
  EXPECT_EQ(table.at(a_need(256, 1024)).experts_forward, 100);
  EXPECT_FALSE(table.at(a_need(256, 1024)).interpolated);
  const ComputeTime time = table.at(a_need(256, 1536));  // half way
  EXPECT_NEAR(time.experts_forward, 140, 1e-9);
  EXPECT_NEAR(time.experts_backward, 280, 1e-9);
  EXPECT_EQ(time.other_forward, 10);
  EXPECT_TRUE(time.interpolated);
  EXPECT_EQ(table.why_not(a_need(256, 2049)),
            "2049 rows are outside the measured 1024 to 2048 at 4 experts in report.json");
  EXPECT_EQ(table.why_not(a_need(255, 1024)),
            "255 tokens are outside the measured 256 to 512 at 4 experts in report.json");
  EXPECT_EQ(table.why_not(a_need(256, 1024, 8)),
            "report.json has no case of 8 experts on one GPU; measured: 4");
}

TEST(Compute, TakesRowsOfAnyTopKAndTheRestOfTheJobs) {
  // Two experts on a GPU cannot be chosen four times: their rows are measured with top-k 1.
  const ComputeTable table(
      {{.experts = 2, .tokens = 1024, .top_k = 1, .rows = 1024, .experts_forward = 90, .other_forward = 1},
       {.experts = 4, .tokens = 256, .top_k = 4, .rows = 1024, .experts_forward = 100, .other_forward = 9},
       {.experts = 16, .tokens = 256, .top_k = 4, .rows = 1024, .experts_forward = 300, .other_forward = 12},
       {.experts = 64, .tokens = 256, .top_k = 4, .rows = 1024, .experts_forward = 500, .other_forward = 40}},
      "report.json");
  const ComputeTime time = table.at(a_need(256, 1024, 2));
  EXPECT_EQ(time.experts_forward, 90);
  EXPECT_EQ(time.other_forward, 12);  // of the case with the job's 16 experts
  EXPECT_EQ(time.gate_experts, 16);
  ComputeNeed other = a_need(256, 1024, 2);
  other.top_k = 3;
  EXPECT_EQ(table.why_not(other), "report.json has no case of top-k 3 for gate, plan, pack and combine");
}

TEST(Compute, OfARankThatWasRunAloneIsTakenAsItIs) {
  const ComputeTable table({{.experts = 4,
                             .tokens = 256,
                             .top_k = 4,
                             .rows = 1500,
                             .all_experts = 16,
                             .ranks = 4,
                             .as_rank = 2,
                             .experts_forward = 150,
                             .other_forward = 15}},
                           "report.json");
  ComputeNeed need = a_need(256, 1024);
  need.ranks = 4;
  ASSERT_TRUE(table.of_rank(2, need));
  EXPECT_EQ(table.of_rank(2, need)->forward(), 165);
  EXPECT_EQ(table.of_rank(2, need)->as_rank, 2);
  EXPECT_EQ(table.of_rank(2, need)->gate_experts, 16);
  EXPECT_FALSE(table.of_rank(1, need));
  need.ranks = 8;
  EXPECT_FALSE(table.of_rank(2, need));
}

TEST(Projections, TakeTheSlowestOfTheRanksThatWereRunAlone) {
  const Projected plan = projection_of({1}).rows[0];
  ASSERT_EQ(plan.worst_ranks.size(), 3u);
  std::vector<ComputePoint> points;
  for (std::size_t i = 0; i < 3; ++i)
    points.push_back({.experts = 4,
                      .tokens = 256,
                      .top_k = 4,
                      .rows = 1000 + static_cast<std::int64_t>(i),
                      .all_experts = 16,
                      .ranks = 4,
                      .as_rank = plan.worst_ranks[i],
                      .experts_forward = i == 1 ? 300.0 : 200.0});
  const Projected row = projection_of({1}, {}, {points, "report.json"}).rows[0];
  ASSERT_TRUE(row.compute);
  EXPECT_EQ(row.compute->as_rank, plan.worst_ranks[1]);
  EXPECT_EQ(row.compute_us, 300);
}

TEST(Projections, AddWhatOneGpuComputes) {
  const Projection all = projection_of({1, 2}, {}, a_table());
  const Projected& row = all.rows[0];
  ASSERT_TRUE(row.compute);  // 4 GPUs have 4 of 16 experts each
  EXPECT_NEAR(row.compute_us, row.compute->forward() + row.compute->backward(), 1e-9);
  EXPECT_GT(row.compute_us, 330);  // the mean rows' time
  EXPECT_EQ(row.serial_us, row.compute_us + 4 * row.exchange_us);
  EXPECT_NEAR(row.efficiency, 330 / row.serial_us, 1e-9);
  EXPECT_FALSE(all.rows[1].compute);  // 8 GPUs have 2, which were not measured
  EXPECT_NE(all.rows[1].no_compute.find("no case of 2 experts"), std::string::npos);
  expect_usage_error([] { projection_of({2}, {}, a_table()); }, "no case of 2 experts on one GPU");
}

TEST(Projections, ComeNearTheLayerOnTwoGpus) {
  // Reports of results/exchange/, bf16, --exchange direct: the whole layer on one H100, the bytes that leave a GPU in one
  // exchange, and the layer on two. The line is through the first and the third of the exchanges.
  const Line line = fit_line(std::vector<TimedBytes>{{6.70e6, 32.7e-6}, {133.78e6, 383.7e-6}});
  struct Measured {
    double alone_us, bytes, together_us, error_pct;
  };
  for (const Measured& m : {Measured{746, 6.70e6, 906, -3.2},
                            {13049, 26.12e6, 13864, -3.4},
                            {16874, 133.78e6, 18651, -1.3},
                            {18512, 58.55e6, 20940, -8.2}}) {
    const double projected = overlapped(m.alone_us, 4e6 * line.seconds(m.bytes), 0);
    EXPECT_NEAR(100 * (projected / m.together_us - 1), m.error_pct, 0.1) << m.together_us;
  }
}

TEST(WhatIf, ChangesWhatItNames) {
  const auto row = [](const char* text) {
    return projection_of({1}, {.what_if = parse_what_if(text)}, a_table()).rows[0];
  };
  const Projected before = row("overlap=0.5");
  EXPECT_NEAR(before.at_overlap_us, (before.serial_us + before.overlapped_us) / 2, 1e-9);
  EXPECT_NEAR(row("nvlink=50").node_us, 2 * before.node_us, 1e-9);
  EXPECT_EQ(row("nvlink=50").exchange, Provenance::given);
  EXPECT_NEAR(row("experts-compute=x0.5").compute->experts_forward, before.compute->experts_forward / 2,
              1e-9);
  EXPECT_EQ(row("experts-compute=x0.5").compute->other_forward, before.compute->other_forward);
  const auto across = [](const char* text) {
    return projection_of({2}, {.what_if = parse_what_if(text)}).rows[0];
  };
  EXPECT_NEAR(across("nic=5").net_us, 2 * across("nic=10").net_us, 1e-9);
}

TEST(WhatIf, RefusesWhatItDoesNotKnow) {
  expect_usage_error([] { parse_what_if("nick=25"); }, "unknown what-if 'nick'; did you mean 'nic'?");
  expect_usage_error([] { parse_what_if("nic"); }, "'nic' has no =");
  expect_usage_error([] { parse_what_if("nic=-1"); }, "'-1' is not a number from");
  expect_usage_error([] { parse_what_if("overlap=2"); }, "'2' is not a number from 0 to 1");
  expect_usage_error([] { parse_what_if("overlap=nan"); }, "'nan' is not a number");
  expect_usage_error([] { parse_what_if("experts-compute=0.6"); }, "is no factor");
  expect_usage_error([] { parse_what_if("nic=25,,"); }, "has no =");
}

}  // namespace
}  // namespace moebench
