// The resume proof: the loss of the next step's micro-batch 0 on the weights of a checkpoint. A save writes its bits
// into the manifest; a run that resumes computes it again before its first step, from the weights it loaded and the
// images it reads, and compares. It is that micro-batch's share of the step's loss, exactly as training computes it a
// moment later.
//
// Every rank reads the same images and runs the same forward (the graph "resume_proof" of the program: its memory is
// planned), so the bits are those of one rank, whatever the number of ranks and the stage. Training's own bits stay as
// they are: draws have keys, and the buffers that it shares with a micro-step are filled anew before each.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoints/manifest.h"
#include "core/program.h"
#include "data/loader.h"
#include "launcher/ranks.h"
#include "launcher/run_config.pb.h"
#include "launcher/run_products.h"
#include "launcher/run_setup.h"

namespace shardit {

class ResumeProof {
 public:
  // `device` and `products`: the program's. REQUIRES: all arguments outlive it. Every rank has one, and all make the
  // same calls.
  ResumeProof(Program& program, const RunSetup& setup, const RunConfig& config, const Dataset& data, Ranks& ranks,
              const Device& device, const RunProducts& products);

  // The fp32 bits of the loss of micro-batch 0 of step number `step` (the first is 0) on the weights as they are.
  // Nothing, and a WARNING, where its images cannot be read: a save does not fail for what only the next step needs.
  // Throws StopError if a rank on the same kind of device as rank 0 gets other bits: its weights or images are others.
  std::optional<uint32_t> loss_bits(int64_t step);

  // Holds the loss against that of the checkpoint whose state is loaded, on every rank. `mode`: strict, warn or off.
  // Returns how it went, for the log: "holds bitwise, …", "skipped: …". A proof that is skipped because the run is
  // another one now, and with `warn` one that fails, is a WARNING on standard error as well.
  // Throws StopError with `strict` if it fails.
  std::string check(const RunState& saved, const std::string& mode);

  double last_ms() const { return last_ms_; }  // what computing it took

 private:
  struct Loss {
    uint32_t bits = 0;
    uint64_t kind = 0;  // hash of the kind of device: within one, bits are equal
  };

  std::vector<Loss> every_ranks_loss(int64_t step);
  void read_images(int64_t step);
  std::string warn(const std::string& text) const;
  std::string difference(const Loss& loss, const Loss& expected) const;
  std::string mismatch(const std::vector<Loss>& losses, const Loss& expected) const;
  std::string words_for(const Loss& loss, const Loss& expected, const RunState& saved) const;
  std::string why_not_comparable(const RunState& saved) const;
  double tolerance() const;

  Program& program_;
  const RunSetup& setup_;
  const RunConfig& config_;
  const Dataset& data_;
  Ranks& ranks_;
  const RunProducts& products_;
  SampleReader reader_;
  std::string kind_;
  double last_ms_ = 0;
};

// Within one kind, the arithmetic promises equal bits: the device, and the versions of the libraries.
std::string device_kind_of(const RunState& run);
// Writes into `run` what this device is on this machine, with this build.
void set_device_kind(RunState& run, const Device& device);

}  // namespace shardit
