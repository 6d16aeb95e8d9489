// Weights as one safetensors file with the released DiffiT's tensor names, out of a checkpoint and back in.
//
// The names are those of the Layout: "params/blocks.0.attn.qkv.weight" is exported as "blocks.0.attn.qkv.weight".
// The released files also hold constants (pos_embed, blocks.{i}.attn.relative_position_index) that are computed, never
// trained: the caller gives them, so that this room need not know the model.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "checkpoints/load.h"

namespace shardit {

struct Constant {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  const void* data = nullptr;
};

// `which`: "params", "ema:NAME" (both under released names) or "all" (every tensor under its checkpoint name; no
// constants). The file appears at `path`, replacing another, when it is whole and synced. Returns its bytes.
int64_t export_weights(FileSystem& files, const Checkpoint& checkpoint, const std::string& which,
                       std::span<const Constant> constants, const std::string& path);

// Fills fp32 tensors named "params/…" from such a file of F32, F16 or BF16; an export of "all" fills any. Missing,
// extra or mis-shaped tensors are a UserError that names them. Constants that the file holds are compared: integers
// exactly, fp32 to 1e-6, half precision to its rounding; another value is a UserError (another model).
void import_weights(FileSystem& files, const std::string& path, std::span<const StateTensor> tensors,
                    std::span<const Constant> constants);

}  // namespace shardit
