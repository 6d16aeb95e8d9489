#include "launcher/report.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "launcher/run_folder.h"

namespace shardit {
namespace {

namespace fs = std::filesystem;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  if (!file) throw IoError("read of " + path + " failed: " + strerror(errno));
  return bytes.str();
}

std::vector<std::string> sample_files(const RunFolder& folder) {
  std::vector<std::string> files;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(folder.samples(), absent))
    if (entry.path().extension() == ".png") files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  const std::string final_grid = folder.path + "/samples.png";  // `shardit sample --out`, as the demo does
  if (fs::exists(final_grid)) files.push_back(final_grid);
  return files;
}

std::vector<SampleImage> read_samples(const std::vector<std::string>& files) {
  std::vector<SampleImage> samples;
  const size_t count = std::min(files.size(), kMostSamples);
  for (size_t i = 0; i < count; ++i) {
    const std::string& path = files[count == 1 ? 0 : i * (files.size() - 1) / (count - 1)];
    samples.push_back({fs::path(path).filename().string(), read_file(path)});
  }
  return samples;
}

}  // namespace

RunRecord read_run(const std::string& run_dir) {
  const RunFolder folder{run_dir};
  REQUIRE(fs::is_directory(run_dir),
          "run directory '" + run_dir + "' does not exist: give the folder of a run, as in runs/demo");
  REQUIRE(fs::is_regular_file(folder.metrics()), "'" + run_dir + "' is not a run directory: it holds no metrics.jsonl");
  RunRecord run;
  run.name = fs::weakly_canonical(run_dir).filename().string();
  run.metrics = read_metrics(folder.metrics());
  if (fs::exists(folder.config())) run.config_text = read_file(folder.config());
  const std::vector<std::string> files = sample_files(folder);
  run.samples = read_samples(files);
  run.samples_on_disk = files.size();
  return run;
}

std::string write_report(const std::string& run_dir) {
  const std::string page = report_page(read_run(run_dir)), path = RunFolder{run_dir}.report(),
                    partial = path + ".partial";
  std::ofstream file(partial, std::ios::binary);
  file << page;
  file.close();
  if (!file || rename(partial.c_str(), path.c_str()) != 0)
    throw IoError("write of " + path + " failed: " + strerror(errno));
  return path;
}

}  // namespace shardit
