// What `shardit data inspect` and `shardit data verify` find in a folder or a tar of images, or in a folder of IDX
// files.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/pool.h"
#include "data/dataset.h"
#include "data/labels.h"
#include "launcher/metrics.h"

namespace shardit {

// Images that have something in common: how many, and the first few.
struct Examples {
  int64_t count = 0;
  std::vector<std::string> names;  // in their order
};

struct Extents {
  int64_t width = 0, height = 0;
};

// From the headers alone.
struct DataSurvey {
  std::string name;
  int64_t images = 0, bytes = 0;
  int64_t passed_over = 0;                  // files that are no pictures
  std::string class_from;                   // "folder", "prefix", "list", "labels" of IDX files, or "nothing"
  std::map<std::string, int64_t> classes;   // images by class word
  std::map<std::string, Examples> kinds;    // "jpeg rgb", "png palette, 4 bits, interlaced"
  std::map<std::string, Examples> odd;      // what one may want to know, though all of it is read
  std::map<std::string, Examples> corrupt;  // by what is wrong, where the header tells
  Extents smallest, median, largest;        // by number of pixels
};

// `from`: nothing takes the folder if every image lies in one, else the prefix if every name has one, else no classes.
// Throws IoError where a file cannot be read.
DataSurvey survey_images(const ImageFiles& files, std::optional<ClassFrom> from, const std::string& class_list,
                         Pool& pool);
// The same of data in memory, as of IDX files: of all `parts` together.
DataSurvey survey_labelled(const std::vector<std::unique_ptr<Dataset>>& parts, const std::string& name);
Json to_json(const DataSurvey& survey);
std::string to_text(const DataSurvey& survey);

struct BadImage {
  std::string name, what;
};

// Reads and decodes every image; `told` hears how many are done.
std::vector<BadImage> verify_images(const ImageFiles& files, Pool& pool, const std::function<void(int64_t)>& told);

}  // namespace shardit
