#include "data/labels.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <unordered_map>

#include "core/error.h"

namespace shardit {
namespace {

using Words = std::vector<std::string>;

constexpr size_t kMaxDigits = 9;  // of a class number, so that it fits 32 bits

bool is_number(const std::string& word) {
  return !word.empty() && word.size() <= kMaxDigits && word.find_first_not_of("0123456789") == std::string::npos;
}

std::string where(const ImageFiles& files, int64_t image) {
  return "image '" + printable(files[image].name) + "' of " + files.name();
}

// The class's word; empty if the name has none.
std::string word_of(const std::string& name, ClassFrom from) {
  const std::string text = from == ClassFrom::kFolder ? name : name.substr(name.rfind('/') + 1);
  const size_t end = text.find(from == ClassFrom::kFolder ? '/' : '_');
  return end == std::string::npos ? "" : text.substr(0, end);
}

std::string why_without_class(ClassFrom from) {
  return from == ClassFrom::kFolder ? " lies in no folder that could name its class\nfix: one folder per class, or "
                                      "data.class_from: prefix or list, or another data.split"
                                    : " has no '_' that ends its class, which data.class_from: prefix needs";
}

std::string text_of_list(const std::string& path) {
  std::error_code ignored;
  REQUIRE(std::filesystem::exists(path, ignored) || ignored,
          "no class list '" + path + "': expected a file of lines NAME CLASS");
  const std::vector<uint8_t> text = read_file(path);
  return {text.begin(), text.end()};
}

Words words_of(const ImageFiles& files, ClassFrom from, const std::string& list_path) {
  if (from == ClassFrom::kList) return parse_class_list(text_of_list(list_path), list_path, files);
  Words words;
  for (int64_t i = 0; i < files.size(); ++i) {
    words.push_back(word_of(files[i].name, from));
    REQUIRE(!words.back().empty(), where(files, i) + why_without_class(from));
  }
  return words;
}

ClassNames names_of(Words words) {
  if (std::all_of(words.begin(), words.end(), is_number)) {
    int64_t classes = 0;
    for (const std::string& word : words) classes = std::max<int64_t>(classes, std::stoll(word) + 1);
    return {{}, classes};
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  const auto classes = std::ssize(words);
  return {std::move(words), classes};
}

// -1 if the word is no class.
int64_t label_of(const std::string& word, const ClassNames& names) {
  if (names.names.empty()) return is_number(word) ? std::stoll(word) : -1;
  const auto found = std::lower_bound(names.names.begin(), names.names.end(), word);
  return found != names.names.end() && *found == word ? found - names.names.begin() : -1;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

// Calls f(place, name, word) for each line of a list that is not blank.
template <typename F> void for_each_line(std::string_view text, const std::string& path, F&& f) {
  for (int64_t line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view entry = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (entry.empty()) continue;
    const size_t gap = entry.find_last_of(" \t");
    const std::string place = "'" + path + "' line " + std::to_string(line) + ": ";
    REQUIRE(gap != std::string_view::npos, place + "expected NAME CLASS, got '" + printable(std::string(entry)) + "'");
    f(place, trimmed(entry.substr(0, gap)), entry.substr(gap + 1));
  }
}

}  // namespace

std::vector<std::string> parse_class_list(std::string_view text, const std::string& path, const ImageFiles& files) {
  std::unordered_map<std::string_view, int64_t> numbers;
  for (int64_t i = 0; i < files.size(); ++i) numbers.emplace(files[i].name, i);
  Words words(files.size());
  for_each_line(text, path, [&](const std::string& place, std::string_view name, std::string_view word) {
    const auto image = numbers.find(name);
    REQUIRE(image != numbers.end(),
            place + "there is no image '" + printable(std::string(name)) + "' in " + files.name());
    REQUIRE(words[image->second].empty(), place + "image '" + printable(std::string(name)) + "' has a class already");
    words[image->second] = word;
  });
  for (int64_t i = 0; i < files.size(); ++i)
    REQUIRE(!words[i].empty(), where(files, i) + " has no line in '" + path + "'");
  return words;
}

ClassNames list_classes(const std::string& path, const std::string& split, ClassFrom from,
                        const std::string& list_path) {
  std::set<std::string> words;
  const auto add = [&](std::string_view word) {
    if (!word.empty()) words.emplace(word);
    return !word.empty();
  };
  std::error_code ignored;  // what is no folder is opened as a tar, and told then
  if (from == ClassFrom::kList) {
    for_each_line(text_of_list(list_path), list_path,
                  [&](const std::string&, std::string_view, std::string_view word) { add(word); });
  } else if (std::filesystem::is_directory(path, ignored)) {
    list_names(path + "/" + split, [&](const std::string& name) {
      const bool added = is_image_name(name) && add(word_of(name, from));
      return !added || from != ClassFrom::kFolder;
    });
  } else {
    const ImageFiles files(path, split);
    for (int64_t i = 0; i < files.size(); ++i) add(word_of(files[i].name, from));
  }
  REQUIRE(!words.empty(), "no classes in '" + (from == ClassFrom::kList ? list_path : path + "/" + split) + "'");
  return names_of({words.begin(), words.end()});
}

Labels label_images(const ImageFiles& files, ClassFrom from, const std::string& list_path, int64_t classes,
                    const std::optional<ClassNames>& known) {
  const Words words = words_of(files, from, list_path);
  Labels labels{.of_image = {}, .names = known ? *known : names_of(words)};
  for (int64_t i = 0; i < files.size(); ++i) {
    const int64_t label = label_of(words[i], labels.names);
    REQUIRE(label >= 0, where(files, i) + " has the class '" + printable(words[i]) + "', which no training image has");
    REQUIRE(classes == 0 || label < classes,
            where(files, i) + " has class " + std::to_string(label) +
                (labels.names.names.empty() ? "" : " ('" + printable(words[i]) + "')") +
                ": the model knows classes 0 to " + std::to_string(classes - 1) + "\nfix: raise model.num_classes");
    labels.of_image.push_back(static_cast<int32_t>(label));
  }
  return labels;
}

}  // namespace shardit
