#include "launcher/nearest.h"

#include <algorithm>

namespace shardit {

int edit_distance(const std::string& a, const std::string& b) {
  const size_t rows = a.size() + 1, columns = b.size() + 1;
  std::vector<std::vector<int>> cost(rows, std::vector<int>(columns));
  for (size_t i = 0; i < rows; ++i) cost[i][0] = static_cast<int>(i);
  for (size_t j = 0; j < columns; ++j) cost[0][j] = static_cast<int>(j);
  for (size_t i = 1; i < rows; ++i)
    for (size_t j = 1; j < columns; ++j) {
      const int replaced = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  return cost[a.size()][b.size()];
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  int best = std::max(1, static_cast<int>(word.size()) / 3);
  std::string result;
  for (const std::string& candidate : candidates) {
    const int distance = edit_distance(word, candidate);
    if (distance > best || (distance == best && !result.empty())) continue;
    best = distance;
    result = candidate;
  }
  return result;
}

std::string join_words(const std::vector<std::string>& words, const std::string& last) {
  std::string result;
  for (size_t i = 0; i < words.size(); ++i) {
    if (i > 0) result += i + 1 == words.size() ? " " + last + " " : ", ";
    result += words[i];
  }
  return result;
}

}  // namespace shardit
