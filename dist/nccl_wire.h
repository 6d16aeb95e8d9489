// The collectives of GPUs, by NCCL. Programs that link nccl_device have this function; in others it is null.
//
// Communicators do not block the host: where the library waits for a peer, to be connected or to be told of an error,
// we ask it now and then. So a peer that never comes is a call that the watchdog sees, and not a rank that cannot be
// asked.
#pragma once

#include "core/device.h"
#include "dist/mesh.h"
#include "dist/world.h"

namespace shardit {

// Gives the groups of `mesh` that have several ranks communicators on the GPU that this thread computes on; `device`,
// which is that GPU, looks after them while the host waits for it, and takes its memory from NCCL, registered with all
// of them. Collective over the world, of several ranks. Throws DeviceError where NCCL is missing, too old, or not the
// same on all ranks, CommError where ranks do not find each other.
[[gnu::weak]] void connect_gpus(World& world, Mesh& mesh, Device& device);

inline bool built_with_nccl() { return connect_gpus != nullptr; }

}  // namespace shardit
