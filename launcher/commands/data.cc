// `shardit data inspect|verify PATH`.
#include <iostream>
#include <memory>
#include <optional>

#include "core/error.h"
#include "data/idx.h"
#include "launcher/commands/commands.h"
#include "launcher/data_report.h"
#include "launcher/format.h"
#include "launcher/nearest.h"
#include "launcher/progress.h"
#include "launcher/threads.h"

namespace shardit {
namespace {

struct Flags {
  std::string path, split = ".", class_from, class_list;
  bool json = false;
};

std::optional<ClassFrom> class_from(const Flags& f) {
  if (f.class_from.empty() && f.class_list.empty()) return std::nullopt;
  const bool listed = !f.class_list.empty();
  REQUIRE(f.class_from.empty() || (f.class_from == "list") == listed,
          "--class-list and --class-from list go together: got --class-from " + f.class_from +
              (listed ? " with a list" : " without a list"));
  if (listed) return ClassFrom::kList;
  return f.class_from == "prefix" ? ClassFrom::kPrefix : ClassFrom::kFolder;
}

// Names may hold any bytes: those that are no UTF-8 are replaced.
void print_json(const Json& json) { std::cout << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n"; }

// The splits of a folder of IDX files that are asked for; none if it has none.
std::vector<std::unique_ptr<Dataset>> idx_parts(const Flags& f) {
  std::vector<std::unique_ptr<Dataset>> parts;
  const std::vector<std::string> splits = idx_splits(f.path);
  for (const std::string& split : splits)
    if (f.split == "." || f.split == split) parts.push_back(open_idx(f.path, split, 0));
  REQUIRE(splits.empty() || !parts.empty(), "--split " + f.split + ": the IDX files of '" + f.path + "' hold " +
                                                join_words(splits, "and") + "; . takes all");
  return parts;
}

std::string name_of(const std::vector<std::unique_ptr<Dataset>>& parts) {
  std::string name;
  for (const auto& part : parts) name += (name.empty() ? "" : " and ") + part->name();
  return name;
}

void print_survey(const DataSurvey& survey, bool json) {
  if (json)
    print_json(to_json(survey));
  else
    std::cout << to_text(survey);
}

int inspect(const Flags& f) {
  const std::optional<ClassFrom> from = class_from(f);
  if (const auto parts = idx_parts(f); !parts.empty()) {
    REQUIRE(!from, "--class-from and --class-list are for image files: IDX files have labels of their own");
    print_survey(survey_labelled(parts, name_of(parts)), f.json);
    return 0;
  }
  const ImageFiles files(f.path, f.split);
  Pool pool(compute_threads());
  print_survey(survey_images(files, from, f.class_list, pool), f.json);
  return 0;
}

std::vector<BadImage> verify_with_bar(const ImageFiles& files) {
  Pool pool(compute_threads());
  const Screen screen = Screen::standard_output();
  std::optional<ProgressBar> bar;
  if (screen.terminal) bar.emplace(screen, "decoding", files.size(), "images");
  return verify_images(files, pool, [&](int64_t done) { bar ? bar->update(done) : void(); });
}

// What was read of which images, in how long, and what of it is bad.
void print_verified(const std::string& name, int64_t images, double seconds, const std::vector<BadImage>& bad,
                    bool json) {
  if (json) {
    Json rows = Json::array();
    for (const BadImage& image : bad) rows.push_back({{"name", image.name}, {"what", image.what}});
    return print_json({{"name", name}, {"images", images}, {"seconds", seconds}, {"bad", rows}});
  }
  for (const BadImage& image : bad) std::cout << image.name << ": " << image.what << "\n";
  if (bad.empty())
    std::cout << name << ": ok, " << images << " images decoded in " << format_number(seconds, 2) << " s\n";
}

int verify(const Flags& f) {
  const double begin = steady_seconds();
  if (const auto parts = idx_parts(f); !parts.empty()) {  // which are whole, or there was an error
    int64_t images = 0;
    for (const auto& part : parts) images += part->size();
    print_verified(name_of(parts), images, steady_seconds() - begin, {}, f.json);
    return 0;
  }
  const ImageFiles files(f.path, f.split);
  const std::vector<BadImage> bad = verify_with_bar(files);
  print_verified(files.name(), files.size(), steady_seconds() - begin, bad, f.json);
  if (bad.empty()) return 0;
  throw IoError(std::to_string(bad.size()) + " of " + std::to_string(files.size()) + " images of " + files.name() +
                " cannot be decoded, the first is '" + bad[0].name + "': " + bad[0].what +
                "\nfix: replace them; data.on_corrupt=skip trains without those that are corrupt");
}

CLI::App* add(CLI::App* parent, Handler& chosen, std::shared_ptr<Flags> flags, const std::string& name,
              const std::string& description, int (*body)(const Flags&)) {
  CLI::App* command = add_subcommand(*parent, name, description, "shardit data " + name + " images.tar --split train");
  command->add_option("PATH", flags->path, "A folder, or an uncompressed tar; or a folder of IDX files")->required();
  command->add_option("--split", flags->split, "The folder in it, or train or test of IDX files; . for all")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->callback([flags, body, &chosen] { chosen = by_first_rank([flags, body] { return body(*flags); }); });
  return command;
}

}  // namespace

void add_data_command(CLI::App& app, Handler& chosen) {
  CLI::App* group = add_subcommand(app, "data", "Looks into folders and tars of images, and IDX files",
                                   "shardit data inspect images.tar --split train");
  group->require_subcommand(1);
  auto flags = std::make_shared<Flags>();
  CLI::App* c =
      add(group, chosen, flags, "inspect",
          "How many images of which class, size and kind, and what is odd about them; reads headers only", inspect);
  c->add_option("--class-from", flags->class_from,
                "folder, prefix or list, as data.class_from; default: what all images have")
      ->check(CLI::IsMember({"folder", "prefix", "list"}));
  c->add_option("--class-list", flags->class_list, "A file of lines NAME CLASS");
  add(group, chosen, flags, "verify", "Decodes every image; names those for which that fails (exit 4)", verify);
}

}  // namespace shardit
