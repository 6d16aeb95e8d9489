// NVIDIA's NCCL, loaded when the first communicator of a GPU is made: a program starts, and trains on one GPU or on
// none, where the library is not installed.
#pragma once

#include <nccl.h>

#include <string>

namespace shardit {

// What we call of it, under the library's names less their prefix.
struct NcclLibrary {
  int version = 0;  // 22809: 2.28.9
  decltype(&ncclGetVersion) GetVersion;
  decltype(&ncclGetUniqueId) GetUniqueId;
  decltype(&ncclCommInitRankConfig) CommInitRankConfig;
  decltype(&ncclCommSplit) CommSplit;
  decltype(&ncclCommFinalize) CommFinalize;
  decltype(&ncclCommDestroy) CommDestroy;
  decltype(&ncclCommAbort) CommAbort;
  decltype(&ncclCommGetAsyncError) CommGetAsyncError;
  decltype(&ncclGetErrorString) GetErrorString;
  decltype(&ncclGetLastError) GetLastError;
  decltype(&ncclGroupStart) GroupStart;
  decltype(&ncclGroupEnd) GroupEnd;
  decltype(&ncclAllGather) AllGather;
  decltype(&ncclReduceScatter) ReduceScatter;
  decltype(&ncclSend) Send;
  decltype(&ncclRecv) Recv;
  decltype(&ncclMemAlloc) MemAlloc;
  decltype(&ncclMemFree) MemFree;
  decltype(&ncclCommRegister) CommRegister;
  decltype(&ncclCommDeregister) CommDeregister;

  // An error in words, with what the library said last, which may be about another call.
  std::string why(ncclResult_t error) const {
    const std::string last = GetLastError(nullptr);
    return GetErrorString(error) + (last.empty() ? "" : ": " + last);
  }
};

// Loads it at the first call. Throws DeviceError where there is none, or one that is too old.
const NcclLibrary& nccl_library();

}  // namespace shardit
