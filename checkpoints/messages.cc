#include "checkpoints/messages.h"

#include <glog/logging.h>

#include <algorithm>

#include "checkpoints/messages.pb.h"

namespace shardit {
namespace {

void put_part(const WrittenPart& part, pb::WrittenPart& out) {
  out.set_name(part.name);
  out.set_dtype(name_of(part.dtype));
  for (int64_t extent : part.shape) out.add_shape(extent);
  out.mutable_range()->set_file_offset(part.range.file_offset);
  out.mutable_range()->set_first(part.range.first);
  out.mutable_range()->set_count(part.range.count);
  out.set_sum_low(part.sum.low);
  out.set_sum_high(part.sum.high);
}

WrittenPart get_part(const pb::WrittenPart& in) {
  WrittenPart part{in.name(), dtype_from_name(in.dtype())};
  for (int64_t extent : in.shape()) part.shape.push_back(extent);
  part.range.file_offset = static_cast<int64_t>(in.range().file_offset());
  part.range.first = static_cast<int64_t>(in.range().first());
  part.range.count = static_cast<int64_t>(in.range().count());
  part.sum = {in.sum_low(), in.sum_high()};
  return part;
}

template <typename Message> Message parse(const std::string& bytes) {
  Message message;
  CHECK(message.ParseFromString(bytes)) << "a rank sent no " << message.GetTypeName();
  return message;
}

}  // namespace

std::string encode_written_file(const WrittenFile& file) {
  pb::WrittenFile message;
  message.mutable_file()->set_name(file.file.name);
  message.mutable_file()->set_bytes(file.file.bytes);
  message.mutable_file()->set_crc32c(file.file.crc32c);
  for (const WrittenPart& part : file.parts) put_part(part, *message.add_parts());
  return message.SerializeAsString();
}

WrittenFile decode_written_file(const std::string& bytes) {
  const auto message = parse<pb::WrittenFile>(bytes);
  WrittenFile file{{message.file().name(), static_cast<int64_t>(message.file().bytes()), message.file().crc32c()}, {}};
  for (const pb::WrittenPart& part : message.parts()) file.parts.push_back(get_part(part));
  return file;
}

std::string encode_report(const SaveReport& report) {
  pb::SaveReport message;
  message.set_path(report.path);
  message.set_bytes(report.bytes);
  message.set_seconds(report.seconds);
  message.set_root_digest(report.root.bytes.data(), report.root.bytes.size());
  for (const std::string& note : report.notes) message.add_notes(note);
  return message.SerializeAsString();
}

SaveReport decode_report(const std::string& bytes) {
  const auto message = parse<pb::SaveReport>(bytes);
  SaveReport report{.path = message.path(), .bytes = message.bytes(), .seconds = message.seconds()};
  CHECK_EQ(message.root_digest().size(), report.root.bytes.size());
  std::copy(message.root_digest().begin(), message.root_digest().end(), report.root.bytes.begin());
  report.notes.assign(message.notes().begin(), message.notes().end());
  return report;
}

std::string encode_newest(const NewestCheckpoint& newest) {
  pb::NewestCheckpoint message;
  if (newest.checkpoint) {
    message.set_path(newest.checkpoint->path);
    message.set_manifest(encode_manifest(newest.checkpoint->manifest));
  }
  for (const std::string& problem : newest.problems) message.add_problems(problem);
  return message.SerializeAsString();
}

NewestCheckpoint decode_newest(const std::string& bytes) {
  const auto message = parse<pb::NewestCheckpoint>(bytes);
  NewestCheckpoint newest;
  if (!message.manifest().empty())
    newest.checkpoint = Checkpoint{message.path(), decode_manifest(message.manifest(), message.path())};
  newest.problems.assign(message.problems().begin(), message.problems().end());
  return newest;
}

}  // namespace shardit
