// The file behind the config key product_table: the fastest library algorithm of each matrix product, by GPU and
// library version. One file may serve many configs and GPUs.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "ops/product_choices.h"

namespace shardit {

struct ProductEntry {
  LibraryAlgorithm algorithm = {};
  std::string about;  // it, for people
  double first_us = 0, best_us = 0;
};

// By device, with its library, and product.
using ProductTable = std::map<std::pair<std::string, std::string>, ProductEntry>;

// `name` is the file in errors: UserError where it is damaged, or no such file at all.
ProductTable parse_product_table(const std::string& text, const std::string& name);
ProductTable read_product_table(const std::string& path);

std::string text_of(const ProductTable& table);  // equal tables have equal text

// The part that is for one device, by product.
std::map<std::string, LibraryAlgorithm> algorithms_for(const ProductTable& table, const std::string& device);

}  // namespace shardit
