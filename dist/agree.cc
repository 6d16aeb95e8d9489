#include "dist/agree.h"

#include <algorithm>
#include <cstdint>
#include <new>

#include "core/error.h"

namespace shardit {
namespace {

constexpr int kBug = 70;

// The vote of a rank: what it did, or why it could not. Travels as a letter, 'A' + the exit code, and a text.
std::string vote(int exit_code, const std::string& text) {
  return std::string(1, static_cast<char>('A' + exit_code)) + text;
}
int code_of(const std::string& vote) { return vote[0] - 'A'; }

std::string vote_of(const std::function<std::string()>& work) {
  try {
    return vote(0, work());
  } catch (const CommError&) {
    throw;
  } catch (const Error& error) {
    return vote(error.exit_code, error.what());
  } catch (const std::bad_alloc&) {
    return vote(3, "out of memory on the host");
  } catch (const std::exception& error) {
    return vote(kBug, std::string("internal error: ") + error.what());
  }
}

template <typename E> [[noreturn]] void throw_everywhere(E error) {
  error.everywhere = true;
  throw error;
}

// Who throws may end the job, so first every rank knows why; one that ended it since then has told.
[[noreturn]] void fail(Communicator& ranks, const char* label, int exit_code, const std::string& message) {
  try {
    ranks.barrier(label);
  } catch (const CommError&) {
  }
  switch (exit_code) {
    case 2:
      throw_everywhere(UserError(message));
    case 3:
      throw_everywhere(DeviceError(message));
    case 4:
      throw_everywhere(IoError(message));
    case 5:
      throw_everywhere(StopError(message));
    default:
      throw_everywhere(Error(message, exit_code));
  }
}

void throw_if_any_failed(Communicator& ranks, const char* label, const std::vector<std::string>& votes) {
  const auto failed = [](const std::string& v) { return code_of(v) != 0; };
  const auto first = std::find_if(votes.begin(), votes.end(), failed);
  if (first == votes.end()) return;
  const int64_t count = std::count_if(votes.begin(), votes.end(), failed);
  std::string who;
  if (std::count(votes.begin(), votes.end(), *first) != static_cast<int64_t>(votes.size()))
    who = "rank " + std::to_string(first - votes.begin()) + " of " + std::to_string(votes.size()) +
          (count > 1 ? " (and " + std::to_string(count - 1) + " more): " : ": ");
  fail(ranks, label, code_of(*first), who + first->substr(1));
}

}  // namespace

std::vector<std::string> gather_texts(Communicator& ranks, const char* label, std::string mine) {
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

std::string broadcast_text(Communicator& ranks, const char* label, std::string text) {
  int64_t bytes = static_cast<int64_t>(text.size());
  ranks.broadcast(label, &bytes, sizeof bytes, 0);
  text.resize(bytes);
  ranks.broadcast(label, text.data(), bytes, 0);
  return text;
}

std::vector<std::string> all_work(Communicator& ranks, const char* label, const std::function<std::string()>& work) {
  if (ranks.size() == 1) return {work()};
  std::vector<std::string> votes = gather_texts(ranks, label, vote_of(work));
  throw_if_any_failed(ranks, label, votes);
  for (std::string& v : votes) v.erase(0, 1);
  return votes;
}

std::string rank_zero_works(Communicator& ranks, const char* label, const std::function<std::string()>& work) {
  if (ranks.size() == 1) return work();
  const std::string vote = broadcast_text(ranks, label, ranks.rank() == 0 ? vote_of(work) : "");
  const int code = code_of(vote);
  const bool name_it = code == 4;  // a disk may be this rank's own; the user's mistake is the same wherever it shows
  if (code != 0) fail(ranks, label, code, (name_it ? "rank 0: " : "") + vote.substr(1));
  return vote.substr(1);
}

}  // namespace shardit
