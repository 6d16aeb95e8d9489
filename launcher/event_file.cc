#include "launcher/event_file.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "checkpoints/crc32c.h"

namespace shardit {
namespace {

const std::string kPrefix = "events.out.tfevents.";

double seconds_since_1970() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The time, or what follows the newest file's: names have to rise even when a clock does not.
int64_t next_number(FileSystem& files, const std::string& folder) {
  auto number = static_cast<int64_t>(seconds_since_1970());
  for (const std::string& name : files.list(folder))
    if (name.starts_with(kPrefix)) number = std::max<int64_t>(number, std::atoll(name.c_str() + kPrefix.size()) + 1);
  return number;
}

std::string host_name() {
  char name[256] = "host";
  gethostname(name, sizeof name - 1);
  return name;
}

std::string new_name(FileSystem& files, const std::string& folder) {
  char number[24];
  std::snprintf(number, sizeof number, "%010lld", static_cast<long long>(next_number(files, folder)));
  return folder + "/" + kPrefix + number + "." + host_name() + "." + std::to_string(getpid()) + ".0";
}

// The format rotates and shifts its checksums, so that those of data with checksums inside are no weaker.
uint32_t masked_crc(const void* data, int64_t bytes) {
  const uint32_t crc = crc32c(data, bytes);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

// REQUIRES: a little-endian machine, as everywhere here.
template <typename T> void append_bytes(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace

std::string event_record(const std::string& message) {
  std::string record;
  append_bytes(record, uint64_t{message.size()});
  append_bytes(record, masked_crc(record.data(), sizeof(uint64_t)));
  record += message;
  append_bytes(record, masked_crc(message.data(), static_cast<int64_t>(message.size())));
  return record;
}

EventFile::EventFile(FileSystem& files, const std::string& folder) {
  if (files.kind(folder) == PathKind::kMissing) files.make_dir(folder);
  file_ = files.create(new_name(files, folder));
  tensorboard::Event first;
  first.set_file_version("brain.Event:2");
  append(std::move(first));
}

void EventFile::append(tensorboard::Event event) {
  event.set_wall_time(seconds_since_1970());
  const std::string record = event_record(event.SerializeAsString());
  file_->write(record.data(), static_cast<int64_t>(record.size()));
}

}  // namespace shardit
