#include "launcher/data_report.h"

#include <strings.h>

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "core/error.h"
#include "data/decode.h"
#include "launcher/format.h"

namespace shardit {
namespace {

constexpr size_t kExamples = 5;
constexpr const char* kLabels = "labels";
constexpr size_t kClassesShown = 20;
constexpr uint64_t kHeadBytes = 1 << 16;
constexpr int64_t kSlice = 256;  // images between two words to who waits

void add(std::map<std::string, Examples>& groups, const std::string& what, const std::string& name) {
  Examples& group = groups[what];
  ++group.count;
  if (group.names.size() < kExamples) group.names.push_back(printable(name));
}

std::string kind_of(const ImageHeader& h) {
  std::string kind = std::string(name_of(h.format)) + " " + name_of(h.colour);
  if (h.bits != 8) kind += ", " + std::to_string(h.bits) + (h.bits == 1 ? " bit" : " bits");
  if (h.progressive) kind += h.format == ImageHeader::kJpeg ? ", progressive" : ", interlaced";
  return kind;
}

// REQUIRES: a name that ends in .jpg, .jpeg or .png, in any case.
bool called_png(const std::string& name) { return strcasecmp(name.c_str() + name.size() - 4, ".png") == 0; }

void add_oddities(const ImageHeader& h, const std::string& name, std::map<std::string, Examples>& odd) {
  const bool jpeg = h.format == ImageHeader::kJpeg;
  if (called_png(name) == jpeg) add(odd, jpeg ? "a JPEG called .png" : "a PNG called .jpg", name);
  if (h.colour == ImageHeader::kGrey || h.colour == ImageHeader::kGreyAlpha)
    add(odd, "grey, repeated in three channels", name);
  if (h.colour == ImageHeader::kGrey && h.bits == 16) add(odd, "16-bit grey, cut at 255 as Pillow does", name);
  if (h.colour == ImageHeader::kCmyk) add(odd, "cmyk, taken for Adobe's inverted one", name);
  if (h.colour == ImageHeader::kGreyAlpha || h.colour == ImageHeader::kRgba) add(odd, "alpha, dropped", name);
  if (h.orientation != 1) add(odd, "turned by EXIF, not turned back", name);
}

// Most headers lie in the first bytes; one behind a large profile or thumbnail does not.
ImageHeader read_header(const ImageFiles& files, int64_t i) {
  try {
    return read_image_header(files.read(i, kHeadBytes));
  } catch (const CorruptImage&) {
    if (files[i].bytes <= kHeadBytes) throw;
    return read_image_header(files.read(i));
  }
}

// What one header says, or what is wrong with it.
struct Seen {
  std::optional<ImageHeader> header;
  std::string wrong;
};

std::vector<Seen> read_headers(const ImageFiles& files, Pool& pool) {
  std::vector<Seen> seen(static_cast<size_t>(files.size()));
  pool.run(files.size(), [&](int64_t i, int) {
    try {
      seen[i].header = read_header(files, i);
    } catch (const CorruptImage& error) {
      seen[i].wrong = error.what();
    }
  });
  return seen;
}

void add_extents(std::vector<Extents> all, DataSurvey& survey) {
  if (all.empty()) return;
  const auto pixels = [](const Extents& e) { return e.width * e.height; };
  std::stable_sort(all.begin(), all.end(), [&](const Extents& a, const Extents& b) { return pixels(a) < pixels(b); });
  survey.smallest = all.front();
  survey.median = all[all.size() / 2];
  survey.largest = all.back();
}

const char* name_of(ClassFrom from) {
  return from == ClassFrom::kFolder ? "folder" : from == ClassFrom::kPrefix ? "prefix" : "list";
}

std::optional<ClassFrom> guess_class_from(const ImageFiles& files) {
  bool folders = true, prefixes = true;
  for (int64_t i = 0; i < files.size(); ++i) {
    const std::string& name = files[i].name;
    const std::string file = name.substr(name.rfind('/') + 1);
    folders = folders && file.size() < name.size();
    prefixes = prefixes && file[0] != '_' && file.find('_') != std::string::npos;
  }
  if (folders) return ClassFrom::kFolder;
  if (prefixes) return ClassFrom::kPrefix;
  return std::nullopt;
}

void add_classes(const ImageFiles& files, ClassFrom from, const std::string& list, DataSurvey& survey) {
  survey.class_from = name_of(from);
  const Labels labels = label_images(files, from, list, 0);
  for (int32_t label : labels.of_image)
    ++survey.classes[labels.names.names.empty() ? std::to_string(label) : labels.names.names[label]];
}

Json to_json(const Extents& e) { return {{"width", e.width}, {"height", e.height}}; }

Json to_json(const std::map<std::string, Examples>& groups) {
  Json rows = Json::object();
  for (const auto& [what, group] : groups) rows[what] = {{"count", group.count}, {"examples", group.names}};
  return rows;
}

std::string text_of(const Extents& e) { return std::to_string(e.width) + " x " + std::to_string(e.height); }

void print_groups(std::ostream& out, const char* title, const std::map<std::string, Examples>& groups, bool examples) {
  if (!groups.empty()) out << title << "\n";
  for (const auto& [what, group] : groups) {
    out << "  " << std::left << std::setw(44) << what << std::right << std::setw(8) << group.count;
    for (size_t i = 0; examples && i < group.names.size(); ++i) out << (i ? ", " : "  ") << group.names[i];
    out << (examples && group.count > std::ssize(group.names) ? ", …\n" : "\n");
  }
}

void print_classes(std::ostream& out, const DataSurvey& s) {
  if (s.classes.empty()) {
    out << "classes: none; images lie in no folders, and their names have no prefix that ends in '_'\n";
    return;
  }
  const auto [few, many] = std::minmax_element(s.classes.begin(), s.classes.end(),
                                               [](const auto& a, const auto& b) { return a.second < b.second; });
  out << "classes: " << s.classes.size() << " by " << s.class_from;
  if (s.class_from != kLabels) out << " (data.class_from: " << s.class_from << ")";
  out << ", of " << few->second << " to " << many->second << " images\n";
  if (s.classes.size() > kClassesShown) return;
  for (const auto& [name, count] : s.classes)
    out << "  " << std::left << std::setw(44) << printable(name) << std::right << std::setw(8) << count << "\n";
}

}  // namespace

DataSurvey survey_images(const ImageFiles& files, std::optional<ClassFrom> from, const std::string& class_list,
                         Pool& pool) {
  DataSurvey survey{.name = files.name(), .images = files.size(), .passed_over = files.passed_over()};
  if (!from) from = guess_class_from(files);
  survey.class_from = "nothing";
  if (from) add_classes(files, *from, class_list, survey);
  const std::vector<Seen> seen = read_headers(files, pool);
  std::vector<Extents> extents;
  for (int64_t i = 0; i < files.size(); ++i) {
    const std::string& name = files[i].name;
    survey.bytes += static_cast<int64_t>(files[i].bytes);
    if (!seen[i].header) {
      add(survey.corrupt, seen[i].wrong, name);
      continue;
    }
    add(survey.kinds, kind_of(*seen[i].header), name);
    add_oddities(*seen[i].header, name, survey.odd);
    extents.push_back({seen[i].header->width, seen[i].header->height});
  }
  add_extents(std::move(extents), survey);
  return survey;
}

DataSurvey survey_labelled(const std::vector<std::unique_ptr<Dataset>>& parts, const std::string& name) {
  DataSurvey survey{.name = name, .class_from = kLabels};
  std::vector<Extents> extents;
  for (const auto& part : parts) {
    survey.images += part->size();
    survey.bytes += part->size() * (part->image_bytes() + 1);
    survey.kinds["idx grey"].count += part->size();
    extents.insert(extents.end(), static_cast<size_t>(part->size()), {part->width(), part->height()});
    std::vector<uint8_t> pixels(static_cast<size_t>(part->image_bytes()));
    for (int64_t i = 0; i < part->size(); ++i) {
      int64_t label = 0;
      part->read(i, pixels.data(), &label);
      ++survey.classes[part->class_names().empty() ? std::to_string(label) : part->class_names()[label]];
    }
  }
  add_extents(std::move(extents), survey);
  return survey;
}

Json to_json(const DataSurvey& s) {
  Json kinds = Json::object(), classes = Json::object();
  for (const auto& [kind, group] : s.kinds) kinds[kind] = group.count;
  for (const auto& [name, count] : s.classes) classes[name] = count;
  return {{"name", s.name},
          {"images", s.images},
          {"bytes", s.bytes},
          {"other_files", s.passed_over},
          {"class_from", s.class_from},
          {"classes", classes},
          {"kinds", kinds},
          {"smallest", to_json(s.smallest)},
          {"median", to_json(s.median)},
          {"largest", to_json(s.largest)},
          {"odd", to_json(s.odd)},
          {"corrupt", to_json(s.corrupt)}};
}

std::string to_text(const DataSurvey& s) {
  std::ostringstream out;
  out << printable(s.name) << ": " << s.images << " images, " << format_bytes(static_cast<double>(s.bytes)) << ", "
      << s.passed_over << " other files\n";
  print_classes(out, s);
  if (!s.kinds.empty())
    out << "sizes: " << text_of(s.smallest) << " to " << text_of(s.largest) << ", median " << text_of(s.median) << "\n";
  print_groups(out, "kinds:", s.kinds, false);
  print_groups(out, "odd, and read all the same:", s.odd, true);
  print_groups(out, "corrupt, as the header tells ('shardit data verify' decodes all):", s.corrupt, true);
  return out.str();
}

std::vector<BadImage> verify_images(const ImageFiles& files, Pool& pool, const std::function<void(int64_t)>& told) {
  std::vector<std::string> wrong(static_cast<size_t>(files.size()));
  for (int64_t begin = 0; begin < files.size(); begin += kSlice) {
    const int64_t end = std::min(begin + kSlice, files.size());
    pool.run(end - begin, [&](int64_t i, int) {
      try {
        decode_image(files.read(begin + i));
      } catch (const IoError& error) {
        wrong[begin + i] = error.what();
      }
    });
    told(end);
  }
  std::vector<BadImage> bad;
  for (int64_t i = 0; i < files.size(); ++i)
    if (!wrong[i].empty()) bad.push_back({printable(files[i].name), wrong[i]});
  return bad;
}

}  // namespace shardit
