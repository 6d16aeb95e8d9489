#include "dist/share_gpu.h"

#include <stdlib.h>

#include <cstring>

namespace shardit {

bool gpu_is_shared() {
  const char* value = std::getenv(kShareGpuVariable);
  return value && std::strcmp(value, "1") == 0;
}

std::vector<std::pair<const char*, std::string>> nccl_settings_to_share(int rank) {
  return {{"NCCL_HOSTID", "shardit-rank-" + std::to_string(rank)},
          {"NCCL_NET", "Socket"},
          {"NCCL_SOCKET_IFNAME", "lo"},
          {"NCCL_IB_DISABLE", "1"},
          {"NCCL_P2P_DISABLE", "1"},
          {"NCCL_SHM_DISABLE", "1"},
          {"NCCL_NVLS_ENABLE", "0"},
          {"NCCL_ALGO", "Ring"},
          {"NCCL_PROTO", "Simple"},
          {"NCCL_MAX_NCHANNELS", "1"}};
}

void let_nccl_share(int rank) {
  constexpr int kKeep = 0;
  for (const auto& [name, value] : nccl_settings_to_share(rank)) setenv(name, value.c_str(), kKeep);
}

}  // namespace shardit
