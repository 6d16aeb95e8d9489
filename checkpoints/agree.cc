#include "checkpoints/agree.h"

#include <algorithm>
#include <cstdint>

#include "core/error.h"

namespace shardit {
namespace {

// The vote of a rank: what it did, or why it could not. Travels as a letter and a text.
enum Vote : char { kDone = 'd', kUserError = 'u', kIoError = 'i' };

std::string vote_of(const std::function<std::string()>& work) {
  try {
    return std::string(1, kDone) + work();
  } catch (const CommError&) {
    throw;
  } catch (const UserError& error) {
    return std::string(1, kUserError) + error.what();
  } catch (const std::exception& error) {
    return std::string(1, kIoError) + error.what();
  }
}

[[noreturn]] void fail(char vote, const std::string& message) {
  if (vote == kUserError) throw UserError(message);
  throw IoError(message);
}

std::vector<std::string> gather(Communicator& ranks, const char* label, std::string mine) {
  const int64_t bytes = static_cast<int64_t>(mine.size());
  std::vector<int64_t> sizes(ranks.size());
  ranks.all_gather(label, &bytes, sizes.data(), sizeof bytes);
  const int64_t longest = *std::max_element(sizes.begin(), sizes.end());
  mine.resize(longest);
  std::string all(longest * ranks.size(), '\0');
  ranks.all_gather(label, mine.data(), all.data(), longest);
  std::vector<std::string> texts;
  for (int rank = 0; rank < ranks.size(); ++rank) texts.push_back(all.substr(rank * longest, sizes[rank]));
  return texts;
}

std::string broadcast(Communicator& ranks, const char* label, std::string text) {
  int64_t bytes = static_cast<int64_t>(text.size());
  ranks.broadcast(label, &bytes, sizeof bytes, 0);
  text.resize(bytes);
  ranks.broadcast(label, text.data(), bytes, 0);
  return text;
}

void throw_if_any_failed(const std::vector<std::string>& votes) {
  const auto failed = [](const std::string& vote) { return vote[0] != kDone; };
  const auto first = std::find_if(votes.begin(), votes.end(), failed);
  if (first == votes.end()) return;
  const int64_t count = std::count_if(votes.begin(), votes.end(), failed);
  std::string who;
  if (std::count(votes.begin(), votes.end(), *first) != static_cast<int64_t>(votes.size()))
    who = "rank " + std::to_string(first - votes.begin()) + " of " + std::to_string(votes.size()) +
          (count > 1 ? " (and " + std::to_string(count - 1) + " more): " : ": ");
  fail((*first)[0], who + first->substr(1));
}

}  // namespace

std::vector<std::string> all_work(Communicator& ranks, const char* label, const std::function<std::string()>& work) {
  std::vector<std::string> votes = gather(ranks, label, vote_of(work));
  throw_if_any_failed(votes);
  for (std::string& vote : votes) vote.erase(0, 1);
  return votes;
}

std::string rank_zero_works(Communicator& ranks, const char* label, const std::function<std::string()>& work) {
  const std::string vote = broadcast(ranks, label, ranks.rank() == 0 ? vote_of(work) : "");
  const bool name_it = vote[0] == kIoError && ranks.size() > 1;  // the user's mistake is the same wherever it shows
  if (vote[0] != kDone) fail(vote[0], (name_it ? "rank 0: " : "") + vote.substr(1));
  return vote.substr(1);
}

}  // namespace shardit
