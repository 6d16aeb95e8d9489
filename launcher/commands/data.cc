// `shardit data inspect|verify PATH`.
#include <iostream>
#include <memory>
#include <optional>

#include "core/error.h"
#include "launcher/commands/commands.h"
#include "launcher/data_report.h"
#include "launcher/format.h"
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

int inspect(const Flags& f) {
  const std::optional<ClassFrom> from = class_from(f);
  const ImageFiles files(f.path, f.split);
  Pool pool(compute_threads());
  const DataSurvey survey = survey_images(files, from, f.class_list, pool);
  if (f.json)
    print_json(to_json(survey));
  else
    std::cout << to_text(survey);
  return 0;
}

std::vector<BadImage> verify_with_bar(const ImageFiles& files) {
  Pool pool(compute_threads());
  const Screen screen = Screen::standard_output();
  std::optional<ProgressBar> bar;
  if (screen.terminal) bar.emplace(screen, "decoding", files.size(), "images");
  return verify_images(files, pool, [&](int64_t done) { bar ? bar->update(done) : void(); });
}

int verify(const Flags& f) {
  const ImageFiles files(f.path, f.split);
  const double begin = steady_seconds();
  const std::vector<BadImage> bad = verify_with_bar(files);
  const double seconds = steady_seconds() - begin;
  if (f.json) {
    Json rows = Json::array();
    for (const BadImage& image : bad) rows.push_back({{"name", image.name}, {"what", image.what}});
    print_json({{"name", files.name()}, {"images", files.size()}, {"seconds", seconds}, {"bad", rows}});
  } else {
    for (const BadImage& image : bad) std::cout << image.name << ": " << image.what << "\n";
    if (bad.empty())
      std::cout << files.name() << ": ok, " << files.size() << " images decoded in " << format_number(seconds, 2)
                << " s\n";
  }
  if (bad.empty()) return 0;
  throw IoError(std::to_string(bad.size()) + " of " + std::to_string(files.size()) + " images of " + files.name() +
                " cannot be decoded, the first is '" + bad[0].name + "': " + bad[0].what +
                "\nfix: replace them; data.on_corrupt=skip trains without those that are corrupt");
}

CLI::App* add(CLI::App* parent, Handler& chosen, std::shared_ptr<Flags> flags, const std::string& name,
              const std::string& description, int (*body)(const Flags&)) {
  CLI::App* command = add_subcommand(*parent, name, description, "shardit data " + name + " images.tar --split train");
  command->add_option("PATH", flags->path, "A folder, or an uncompressed tar")->required();
  command->add_option("--split", flags->split, "The folder in it; . for all")->capture_default_str();
  command->add_flag("--json", flags->json, "Print one JSON object");
  command->callback([flags, body, &chosen] { chosen = by_first_rank([flags, body] { return body(*flags); }); });
  return command;
}

}  // namespace

void add_data_command(CLI::App& app, Handler& chosen) {
  CLI::App* group = add_subcommand(app, "data", "Looks into folders and tars of images",
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
