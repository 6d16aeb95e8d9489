// A run's metrics.jsonl: the report about it, and the start of a run that goes on with it.
#include "core/error.h"
#include "launcher/metrics.h"
#include "launcher/report.h"
#include "tests/fuzz/memory_file.h"

using namespace shardit;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static MemoryFile file;
  file.hold({data, size});
  try {
    report_page({.name = "input", .metrics = read_metrics(file.path())});
  } catch (const IoError&) {}
  try {
    MetricsWriter(file.path(), 2).step({.step = 3});
  } catch (const IoError&) {}
  return 0;
}
