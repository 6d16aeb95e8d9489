#include "launcher/run_device.h"

#include <algorithm>

#include "core/cuda_device.h"
#include "core/error.h"
#include "dist/gpu_places.h"
#include "dist/nccl_wire.h"
#include "dist/share_gpu.h"
#include "launcher/cpu_place.h"

namespace shardit {
namespace {

void require_cuda() { REQUIRE(built_with_cuda(), "device=cuda: this build has no CUDA; use device=cpu"); }

// What CUDA shows to this process, and why that is nothing.
struct Sight {
  SeenGpus gpus;
  std::string why_none;
};

Sight look_for_gpus(const World& world) {
  Sight sight{.gpus = {.node = world.node(), .local_rank = world.local_rank(), .may_share = gpu_is_shared()}};
  try {
    sight.gpus.count = count_gpus();
    if (sight.gpus.count == 0) sight.why_none = "CUDA finds no GPU";
    for (int gpu = 0; gpu < std::min(sight.gpus.count, SeenGpus::kMost); ++gpu)
      sight.gpus.ids[static_cast<size_t>(gpu)] = gpu_id(gpu);
  } catch (const DeviceError& error) {
    sight.gpus.count = 0;
    sight.why_none = error.what();
  }
  return sight;
}

// Its last note is of this rank alone.
RunDevice open_gpu(const std::vector<SeenGpus>& seen, int rank) {
  const GpuPlaces places = place_on_gpus(seen);
  if (places.any_shared()) let_nccl_share(rank);  // all ranks alike: one that has a GPU alone speaks with those
  const int gpu = places.gpu[static_cast<size_t>(rank)];
  RunDevice opened{.sharers = places.sharers[static_cast<size_t>(rank)], .pci = gpu_pci(gpu)};
  const std::string near = stay_near(opened.pci);  // before CUDA starts threads and takes memory
  opened.device = make_cuda_device(gpu);
  opened.notes.push_back("device: " + full_name(*opened.device));
  if (seen.size() > 1) opened.notes.push_back("gpus: " + describe(places, seen));
  opened.notes.push_back(near);
  return opened;
}

}  // namespace

RunDevice open_device(const std::string& wanted, Ranks& ranks) {
  if (wanted == "cuda") ranks.together("device", require_cuda);
  if (wanted == "cpu" || !built_with_cuda()) return {make_cpu_device(), {}};
  const Sight mine = look_for_gpus(ranks.world());
  const std::vector<SeenGpus> seen = ranks.all("gpus", mine.gpus);
  const bool none = std::all_of(seen.begin(), seen.end(), [](const SeenGpus& s) { return s.count == 0; });
  if (none && wanted == "auto") return {make_cpu_device(), {"device: cpu, " + mine.why_none}};
  RunDevice opened;
  ranks.together("device", [&] {
    if (none) throw DeviceError("device=cuda: " + mine.why_none);
    opened = open_gpu(seen, ranks.rank());
  });
  opened.notes.back() = describe_cpus(ranks.all_texts("cpus", opened.notes.back()));
  return opened;
}

RunDevice open_device(const std::string& wanted) {
  const std::unique_ptr<World> alone = make_single_world();
  Ranks ranks(*alone);
  return open_device(wanted, ranks);
}

void connect_devices(Ranks& ranks, Mesh& mesh, Device& device) {
  if (device.kernels() != Kernels::kCuda || mesh.ranks() == 1) return;
  ranks.together("device", [&] {
    REQUIRE(built_with_nccl(), "device=cuda: this job has " + std::to_string(mesh.ranks()) +
                                   " ranks, and this build has no NCCL to connect their GPUs\nbuild it where nccl.h is "
                                   "installed, start one rank, or use device=cpu");
  });
  connect_gpus(ranks.world(), mesh, device);
}

bool copied_on_host(const std::string& buffer) {
  for (const char* kind : {"batch.", "validation.", "master.", "adam.", "ema."})
    if (buffer.starts_with(kind)) return true;
  return false;
}

Target target_of(const Device& device, int threads) {
  Target target(threads);
  target.kernels = device.kernels();
  if (!device.host_reaches()) target.copied_on_host = copied_on_host;
  return target;
}

Target planned_target(const std::string& wanted, int threads) {
  Target target(threads);
  if (wanted != "cuda") return target;
  require_cuda();
  target.kernels = Kernels::kCuda;
  target.copied_on_host = copied_on_host;
  return target;
}

std::string full_name(const Device& device) {
  return device.model().empty() ? device.name() : std::string(device.name()) + " " + device.model();
}

}  // namespace shardit
