// The rooms' rule: who may include whom, and that a name means one thing. Arrows go down this table and nowhere else.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>

namespace shardit {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"core", {}},
    {"ops", {"core"}},
    {"dist", {"core", "ops"}},
    {"model", {"core", "ops"}},
    {"data", {"core"}},
    {"checkpoints", {"core", "dist"}},
    {"launcher", {"core", "ops", "dist", "model", "data", "checkpoints"}},
};

// Includes of other rooms that a room's files may not make, as "file includes other/header.h".
std::vector<std::string> forbidden_includes(const fs::path& source, const std::string& room) {
  const std::regex include("^#include \"(\\w+)/.*");
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(source / room)) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      std::smatch match;
      if (!std::regex_match(line, match, include) || match[1] == room) continue;
      if (!kMayInclude.at(room).contains(match[1])) found.push_back(entry.path().string() + ": " + line);
    }
  }
  return found;
}

TEST(Rooms, IncludeOnlyWhatTheirTableAllows) {
  for (const auto& [room, allowed] : kMayInclude)
    for (const std::string& line : forbidden_includes(SHARDIT_SOURCE_DIR, room)) ADD_FAILURE() << line;
}

// The name of the type whose definition begins on this line; empty if none does.
std::string type_begun(const std::string& line) {
  static const std::regex type(
      "^(?:struct|class|enum class|enum) (?:alignas\\(.*\\) )?(\\w+)(?: final)?(?: :[^;]*)? \\{.*");
  std::smatch match;
  return std::regex_match(line, match, type) ? match[1].str() : "";
}

// Types that a header defines directly in `shardit`, by name: the headers, in order.
std::map<std::string, std::vector<std::string>> types_of_headers(const fs::path& source) {
  const std::regex space("^namespace (.*) \\{.*");
  std::map<std::string, std::vector<std::string>> found;
  for (const auto& [room, allowed] : kMayInclude)
    for (const auto& entry : fs::recursive_directory_iterator(source / room)) {
      if (entry.path().extension() != ".h") continue;
      std::ifstream file(entry.path());
      std::string where;
      for (std::string line; std::getline(file, line);) {
        std::smatch match;
        if (std::regex_match(line, match, space)) where = match[1];
        if (const std::string type = type_begun(line); where == "shardit" && !type.empty())
          found[type].push_back(entry.path().string());
      }
    }
  return found;
}

TEST(Rooms, TheScanFindsTypes) {
  EXPECT_EQ(type_begun("struct Plan {"), "Plan");
  EXPECT_EQ(type_begun("struct alignas(64) Message {  // of one rank"), "Message");
  EXPECT_EQ(type_begun("struct alignas(alignof(double)) Cell {"), "Cell");
  EXPECT_EQ(type_begun("class Loader final : public Source {"), "Loader");
  EXPECT_EQ(type_begun("enum class Kind { kNone, kSome };"), "Kind");
  EXPECT_EQ(type_begun("struct Plan;"), "");
}

// Two types of one name in one program are one to the linker: it takes the vector functions of either for both.
TEST(Rooms, NoTwoHeadersDefineTypesOfOneName) {
  const auto types = types_of_headers(SHARDIT_SOURCE_DIR);
  EXPECT_GT(types.size(), 100u);
  for (const auto& [name, headers] : types)
    EXPECT_EQ(headers.size(), 1u) << name << ": " << headers.front() << " and " << headers.back();
}

// The scan itself sees something: launcher includes model.
TEST(Rooms, TheScanFindsIncludes) {
  const std::regex include("^#include \"model/.*");
  std::ifstream file(fs::path(SHARDIT_SOURCE_DIR) / "launcher" / "graphs.h");
  bool found = false;
  for (std::string line; std::getline(file, line);) found = found || std::regex_match(line, include);
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace shardit
