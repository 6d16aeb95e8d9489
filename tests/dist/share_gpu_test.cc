#include "dist/share_gpu.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <map>

namespace shardit {
namespace {

// The environment of a process of its own.
void in_a_child(void (*body)()) {
  EXPECT_EXIT(
      {
        for (const auto& [name, value] : nccl_settings_to_share(0)) unsetenv(name);
        body();
        std::exit(::testing::Test::HasFailure() ? 1 : 0);
      },
      testing::ExitedWithCode(0), "");
}

TEST(ShareGpu, EachRankIsAHostOfItsOwnOnTheLoopback) {
  std::map<std::string, std::string> one, other;
  for (const auto& [name, value] : nccl_settings_to_share(1)) one[name] = value;
  for (const auto& [name, value] : nccl_settings_to_share(11)) other[name] = value;
  EXPECT_NE(one.at("NCCL_HOSTID"), other.at("NCCL_HOSTID"));
  EXPECT_EQ(one.at("NCCL_SOCKET_IFNAME"), "lo");
  one.erase("NCCL_HOSTID");
  other.erase("NCCL_HOSTID");
  EXPECT_EQ(one, other);
}

TEST(ShareGpu, WhatTheUserHasSetStays) {
  in_a_child([] {
    setenv("NCCL_MAX_NCHANNELS", "2", 1);
    let_nccl_share(3);
    EXPECT_STREQ(std::getenv("NCCL_MAX_NCHANNELS"), "2");
    EXPECT_STREQ(std::getenv("NCCL_HOSTID"), "shardit-rank-3");
    EXPECT_STREQ(std::getenv("NCCL_NET"), "Socket");
  });
}

TEST(ShareGpu, IsAskedForByOneWord) {
  in_a_child([] {
    unsetenv(kShareGpuVariable);
    EXPECT_FALSE(gpu_is_shared());
    setenv(kShareGpuVariable, "0", 1);
    EXPECT_FALSE(gpu_is_shared());
    setenv(kShareGpuVariable, "1", 1);
    EXPECT_TRUE(gpu_is_shared());
  });
}

}  // namespace
}  // namespace shardit
