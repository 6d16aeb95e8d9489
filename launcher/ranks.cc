#include "launcher/ranks.h"

#include <algorithm>

namespace shardit {

std::vector<std::string> Ranks::all_texts(const char* what, const std::string& mine) {
  const std::vector<size_t> sizes = all(what, mine.size());
  const size_t longest = *std::max_element(sizes.begin(), sizes.end());
  std::string padded = mine, together(longest * sizes.size(), '\0');
  padded.resize(longest);
  control_->all_gather(what, padded.data(), together.data(), static_cast<int64_t>(longest));
  std::vector<std::string> texts;
  for (size_t r = 0; r < sizes.size(); ++r) texts.push_back(together.substr(r * longest, sizes[r]));
  return texts;
}

bool Ranks::any(const char* what, bool mine) {
  const std::vector<char> each = all(what, static_cast<char>(mine));
  return std::find(each.begin(), each.end(), 1) != each.end();
}

std::string Ranks::from_first(const char* what, std::string text) {
  int64_t size = static_cast<int64_t>(text.size());
  control_->broadcast(what, &size, sizeof size, 0);
  text.resize(static_cast<size_t>(size));
  control_->broadcast(what, text.data(), size, 0);
  return text;
}

void Ranks::together(const char* what, const std::function<void()>& work) {
  if (size() == 1) return work();
  int code = 0;
  std::string message;
  try {
    work();
  } catch (const Error& error) {
    code = error.exit_code;
    message = error.what();
  }
  const std::vector<int> codes = all(what, code);
  const auto failed = std::find_if(codes.begin(), codes.end(), [](int c) { return c != 0; });
  if (failed == codes.end()) return;
  const auto rank = failed - codes.begin();
  message = all_texts(what, message)[rank];
  if (rank > 0) message = "rank " + std::to_string(rank) + ": " + message;
  try {  // who throws ends the others, so all must know what happened; a rank that ended the world since then has told
         // it
    control_->barrier(what);
  } catch (const CommError&) {}
  throw AgreedError(first() ? message : "", *failed);
}

}  // namespace shardit
