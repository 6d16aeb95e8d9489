// One file of TensorBoard events: records of length, its checksum, a message, its checksum (TensorFlow's TFRecord).
#pragma once

#include <memory>
#include <string>

#include "checkpoints/file_system.h"
#include "launcher/tensorboard.pb.h"

namespace shardit {

class EventFile {
 public:
  // Begins a new file in `folder`, which is made if it is missing; TensorBoard reads a run's files in the order of
  // their names, and this one comes last. Throws IoError.
  EventFile(FileSystem& files, const std::string& folder);

  // Stamps the event with the time and appends it: it is in the file when this returns. Throws IoError.
  void append(tensorboard::Event event);

 private:
  std::unique_ptr<OutputFile> file_;
};

// The bytes of a record that holds `message`.
std::string event_record(const std::string& message);

}  // namespace shardit
