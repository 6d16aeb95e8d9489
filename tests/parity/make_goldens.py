"""Makes golden files of the latent model for `shardit parity`, and proves itself on files made elsewhere.

    python3 tests/parity/make_goldens.py committed tests/parity     # the files that lie beside this script
    python3 tests/parity/make_goldens.py shapes /tmp/goldens        # many odd shapes; names say which
    python3 tests/parity/make_goldens.py check FILE…                # outputs anew from a file's own inputs

`check` prints, per section, how far this script in float32, and in float64, is from the file, in the measures that
parity judges by. Needs PyTorch (Debian: python3-torch); the tests of this repository only read the committed files.
"""
import json
import math
import os
import struct
import sys
from dataclasses import dataclass

import torch

import diffit_torch as diffit

DTYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}


# safetensors


def write_file(path, tensors, metadata):
    header, blobs, offset = {"__metadata__": metadata}, [], 0
    for name, x in tensors.items():
        blob = x.contiguous().numpy().tobytes()
        dtype = next(k for k, v in DTYPES.items() if v == x.dtype)
        header[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read_file(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = bytearray(f.read())
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        flat = torch.frombuffer(data[first:last], dtype=DTYPES[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return tensors, metadata


# A case: a model and what is done with it


@dataclass
class Case:
    input_size: int = 8
    patch_size: int = 2
    in_channels: int = 4
    hidden_size: int = 20
    depth: int = 1
    num_heads: int = 1
    num_classes: int = 7
    mlp_ratio: float = None  # absent from the file: 4
    learn_sigma: bool = True
    batch: int = 2
    steps: int = 2  # of training
    sample_steps: int = 4
    cfg_scale: float = 1.5
    lr: float = 1e-3
    betas: str = "0.9,0.999"
    eps: float = 1e-8
    weight_decay: float = 0.01
    ema_decay: float = 0.9
    without: tuple = ()  # sections that are left out of the file
    seed: int = 0

    def model(self):
        names = ("input_size", "patch_size", "in_channels", "hidden_size", "depth", "num_heads", "num_classes",
                 "learn_sigma")
        return diffit.Config(mlp_ratio=4.0 if self.mlp_ratio is None else self.mlp_ratio,
                             **{name: getattr(self, name) for name in names})

    def metadata(self):
        keys = [k for k in vars(self) if k not in ("steps", "without", "seed") and getattr(self, k) is not None]
        return {k: str(getattr(self, k)) for k in keys} | {"source": "tests/parity/make_goldens.py"}


def case_of(metadata, tensors):
    """The case that a file states."""
    values = {}
    for name, kind in Case.__annotations__.items():
        if name in metadata:
            values[name] = metadata[name] == "True" if kind is bool else kind(metadata[name])
    if "train.x0" in tensors:
        values["steps"] = tensors["train.x0"].shape[0]
    return Case(**values)


def inputs(case):
    """Parameters, buffers and every section's inputs: random, nonzero, and large enough to matter."""
    g = torch.Generator().manual_seed(case.seed)
    c, B, n = case.model(), case.batch, max(1, case.batch // 2)

    def normal(*shape):
        return torch.randn(shape, generator=g)

    def integers(high, *shape):
        return torch.randint(high, shape, generator=g)

    t = {"param.pos_embed": diffit.position_table(c)}
    for name, shape in diffit.shapes(c).items():
        if name.endswith(".bias"):
            std = 0.05
        elif name.endswith("table"):
            std = 0.3
        elif name.startswith(("t_embedder", "y_embedder")):
            std = 0.15
        else:
            std = math.sqrt(2 / (shape[0] + math.prod(shape[1:])))  # as wide as Xavier's uniform
        t["param." + name] = std * normal(*shape)
        if name.endswith("table"):
            t["param." + name.replace("bias_table", "index")] = diffit.relative_position_index(c)
    S, channels = c.input_size, c.in_channels
    t["forward.x"], t["forward.t"] = normal(B, channels, S, S), integers(diffit.TIMESTEPS, B)
    t["forward.t"][:2] = torch.tensor([999, 0])[:B]
    t["forward.y"] = integers(c.num_classes, B)
    t["forward.y"][-1] = c.num_classes
    half = normal(n, channels, S, S)
    labels = integers(c.num_classes, n)
    t["cfg.x"], t["cfg.t"] = torch.cat([half, half]), torch.full((2 * n,), int(integers(400, 1)))
    t["cfg.y"] = torch.cat([labels, torch.full_like(labels, c.num_classes)])
    t["train.x0"] = (0.7 * normal(case.steps, B, channels, S, S)).clamp(-3, 3)
    t["train.t"] = integers(diffit.TIMESTEPS, case.steps, B)
    t["train.t"][0, 0] = 0  # the other formula of the variational term
    t["train.y"] = integers(c.num_classes, case.steps, B)
    t["train.y"][0, 0] = c.num_classes
    t["train.noise"] = normal(case.steps, B, channels, S, S)
    t["sample.z"], t["sample.y"] = normal(n, channels, S, S), integers(c.num_classes, n)
    t["sample.noise"] = normal(case.sample_steps, n, channels, S, S)
    return t


def outputs(case, given, dtype):
    """Every section's results, computed in `dtype`."""
    c, out = case.model(), {}
    x = {k: v.to(dtype) if v.is_floating_point() else v for k, v in given.items()}
    w = {name: x["param." + name] for name in diffit.shapes(c)}
    with torch.no_grad():
        if "forward.x" in x:
            out["forward.out"] = diffit.forward(w, c, x["forward.x"], x["forward.t"], x["forward.y"])
        if "cfg.x" in x:
            out["cfg.out"] = diffit.guided_forward(w, c, x["cfg.x"], x["cfg.t"], x["cfg.y"], case.cfg_scale)
    if "train.x0" in x:
        out |= train(case, c, w, x)
    if "sample.z" in x:
        schedule = diffit.respaced(case.sample_steps)
        for name, ancestral in (("ddpm", True), ("ddim", False)):
            out["sample." + name] = diffit.sample(w, c, schedule, x["sample.z"], x["sample.y"], x["sample.noise"],
                                                  case.cfg_scale, ancestral)
        out["sample.timesteps"] = torch.tensor(schedule.steps)
    return {k: v.float() if v.dtype == torch.float64 and not k.endswith("grad_norm") else v for k, v in out.items()}


def train(case, c, start, x):
    out, losses = {}, []
    w = {name: v.clone().requires_grad_() for name, v in start.items()}
    ema = {name: v.clone() for name, v in start.items()}
    optimizer = torch.optim.AdamW(w.values(), lr=case.lr, betas=tuple(float(b) for b in case.betas.split(",")),
                                  eps=case.eps, weight_decay=case.weight_decay)
    for step in range(case.steps):
        terms = diffit.loss_terms(w, c, *(x["train." + name][step] for name in ("x0", "t", "y", "noise")))
        loss = terms[0].mean()
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.detach())
        if step == 0:
            for name, term in zip(("loss", "mse", "vb"), terms):
                if term is not None:
                    out["train.step0." + name] = term.detach()
            out["train.step0.grad_norm"] = sum((v.grad.double() ** 2).sum() for v in w.values()).sqrt()
            out |= {"grad." + name: v.grad.clone() for name, v in w.items()}
        optimizer.step()
        for name, v in w.items():
            ema[name].mul_(case.ema_decay).add_(v.detach(), alpha=1 - case.ema_decay)
    out["train.loss"] = torch.stack(losses)
    out |= {"after." + name: v.detach() for name, v in w.items()}
    return out | {"ema." + name: v for name, v in ema.items()}


def make(path, case):
    given = inputs(case)
    tensors = given | outputs(case, given, torch.float32)
    kept = {k: v for k, v in tensors.items() if not k.startswith(tuple(s + "." for s in case.without))}
    write_file(path, kept, case.metadata())


# The files

# Their seeds are such that rounding the weights to bf16 alone does not use up bf16's tolerance: with few tokens it may.
COMMITTED = {
    # An odd window of single pixels, five heads, strong guidance; without what needs training.
    "s5-p1-d20-h5-c3-untrained": Case(input_size=5, patch_size=1, in_channels=3, hidden_size=20, num_heads=5,
                                      num_classes=3, sample_steps=12, cfg_scale=4.0,
                                      without=("train", "grad", "after", "ema")),
    # An even window of single pixels, two blocks, three heads, five steps without weight decay.
    "s4-p1-d12-h3-l2-nodecay": Case(input_size=4, patch_size=1, hidden_size=12, depth=2, num_heads=3, num_classes=1,
                                    mlp_ratio=1.25, batch=4, steps=5, sample_steps=2, lr=3e-3, betas="0.8,0.95",
                                    eps=1e-6, weight_decay=0.0, ema_decay=0.5, seed=4),
    # Eight channels, a window of three, one image.
    "s6-p2-d8-h1-c8-batch1": Case(input_size=6, in_channels=8, hidden_size=8, num_classes=2, mlp_ratio=1.0, batch=1,
                                   steps=1, sample_steps=3, weight_decay=0.3, without=("forward",), seed=1),
    # No learned variance, large patches, a hidden MLP size that is cut to a whole number.
    "s8-p4-d8-h2-eps": Case(input_size=8, patch_size=4, in_channels=1, hidden_size=8, num_heads=2, num_classes=4,
                            mlp_ratio=2.7, learn_sigma=False, batch=5, steps=3, sample_steps=25, betas="0.9,0.99",
                            cfg_scale=1.0, weight_decay=0.1),
    # Above 32 pixels: guidance of constant scale. Only guidance and sampling.
    "s36-p9-d12-h3-constant": Case(input_size=36, patch_size=9, in_channels=1, hidden_size=12, num_heads=3, batch=1,
                                   cfg_scale=3.0, sample_steps=2, learn_sigma=False,
                                   without=("forward", "train", "grad", "after", "ema")),
    # Training alone, four blocks.
    "s4-p1-d8-h2-l4-trained": Case(input_size=4, patch_size=1, hidden_size=8, depth=4, num_heads=2, mlp_ratio=3.5,
                                   batch=5, steps=4, lr=1e-2, weight_decay=0.05, seed=2,
                                   without=("forward", "cfg", "sample", "ema")),
}

SHAPES = {
    "p1-w5-d20-h1": Case(input_size=5, patch_size=1),
    "p1-w8-d20-h5-c3": Case(input_size=8, patch_size=1, in_channels=3, num_heads=5, batch=3),
    "p1-w13-d36-h3-l2": Case(input_size=13, patch_size=1, hidden_size=36, depth=2, num_heads=3, batch=4, cfg_scale=4.0),
    "p1-w1-d20-h5": Case(input_size=1, patch_size=1, num_heads=5, batch=5),
    "p1-w2-d60-h3-l4": Case(input_size=2, patch_size=1, hidden_size=60, depth=4, num_heads=3, batch=5, steps=6),
    "p2-w3-d36-h3-r1": Case(input_size=6, hidden_size=36, num_heads=3, mlp_ratio=1.0, batch=1, steps=6),
    "p2-w7-d60-h5-l3-r2": Case(input_size=14, hidden_size=60, depth=3, num_heads=5, mlp_ratio=2.0, batch=4),
    "p2-w16-d36-h1-k1000": Case(input_size=32, hidden_size=36, num_classes=1000, mlp_ratio=3.5, sample_steps=25),
    "p2-w17-d20-h1-constant": Case(input_size=34, cfg_scale=4.0, sample_steps=10),
    "p2-w20-d36-h3-c1-constant": Case(input_size=40, in_channels=1, hidden_size=36, num_heads=3, batch=3),
    "p2-w5-d60-h15": Case(input_size=10, hidden_size=60, num_heads=15, mlp_ratio=3.5, weight_decay=0.0, batch=3),
    "p2-w4-d20-h5-r2.7": Case(input_size=8, num_heads=5, mlp_ratio=2.7, depth=2, lr=1e-2, betas="0.5,0.9", eps=1e-4),
    "p2-w4-d36-h9-r1.03": Case(input_size=8, hidden_size=36, num_heads=9, mlp_ratio=1.03, depth=3, ema_decay=0.99),
    "p2-w2-d20-h1-k1": Case(input_size=4, num_classes=1, batch=5, cfg_scale=1.0, sample_steps=2, steps=1),
    "p4-w3-d60-h3-c8": Case(input_size=12, patch_size=4, in_channels=8, hidden_size=60, num_heads=3, depth=2, steps=3),
    "p4-w8-d36-h3-c8-l4": Case(input_size=32, patch_size=4, in_channels=8, hidden_size=36, num_heads=3, depth=4,
                               batch=2, cfg_scale=4.0, sample_steps=25, steps=4, weight_decay=0.3),
    "p4-w9-d20-h1-c3-constant": Case(input_size=36, patch_size=4, in_channels=3, depth=2, cfg_scale=4.0, batch=2),
    "p4-w1-d20-h5-c3": Case(input_size=4, patch_size=4, in_channels=3, num_heads=5, mlp_ratio=3.5, batch=5),
    "p2-w4-d20-h1-eps": Case(input_size=8, learn_sigma=False, batch=4, steps=4, sample_steps=10),
    "p1-w6-d36-h3-c1-eps": Case(input_size=6, patch_size=1, in_channels=1, hidden_size=36, num_heads=3,
                                learn_sigma=False, batch=5, sample_steps=25, cfg_scale=4.0, num_classes=1000),
    "p4-w10-d60-h5-c8-eps-constant": Case(input_size=40, patch_size=4, in_channels=8, hidden_size=60, num_heads=5,
                                          learn_sigma=False, batch=2, mlp_ratio=1.0),
    "p1-w4-d20-h1-c1": Case(input_size=4, patch_size=1, in_channels=1, batch=4, steps=6, lr=1e-4, ema_decay=0.5),
    "p1-w4-d20-h1-c2": Case(input_size=4, patch_size=1, in_channels=2, batch=4, weight_decay=0.1, cfg_scale=4.0),
    "p3-w5-d36-h3-l2": Case(input_size=15, patch_size=3, hidden_size=36, num_heads=3, depth=2, sample_steps=25),
    "p8-w4-d64-h8": Case(input_size=32, patch_size=8, hidden_size=64, num_heads=8, steps=3, batch=4),
    "p2-w8-d1152-h16": Case(input_size=16, hidden_size=1152, num_heads=16, num_classes=10, steps=1, sample_steps=2),
    "no-forward-cfg": Case(without=("forward", "cfg")),
    "no-sample-ema": Case(without=("sample", "ema")),
    "only-forward": Case(without=("cfg", "train", "grad", "after", "ema", "sample")),
    "only-grad": Case(steps=1, without=("forward", "cfg", "after", "ema", "sample")),
    "only-parameters": Case(without=("forward", "cfg", "train", "grad", "after", "ema", "sample")),
}


# Comparison with a file


def largest_error(ours, reference, least_scale=0.0):
    scale = max(float(reference.abs().max()), least_scale)
    return float((ours.double() - reference.double()).abs().max()) / (scale or 1)


def noise_free(name, x):
    """Without the key thirds whose gradient is rounding noise."""
    if not name.endswith(("qkv_temb.weight", "qkv_temb.bias", "qkv.bias")):
        return x
    q, _, v = x.chunk(3)
    return torch.cat([q, v])


def change_error(ours, file, kind):
    error = change = 0.0
    for name in (k[len(kind):] for k in file if k.startswith(kind)):
        a, b, before = (noise_free(name, t.double()) for t in (ours[kind + name], file[kind + name],
                                                               file["param." + name]))
        error += float(((a - b) ** 2).sum())
        change += float(((b - before) ** 2).sum())
    return math.sqrt(error / change)


def section_errors(ours, file):
    errors = {name: largest_error(ours[name + ".out"], file[name + ".out"])
              for name in ("forward", "cfg") if name + ".out" in file}
    losses = [k for k in file if k == "train.loss" or k.startswith("train.step0.") and not k.endswith("norm")]
    if losses:
        errors["loss"] = max(largest_error(ours[k], file[k]) for k in losses)
    gradients = [k for k in file if k.startswith("grad.")]
    if gradients:
        most = max(float(file[k].abs().max()) for k in gradients)
        errors["grad"] = max(largest_error(ours[k], file[k], 1e-3 * most) for k in gradients)
        errors["grad"] = max(errors["grad"], largest_error(ours["train.step0.grad_norm"],
                                                           file["train.step0.grad_norm"]))
    for section, kind in (("adamw", "after."), ("ema", "ema.")):
        if any(k.startswith(kind) for k in file):
            errors[section] = change_error(ours, file, kind)
    for name in ("ddpm", "ddim"):
        if "sample." + name in file:
            errors[name] = largest_error(ours["sample." + name], file["sample." + name])
    return errors


def buffers_agree(case, file):
    c = case.model()
    indices = [k for k in file if k.endswith("relative_position_index")]
    return (torch.equal(file["param.pos_embed"], diffit.position_table(c)) and len(indices) == c.depth and
            all(torch.equal(file[k], diffit.relative_position_index(c)) for k in indices))


def check(path):
    file, metadata = read_file(path)
    case = case_of(metadata, file)
    missing = [k for k in diffit.shapes(case.model()) if "param." + k not in file]
    print(f"{path}: buffers {'equal' if buffers_agree(case, file) else 'DIFFER'}, missing parameters: {missing or 0}")
    single, double = (section_errors(outputs(case, file, dtype), file) for dtype in (torch.float32, torch.float64))
    for name in single:
        print(f"  {name:8s} float32 {single[name]:.2e}   float64 {double[name]:.2e}")


def main(arguments):
    torch.set_num_threads(1)
    command, rest = arguments[0], arguments[1:]
    if command == "check":
        for path in rest:
            check(path)
        return
    os.makedirs(rest[0], exist_ok=True)
    for name, case in {"committed": COMMITTED, "shapes": SHAPES}[command].items():
        make(os.path.join(rest[0], name + ".safetensors"), case)


if __name__ == "__main__":
    main(sys.argv[1:])
