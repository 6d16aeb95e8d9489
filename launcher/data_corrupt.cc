#include "launcher/data_corrupt.h"

#include <algorithm>

namespace shardit {
namespace {

constexpr size_t kTold = 5;  // in the log, of one step; metrics.jsonl has all

// As JSON; bytes of a file's name that are no UTF-8 are replaced.
std::string text_of(const std::vector<CorruptSample>& samples) {
  Json rows = Json::array();
  for (const CorruptSample& s : samples) rows.push_back({{"sample", s.sample}, {"what", s.what}});
  return rows.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

void tell_corrupt(RunLog& log, Ranks& ranks, int64_t step, const std::string& split,
                  const std::vector<CorruptSample>& mine) {
  Json all = Json::array();
  for (const std::string& text : ranks.all_texts("corrupt images", text_of(mine)))
    for (Json& row : Json::parse(text)) all.push_back(std::move(row));
  std::stable_sort(all.begin(), all.end(), [](const Json& a, const Json& b) { return a["sample"] < b["sample"]; });
  for (size_t i = 0; i < std::min(all.size(), kTold); ++i)
    log.say("WARNING: " + split + ": " + all[i]["what"].get<std::string>() + "; another image takes its place");
  if (all.size() > kTold)
    log.say("WARNING: " + split + ": corrupt images at step " + std::to_string(step) +
            " in all: " + std::to_string(all.size()) + "; metrics.jsonl names them");
  log.event("corrupt", step, {{"split", split}, {"count", all.size()}, {"samples", all}});
}

}  // namespace shardit
