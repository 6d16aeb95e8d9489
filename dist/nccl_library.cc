#include "dist/nccl_library.h"

#include <dlfcn.h>
#include <link.h>

#include <string>

#include "core/error.h"
#include "dist/nccl_version.h"

namespace shardit {
namespace {

constexpr const char* kFile = "libnccl.so.2";

std::string path_of(void* library) {
  link_map* map = nullptr;
  return dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 ? map->l_name : kFile;
}

template <typename Function> void find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  if (!function)
    throw DeviceError(path_of(library) + " has no " + name + ": it is too old, or no NCCL\nexpected NCCL " +
                      nccl_version_text(kOldestNccl) + " or later: install a newer libnccl2");
}

// Never unloaded: its threads may outlive the last communicator.
NcclLibrary load() {
  void* const file = dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  if (!file)
    throw DeviceError(std::string("several ranks on GPUs need NCCL, and it cannot be loaded: ") + dlerror() +
                      "\ninstall libnccl2, or put the folder of libnccl.so.2 into LD_LIBRARY_PATH");
  NcclLibrary library;
  find(file, "ncclGetVersion", library.GetVersion);
  library.GetVersion(&library.version);
  check_nccl_version(library.version, path_of(file));
  find(file, "ncclGetUniqueId", library.GetUniqueId);
  find(file, "ncclCommInitRankConfig", library.CommInitRankConfig);
  find(file, "ncclCommSplit", library.CommSplit);
  find(file, "ncclCommFinalize", library.CommFinalize);
  find(file, "ncclCommDestroy", library.CommDestroy);
  find(file, "ncclCommAbort", library.CommAbort);
  find(file, "ncclCommGetAsyncError", library.CommGetAsyncError);
  find(file, "ncclGetErrorString", library.GetErrorString);
  find(file, "ncclGetLastError", library.GetLastError);
  find(file, "ncclGroupStart", library.GroupStart);
  find(file, "ncclGroupEnd", library.GroupEnd);
  find(file, "ncclAllGather", library.AllGather);
  find(file, "ncclReduceScatter", library.ReduceScatter);
  find(file, "ncclSend", library.Send);
  find(file, "ncclRecv", library.Recv);
  find(file, "ncclMemAlloc", library.MemAlloc);
  find(file, "ncclMemFree", library.MemFree);
  find(file, "ncclCommRegister", library.CommRegister);
  find(file, "ncclCommDeregister", library.CommDeregister);
  return library;
}

}  // namespace

const NcclLibrary& nccl_library() {
  static const NcclLibrary library = load();
  return library;
}

}  // namespace shardit
