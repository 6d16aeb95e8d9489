// What may differ between the config of a checkpoint and the config that resumes it.
#include <algorithm>
#include <map>

#include "launcher/config.h"
#include "launcher/config_keys.h"

namespace shardit {
namespace {

// A key, or all keys under a prefix that ends in '.'. Everything else decides what is computed and must stay: of
// parallel{…} that is the order in which gradients are summed. data.on_corrupt decides whether a run goes on, and not
// what it computes as long as it does. Where the data and the product table lie does not matter either: what they are
// is compared by itself (Dataset::fingerprint, RunProducts).
const std::vector<std::string> kFree = {"steps",
                                        "device",
                                        "product_table",
                                        "optimizer.lr",
                                        "optimizer.warmup_images",
                                        "parallel.",
                                        "sample.",
                                        "checkpoint.",
                                        "validation.",
                                        "data.path",
                                        "data.class_list",
                                        "data.validation_class_list",
                                        "data.threads",
                                        "data.prefetch",
                                        "data.on_corrupt",
                                        "tensorboard."};

const std::vector<std::string> kBound = {"parallel.fold_group", "parallel.reduction"};

bool is_free(const std::string& key) {
  if (std::find(kBound.begin(), kBound.end(), key) != kBound.end()) return false;
  for (const std::string& free : kFree)
    if (key == free || (free.back() == '.' && key.rfind(free, 0) == 0)) return true;
  return false;
}

}  // namespace

std::vector<KeyDifference> differences(const RunConfig& before, const RunConfig& after) {
  const auto old_keys = list_keys(before), new_keys = list_keys(after);
  const std::map<std::string, std::string> old_values(old_keys.begin(), old_keys.end());
  const std::map<std::string, std::string> new_values(new_keys.begin(), new_keys.end());
  const auto value_in = [](const auto& values, const std::string& key) {
    const auto found = values.find(key);
    return found == values.end() ? std::string() : found->second;
  };
  std::vector<KeyDifference> result;
  for (const auto& [key, value] : old_keys)
    if (value_in(new_values, key) != value) result.push_back({key, value, value_in(new_values, key), is_free(key)});
  for (const auto& [key, value] : new_keys)
    if (!old_values.count(key)) result.push_back({key, "", value, is_free(key)});
  return result;
}

std::vector<KeyDifference> resume_conflicts(const RunConfig& stored, const RunConfig& wanted) {
  std::vector<KeyDifference> conflicts = differences(stored, wanted);
  std::erase_if(conflicts, [](const KeyDifference& d) { return d.may_change; });
  return conflicts;
}

}  // namespace shardit
