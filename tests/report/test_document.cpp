// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/error.h"
#include "report/document.h"
#include "report/example.h"
#include "report/record_json.h"

namespace moebench {
namespace {

TEST(Document, ReadsBackAllThatItWrote) {
  const Json json = to_json(example::document());
  EXPECT_EQ(to_json(document_from_json(json, "")), json);
}

TEST(Document, OfAnotherSchemaIsRefused) {
  Json json = to_json(example::document());
  json["schema"] = "moebench.report/2";
  EXPECT_THROW(document_from_json(json, ""), UsageError);
  EXPECT_THROW(document_from_json(Json::object(), ""), UsageError);
  EXPECT_THROW(document_from_json(Json::array(), ""), UsageError);
}

TEST(ReadDocument, NamesTheFileThatIsNoReport) {
  const example::Directory directory("document");
  EXPECT_THROW(read_document(directory / "none.json"), EnvironmentError);
  EXPECT_THROW(read_document(directory / ""), EnvironmentError);
  for (const auto* text :
       {"", "{", "[]", "null", "{\"schema\":1}", "{\"schema\":\"moebench.report/1\",\"points\":{}}"}) {
    example::write(directory / "bad.json", text);
    try {
      read_document(directory / "bad.json");
      ADD_FAILURE() << "accepted: " << text;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find("bad.json"), std::string::npos) << error.what();
    }
  }
}

TEST(ReadDocument, ToleratesATornLastLineOnly) {
  const example::Directory directory("torn");
  Document head = example::document();
  head.points.clear();
  const auto line = [](const char* kind, const Json& json) { return text_of(Json{{kind, json}}) + "\n"; };
  const std::string first = line("head", to_json(head));
  const std::string point = line("point", to_json(example::record(8, "loop", 100)));
  const auto points_of = [&](const std::string& text) {
    example::write(directory / "r.json.part", text);
    return read_document(directory / "r.json.part").points.size();
  };
  EXPECT_EQ(points_of(first + point), 1u);
  // Cut anywhere within the last line: what was before is held.
  for (std::size_t cut = 0; cut < point.size(); cut += 97)
    EXPECT_EQ(points_of(first + point + line("warning", "w") + point.substr(0, cut)), 1u) << cut;
  EXPECT_EQ(points_of(""), 0u);
  EXPECT_EQ(points_of(first.substr(0, 20)), 0u);
  EXPECT_THROW(points_of(first + "torn\n" + point), UsageError);
  EXPECT_THROW(points_of(point), UsageError);
}

TEST(Put, ReplacesThePointOfTheSameId) {
  std::vector<Record> points;
  put(points, example::without_time(8, Status::failed, "x"));
  put(points, example::record(16, "loop", 5));
  put(points, example::record(8, "loop", 5));
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0].status, Status::ok);
}

TEST(Differences, NameWhatCanChangeATime) {
  const Document a = example::document();
  Document b = a;
  EXPECT_TRUE(differences(a, b).empty());
  b.run.argv = {"other"};
  b.environment.load_average = 9;
  EXPECT_TRUE(differences(a, b).empty());
  b.tool.build_type = "Debug";
  b.machine.libraries = {{"OpenBLAS", "0.3.26"}};
  b.environment.variables = {{"NVIDIA_TF32_OVERRIDE", "1"}, {"OMP_NUM_THREADS", "2"}, {"SLURM_JOB_ID", "7"}};
  EXPECT_EQ(differences(a, b),
            (std::vector<std::string>{"OpenBLAS: 0.3.21 / 0.3.26", "build type: Release / Debug",
                                      "NVIDIA_TF32_OVERRIDE: (unset) / 1"}));
}

}  // namespace
}  // namespace moebench
