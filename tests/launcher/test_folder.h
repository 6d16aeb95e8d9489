// A folder of a test's own, gone when the test ends.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace shardit {

struct TestFolder {
  std::filesystem::path path;

  TestFolder() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    static int number = 0;
    path = std::filesystem::temp_directory_path() /
           ("shardit-" + std::string(info->test_suite_name()) + "-" + info->name() + "-" + std::to_string(getpid()) +
            "-" + std::to_string(number++));
    std::filesystem::create_directories(path);
  }
  ~TestFolder() { std::filesystem::remove_all(path); }

  std::string operator/(const std::string& name) const { return (path / name).string(); }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path / name) << text; }
  std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(path / name).rdbuf();
    return text.str();
  }
};

}  // namespace shardit
