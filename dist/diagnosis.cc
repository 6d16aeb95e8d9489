#include "dist/diagnosis.h"

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <map>
#include <optional>
#include <set>

namespace shardit {
namespace {

struct Member {
  int rank;
  std::vector<const Call*> calls;  // in this group, in order
  const Call& newest() const { return *calls.back(); }
  const Call* at(int64_t number) const {
    for (const Call* call : calls)
      if (call->number == number) return call;
    return nullptr;
  }
};
using Members = std::vector<Member>;  // of one group, as far as they answered

// In the order in which the ranks made them.
std::vector<Members> groups_of(const std::vector<RankCalls>& ranks) {
  std::vector<Members> groups;
  std::map<uint64_t, size_t> index;  // by id
  for (const RankCalls& rank : ranks) {
    if (!rank.answered) continue;
    for (const Call& call : rank.calls) {
      const auto [place, is_new] = index.try_emplace(call.group_id, groups.size());
      if (is_new) groups.emplace_back();
      Members& members = groups[place->second];
      if (members.empty() || members.back().rank != rank.rank) members.push_back({.rank = rank.rank});
      members.back().calls.push_back(&call);
    }
  }
  return groups;
}

template <typename Condition> std::vector<int> ranks_where(const Members& members, const Condition& condition) {
  std::vector<int> ranks;
  for (const Member& member : members)
    if (condition(member)) ranks.push_back(member.rank);
  return ranks;
}

std::string seconds(int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(ns) / 1e9);
  return text;
}

// The call that most members made at this number; of the lowest rank where it is a tie.
const Call* usual_call(const Members& members, int64_t number) {
  const Call* usual = nullptr;
  size_t most = 0;
  for (const Member& member : members) {
    const Call* call = member.at(number);
    if (!call) continue;
    const size_t same =
        ranks_where(members, [&](const Member& m) { return m.at(number) && agree(*m.at(number), *call); }).size();
    if (same > most) usual = call, most = same;
  }
  return usual;
}

// Of the earliest call about which the members disagree; empty if there is none.
std::string disagreement(const Members& members) {
  std::set<int64_t> numbers;
  for (const Member& member : members)
    for (const Call* call : member.calls) numbers.insert(call->number);
  for (const int64_t number : numbers) {
    const Call& usual = *usual_call(members, number);
    for (const Member& member : members) {
      const Call* other = member.at(number);
      if (!other || agree(*other, usual)) continue;
      const auto issued = [&](const Call& call) {
        return ranks_where(members, [&](const Member& m) { return m.at(number) && agree(*m.at(number), call); });
      };
      return list_ranks(issued(*other)) + " issued " + describe(*other) + " where " + list_ranks(issued(usual)) +
             " issued " + describe(usual);
    }
  }
  return "";
}

// The members of a group of which some wait.
struct Wait {
  const Call* call = nullptr;               // the earliest that is running; null: nobody waits
  std::vector<int> waiting, missing, left;  // in it, not there yet, and through
};

Wait wait_in(const Members& members) {
  Wait wait;
  for (const Member& member : members)
    if (const Call& newest = member.newest(); newest.running() && (!wait.call || newest.number < wait.call->number))
      wait.call = &newest;
  if (!wait.call) return wait;
  const int64_t number = wait.call->number;
  wait.waiting =
      ranks_where(members, [&](const Member& m) { return m.newest().number == number && m.newest().running(); });
  wait.missing = ranks_where(members, [&](const Member& m) { return m.newest().number < number; });
  wait.left = ranks_where(members, [&](const Member& m) {
    return m.newest().number > number || (m.newest().number == number && !m.newest().running());
  });
  return wait;
}

const Call* running_call(const RankCalls& rank) {
  for (const Call& call : rank.calls)
    if (call.running()) return &call;
  return nullptr;
}

std::string say(const std::vector<int>& ranks, const char* verb_of_one, const char* verb_of_many) {
  return list_ranks(ranks) + (ranks.size() == 1 ? verb_of_one : verb_of_many);
}
std::string say_wait(const Wait& wait) { return say(wait.waiting, " waits in ", " wait in ") + describe(*wait.call); }

// The explanations; each is empty where it does not hold.

std::string disagreement_in_any(const std::vector<Members>& groups) {
  for (const Members& group : groups)
    if (const std::string text = disagreement(group); !text.empty()) return text;
  return "";
}

std::string silence(const std::vector<RankCalls>& ranks, const std::vector<Wait>& waits) {
  std::vector<int> silent;
  for (const RankCalls& rank : ranks)
    if (!rank.answered) silent.push_back(rank.rank);
  if (silent.empty()) return "";
  return say(silent, " does not answer", " do not answer") + (waits.empty() ? "" : "; " + say_wait(waits.front()));
}

// Of those who are missing, the ones that wait for nobody themselves.
std::string absence(const std::vector<RankCalls>& ranks, const std::vector<Wait>& waits) {
  std::vector<int> idle;
  for (const RankCalls& rank : ranks)
    if (rank.answered && !running_call(rank)) idle.push_back(rank.rank);
  for (const Wait& wait : waits) {
    std::vector<int> absent;
    std::set_intersection(wait.missing.begin(), wait.missing.end(), idle.begin(), idle.end(),
                          std::back_inserter(absent));
    if (!absent.empty())
      return say(absent, " has", " have") + " not entered " + describe(*wait.call) + ", in which " +
             say(wait.waiting, " waits", " wait");
  }
  return "";
}

std::string circle(const std::vector<Wait>& waits) {
  for (const Wait& wait : waits)
    if (!wait.missing.empty())
      return "the ranks wait for each other in different calls: " + say_wait(wait) + ", " + list_ranks(wait.missing) +
             " elsewhere";
  return "";
}

// What remains.
std::string lost_message(const std::vector<Wait>& waits) {
  if (waits.empty()) return "no rank waits in a call any more";
  const Wait& wait = waits.front();
  if (wait.call->op == CallOp::kMakeGroup) return say_wait(wait) + "; others of the group have not come";
  return "a message was lost: " + say_wait(wait) + ", which all have entered" +
         (wait.left.empty() ? "" : " and " + list_ranks(wait.left) + " left");
}

std::string headline(const std::vector<RankCalls>& ranks) {
  const std::vector<Members> groups = groups_of(ranks);
  std::vector<Wait> waits;
  for (const Members& group : groups)
    if (Wait wait = wait_in(group); wait.call) waits.push_back(std::move(wait));
  for (const std::string& text :
       {disagreement_in_any(groups), silence(ranks, waits), absence(ranks, waits), circle(waits)})
    if (!text.empty()) return text;
  return lost_message(waits);
}

// Where ranks are, and how long the longest of them has been there.
struct Place {
  std::string text;
  std::optional<int64_t> ns;
  std::vector<int> ranks;
};

Place place_of(const RankCalls& rank) {
  if (!rank.answered) return {.text = "no answer"};
  if (const Call* call = running_call(rank))
    return {.text = "in " + describe(*call), .ns = rank.now_ns - call->started_ns};
  if (rank.calls.empty()) return {.text = "has made no call"};
  const Call& last = *std::max_element(rank.calls.begin(), rank.calls.end(),
                                       [](const Call& a, const Call& b) { return a.finished_ns < b.finished_ns; });
  return {.text = "after " + describe(last) + ", in no call", .ns = rank.now_ns - last.finished_ns};
}

// Those of the fewest ranks first: the others mostly wait for them.
std::vector<Place> places_of(const std::vector<RankCalls>& ranks) {
  std::vector<Place> places;
  for (const RankCalls& rank : ranks) {
    const Place place = place_of(rank);
    auto same = std::find_if(places.begin(), places.end(), [&](const Place& p) { return p.text == place.text; });
    if (same == places.end()) same = places.insert(same, place);
    same->ns = std::max(same->ns, place.ns);
    same->ranks.push_back(rank.rank);
  }
  std::stable_sort(places.begin(), places.end(),
                   [](const Place& a, const Place& b) { return a.ranks.size() < b.ranks.size(); });
  return places;
}

}  // namespace

std::string list_ranks(const std::vector<int>& ranks) {
  std::string text = ranks.size() == 1 ? "rank" : "ranks";
  for (size_t i = 0; i < ranks.size(); ++i) {
    size_t end = i;  // of a run of neighbours
    while (end + 1 < ranks.size() && ranks[end + 1] == ranks[end] + 1) ++end;
    text += " " + std::to_string(ranks[i]);
    if (end > i) text += "-" + std::to_string(ranks[end]);
    i = end;
  }
  return text;
}

std::string diagnose(const std::vector<RankCalls>& ranks) {
  std::string text = headline(ranks);
  for (const Place& place : places_of(ranks))
    text += "\n" + list_ranks(place.ranks) + ": " + place.text + (place.ns ? " for " + seconds(*place.ns) : "");
  return text;
}

}  // namespace shardit
