#include "launch/metrics/tensorboard.h"

#include <unistd.h>

#include <bit>
#include <cmath>

#include "core/base/text.h"
#include "launch/metrics/crc32c.h"

namespace pscale {
namespace {

template <class Unsigned>
void put_fixed(std::string& out, Unsigned value) {
  for (size_t byte = 0; byte < sizeof value; ++byte)
    out.push_back(static_cast<char>((value >> (8 * byte)) & 0xff));
}

void put_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

// Wire types of protobuf: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
void put_key(std::string& out, int field, int wire_type) {
  put_varint(out, static_cast<uint64_t>(field) << 3 | static_cast<uint64_t>(wire_type));
}

void put_double(std::string& out, int field, double value) {
  put_key(out, field, 1);
  put_fixed(out, std::bit_cast<uint64_t>(value));
}

void put_float(std::string& out, int field, float value) {
  put_key(out, field, 5);
  put_fixed(out, std::bit_cast<uint32_t>(value));
}

void put_bytes(std::string& out, int field, const std::string& bytes) {
  put_key(out, field, 2);
  put_varint(out, bytes.size());
  out += bytes;
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

}  // namespace

std::string tfrecord(const std::string& payload) {
  std::string record;
  put_fixed(record, static_cast<uint64_t>(payload.size()));
  put_fixed(record, masked_crc32c(record));
  record += payload;
  put_fixed(record, masked_crc32c(payload));
  return record;
}

std::string file_version_event(double wall_time) {
  std::string event;
  put_double(event, 1, wall_time);
  put_bytes(event, 3, "brain.Event:2");
  return event;
}

std::string scalar_event(double wall_time, int64_t step, const Scalars& scalars) {
  std::string event, summary;
  put_double(event, 1, wall_time);
  put_key(event, 2, 0);
  put_varint(event, static_cast<uint64_t>(step));
  for (const auto& [tag, value] : scalars) {
    std::string entry;
    put_bytes(entry, 1, tag);
    put_float(entry, 2, static_cast<float>(value));
    put_bytes(summary, 1, entry);
  }
  put_bytes(event, 5, summary);
  return event;
}

std::string session_start_event(double wall_time, int64_t step) {
  std::string event, session;
  put_double(event, 1, wall_time);
  put_key(event, 2, 0);
  put_varint(event, static_cast<uint64_t>(step));
  put_key(session, 1, 0);
  put_varint(session, 1);
  put_bytes(event, 7, session);
  return event;
}

TensorBoardWriter::TensorBoardWriter(const std::filesystem::path& folder, double wall_time, int64_t first_step)
    : file_(folder / cat("events.out.tfevents.", static_cast<int64_t>(std::floor(wall_time)), ".",
                         host_name(), ".", ::getpid())) {
  file_.write(tfrecord(file_version_event(wall_time)));
  if (first_step > 0) file_.write(tfrecord(session_start_event(wall_time, first_step)));
}

void TensorBoardWriter::write(double wall_time, int64_t step, const Scalars& scalars) {
  if (!scalars.empty()) file_.write(tfrecord(scalar_event(wall_time, step, scalars)));
}

void TensorBoardWriter::write(const MetricsRow& row) {
  Scalars scalars;
  for (const MetricField& field : metric_fields(row)) {
    if (field.tag.empty()) continue;
    if (const auto* count = std::get_if<int64_t>(&field.value)) scalars.emplace_back(field.tag, *count);
    if (const auto* number = std::get_if<double>(&field.value)) scalars.emplace_back(field.tag, *number);
  }
  write(row.time, row.step, scalars);
}

}  // namespace pscale
