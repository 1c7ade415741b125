// Writes scalars as a TensorBoard events file. The format is small enough to encode by hand, so neither
// protobuf nor TensorFlow is needed:
//   file    records, each: u64 length, u32 masked CRC-32C of the length, the bytes, u32 masked CRC-32C of
//   them
//           (little endian; tensorflow/core/lib/io/record_writer.cc)
//   record  a protobuf message Event {1: double wall_time, 2: int64 step, 3: string file_version, 5:
//   Summary},
//           Summary {1: repeated Value}, Value {1: string tag, 2: float simple_value} (event.proto,
//           summary.proto); the first record holds file_version "brain.Event:2"
// Only rank 0 makes one. Every call reaches the file at once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "launch/metrics/append_file.h"
#include "launch/metrics/metrics_row.h"

namespace pscale {

using Scalars = std::vector<std::pair<std::string, double>>;  ///< tag, value (stored as float32)

/// The bytes of one record.
std::string tfrecord(const std::string& payload);
/// The bytes of an Event with these scalars; without any, of an empty one.
std::string scalar_event(double wall_time, int64_t step, const Scalars& scalars);
std::string file_version_event(double wall_time);
/// Event with field 7, SessionLog {1: status = START}: "a run goes on at this step".
std::string session_start_event(double wall_time, int64_t step);

class TensorBoardWriter {
 public:
  /// Starts a new file events.out.tfevents.SECONDS.HOST.PID in `folder`. Throws UserError where it cannot.
  /// first_step: TensorBoard forgets what earlier files of the folder say of this step and later ones.
  TensorBoardWriter(const std::filesystem::path& folder, double wall_time, int64_t first_step = 0);

  void write(double wall_time, int64_t step, const Scalars& scalars);
  /// Every known field of the row that has a tag.
  void write(const MetricsRow& row);
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  AppendFile file_;
};

}  // namespace pscale
