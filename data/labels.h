// Which class an image has: a word from its name or from a list, and a number for each word.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/image_files.h"

namespace shardit {

enum class ClassFrom {
  kFolder,  // the first folder of its name: "cat/0001.jpg"
  kPrefix,  // its file name up to the first '_', as ADM reads ImageNet: "n01440764_10026.JPEG"
  kList,    // a file of lines "NAME CLASS"
};

// Class words to labels: if all words are whole numbers they are the labels; else labels count the sorted words from 0.
struct ClassNames {
  std::vector<std::string> names;  // sorted; empty if words are numbers
  int64_t classes = 0;             // labels are 0 … classes - 1
};

struct Labels {
  std::vector<int32_t> of_image;  // by its number
  ClassNames names;
};

// Labels of all `files`, each below `classes` (0: any). `list_path`: for kList. `known`: where these images must have
// the classes of others (a validation split those of the training split), whatever of them occurs here.
//
// Throws UserError for an image without a class, a class that is not known, or a label that is not below `classes`.
Labels label_images(const ImageFiles& files, ClassFrom from, const std::string& list_path, int64_t classes,
                    const std::optional<ClassNames>& known = std::nullopt);

// The classes of such images from the least that tells them, where nothing else is asked: a list alone, the names of
// the images, of a folder per class one image of each. Images that have no class are passed over. Throws UserError
// where there is no class, and IoError for what cannot be read.
ClassNames list_classes(const std::string& path, const std::string& split, ClassFrom from,
                        const std::string& list_path);

// The class words of a list, one per image of `files`. `path` is for messages. Throws UserError unless the list names
// each image exactly once, and nothing else.
std::vector<std::string> parse_class_list(std::string_view text, const std::string& path, const ImageFiles& files);

}  // namespace shardit
