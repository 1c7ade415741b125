#include "launch/metrics/metrics_row.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

namespace pscale {
namespace {

MetricsRow row() {
  MetricsRow r;
  r.step = 7;
  r.time = 1769850309.1234567;
  r.tokens = int64_t{1} << 40;
  r.loss = 0.1 + 0.2;
  r.grad_norm = 1e-310;
  r.learning_rate = 3e-4;
  r.memory_peak_bytes = (int64_t{1} << 53) + 1;
  return r;
}

TEST(MetricsRow, NumbersRoundTrip) {
  const auto object = nlohmann::json::parse(to_json_line(row()));
  EXPECT_EQ(object["step"].get<int64_t>(), 7);
  EXPECT_EQ(object["time"].get<double>(), 1769850309.1234567);
  EXPECT_EQ(object["tokens"].get<int64_t>(), int64_t{1} << 40);
  EXPECT_EQ(object["loss"].get<double>(), 0.1 + 0.2);
  EXPECT_EQ(object["grad_norm"].get<double>(), 1e-310);
  EXPECT_EQ(object["learning_rate"].get<double>(), 3e-4);
  EXPECT_EQ(object["memory_peak_bytes"].get<int64_t>(), (int64_t{1} << 53) + 1);
}

TEST(MetricsRow, AwkwardDoublesRoundTrip) {
  double x = 1;
  for (int i = 0; i < 2000; ++i) {
    x = std::fmod(x * 1103515245.7 + 0.1234567, 1e6) * std::pow(10, i % 40 - 20) + 1e-7;
    MetricsRow r = row();
    r.loss = x;
    ASSERT_EQ(nlohmann::json::parse(to_json_line(r))["loss"].get<double>(), x) << i;
  }
}

TEST(MetricsRow, UnknownIsNullAndStaysInPlace) {
  MetricsRow r;
  r.loss = std::numeric_limits<double>::infinity();
  const std::string line = to_json_line(r);
  EXPECT_EQ(line,
            "{\"step\":0,\"time\":0.0,\"tokens\":0,\"loss\":null,\"grad_norm\":null,\"learning_rate\":null,"
            "\"step_seconds\":null,\"tokens_per_second\":null,\"model_flops_per_second\":null,\"mfu\":null,"
            "\"memory_peak_bytes\":null}");
}

TEST(MetricsRow, OptionalFieldsAppearOnlyWhereSet) {
  MetricsRow r = row();
  EXPECT_FALSE(nlohmann::json::parse(to_json_line(r)).contains("validation_loss"));
  r.validation_loss = 2.5;
  r.replica_share_entropy = std::log(4.0);
  r.replica_cosine = std::nan("");
  r.skipped_steps = 0;
  const auto object = nlohmann::json::parse(to_json_line(r));
  EXPECT_EQ(object["validation_loss"].get<double>(), 2.5);
  EXPECT_EQ(object["replica_share_entropy"].get<double>(), std::log(4.0));
  EXPECT_TRUE(object["replica_cosine"].is_null());
  EXPECT_EQ(object["skipped_steps"].get<int64_t>(), 0);
  EXPECT_FALSE(object.contains("data_wait_seconds"));
  r.waited_axes = "data+replica";
  EXPECT_EQ(nlohmann::json::parse(to_json_line(r))["waited_axes"].get<std::string>(), "data+replica");
}

TEST(MetricsRow, NamesAndTagsAreUnique) {
  MetricsRow r = row();
  r.validation_loss = r.replica_share_entropy = r.replica_cosine = 1;
  r.data_wait_seconds = r.communication_wait_seconds = 1;
  r.rank_seconds_median = r.rank_seconds_slowest = r.waited_axes_seconds = 1;
  r.slowest_rank = 1;
  r.waited_axes = "data";
  r.skipped_steps = 1;
  r.validation_losses = {{"code", 1}, {"prose", 2}};
  std::set<std::string> names, tags;
  size_t tagged = 0;
  for (const MetricField& field : metric_fields(r)) {
    names.insert(field.name);
    if (!field.tag.empty()) tags.insert(field.tag), ++tagged;
  }
  EXPECT_EQ(names.size(), metric_fields(r).size());
  EXPECT_EQ(names.size(), 24u);
  EXPECT_EQ(tags.size(), tagged);
}

}  // namespace
}  // namespace pscale
