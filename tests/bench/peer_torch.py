#!/usr/bin/env python3
"""The peer to beat: one DiffiT training step in PyTorch, the best way PyTorch does it on this device.

Latent DiffiT as in docs/model.md (relative position bias, per-layer time projection, eps-prediction MSE), AdamW, EMA.
CPU:  OMP_NUM_THREADS=1 DDP over gloo with --procs 2, or --procs 1 with all threads.
CUDA: bf16 autocast, torch.compile, fused AdamW; attention bias through scaled_dot_product_attention or flex_attention.
Prints one JSON line: images_per_s (median over steps), step_ms, tflops (model FLOPs), peak_bytes.
Units: images_per_s counts images over all processes; FLOPs = 3 x forward, 1 multiply-add = 2 FLOP.
"""
import argparse, json, math, os, time
import torch, torch.nn as nn, torch.nn.functional as F

def args_():
    p = argparse.ArgumentParser()
    for k, v in dict(input_size=16, patch=2, channels=4, hidden=256, depth=6, heads=4, classes=10, batch=128, steps=12, warmup=3, procs=1, threads=0, seed=0).items():
        p.add_argument("--" + k.replace("_", "-"), type=int, default=v)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    p.add_argument("--attn", choices=["auto", "manual", "sdpa", "flex"], default="auto")
    p.add_argument("--compile", choices=["none", "model", "blocks"], default="none", help="blocks: one block, all alike; its bias stays eager, whose backward is faster")
    p.add_argument("--ema", action="store_true")
    return p.parse_args()

class Block(nn.Module):
    def __init__(s, C, H, w, attn):
        super().__init__()
        s.H, s.w, s.attn = H, w, attn
        s.qkv, s.temb, s.proj = nn.Linear(C, 3 * C), nn.Linear(C, 3 * C), nn.Linear(C, C)
        s.fc1, s.fc2 = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)
        s.table = nn.Parameter(torch.randn((2 * w - 1) ** 2, H) * 0.02)
        g = torch.arange(w); r, c = g.repeat_interleave(w), g.repeat(w)
        s.register_buffer("index", (r[:, None] - r[None] + w - 1) * (2 * w - 1) + (c[:, None] - c[None] + w - 1), persistent=False)
    def bias(s):
        N = s.index.shape[0]
        return s.table[s.index.view(-1)].view(N, N, s.H).permute(2, 0, 1)
    def forward(s, x, t):
        B, N, C = x.shape
        h = F.layer_norm(x, (C,), eps=1e-6)
        q, k, v = (s.qkv(h) + s.temb(t)[:, None]).view(B, N, 3, s.H, C // s.H).permute(2, 0, 3, 1, 4).unbind(0)
        if s.attn == "flex":
            from torch.nn.attention.flex_attention import flex_attention
            table, w = s.table, s.w
            def bias(score, b, hh, i, j):
                return score + table[(i // w - j // w + w - 1) * (2 * w - 1) + (i % w - j % w + w - 1), hh]
            o = flex_attention(q, k, v, score_mod=bias)
        else:
            b = s.bias()
            if s.attn == "sdpa":
                o = F.scaled_dot_product_attention(q, k, v, attn_mask=b[None].to(q.dtype).expand(B, -1, -1, -1))
            else:
                o = torch.softmax((q * (C // s.H) ** -0.5) @ k.transpose(-2, -1) + b[None], -1).to(v.dtype) @ v
        x = x + s.proj(o.transpose(1, 2).reshape(B, N, C))
        return x + s.fc2(F.gelu(s.fc1(F.layer_norm(x, (C,), eps=1e-6)), approximate="tanh"))

class DiffiT(nn.Module):
    def __init__(s, a):
        super().__init__()
        C, w = a.hidden, a.input_size // a.patch
        s.p, s.ch, s.w = a.patch, a.channels, w
        s.embed = nn.Conv2d(a.channels, C, a.patch, a.patch)
        s.register_buffer("pos", torch.randn(1, w * w, C) * 0.02)
        s.t1, s.t2 = nn.Linear(256, C), nn.Linear(C, C)
        s.y = nn.Embedding(a.classes + 1, C)
        s.blocks = nn.ModuleList(Block(C, a.heads, w, a.attn) for _ in range(a.depth))
        s.out = nn.Linear(C, a.patch ** 2 * a.channels)
    def forward(s, x, t, y):
        B = x.shape[0]
        f = torch.exp(-math.log(1e4) / 128 * torch.arange(128, device=x.device)); e = t[:, None].float() * f
        c = s.t2(F.silu(s.t1(torch.cat([e.cos(), e.sin()], 1)))) + s.y(y)
        h = s.embed(x).flatten(2).transpose(1, 2) + s.pos
        for b in s.blocks: h = b(h, c)
        h = s.out(F.silu(F.layer_norm(h, (h.shape[-1],), eps=1e-6)))
        return h.view(B, s.w, s.w, s.p, s.p, s.ch).permute(0, 5, 1, 3, 2, 4).reshape(B, s.ch, s.w * s.p, s.w * s.p)

def flops_per_image(a):
    N, C = (a.input_size // a.patch) ** 2, a.hidden
    macs = a.depth * (N * 12 * C * C + 2 * N * N * C + 3 * C * C) + N * C * a.patch ** 2 * a.channels * 2
    return 6.0 * macs

def run(rank, a):
    if a.device == "cpu": torch.set_num_threads(a.threads or max(1, (os.cpu_count() or 1) // a.procs))
    torch.manual_seed(a.seed)
    if a.attn == "auto": a.attn = "sdpa" if hasattr(F, "scaled_dot_product_attention") else "manual"
    m = DiffiT(a).to(a.device); net = m
    if a.compile == "model": net = torch.compile(m)
    if a.compile == "blocks":
        Block.bias = torch.compiler.disable(Block.bias)
        for block in m.blocks: block.compile()
    if a.procs > 1:
        import torch.distributed as dist
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1"); os.environ.setdefault("MASTER_PORT", "29517")
        dist.init_process_group("gloo", rank=rank, world_size=a.procs)
        net = nn.parallel.DistributedDataParallel(m)
    kw = dict(fused=True) if a.device == "cuda" else {}
    opt = torch.optim.AdamW(m.parameters(), lr=1e-4, weight_decay=0.0, **kw)
    ema = [p.detach().clone() for p in m.parameters()] if a.ema else None
    B, S = a.batch // a.procs, a.input_size
    abar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0).float().to(a.device)
    x0 = torch.randn(B, a.channels, S, S, device=a.device); y = torch.randint(0, a.classes, (B,), device=a.device)
    sync = torch.cuda.synchronize if a.device == "cuda" else (lambda: None)
    times = []
    for i in range(a.warmup + a.steps):
        sync(); t0 = time.perf_counter()
        t = torch.randint(0, 1000, (B,), device=a.device); n = torch.randn_like(x0)
        s = abar[t].view(-1, 1, 1, 1); x = s.sqrt() * x0 + (1 - s).sqrt() * n
        with torch.autocast(a.device, dtype=torch.bfloat16, enabled=a.dtype == "bf16"):
            loss = F.mse_loss(net(x, t, y).float(), n)
        opt.zero_grad(set_to_none=True); loss.backward(); opt.step()
        if ema is not None:
            with torch.no_grad():
                if hasattr(torch, "_foreach_lerp_"): torch._foreach_lerp_(ema, [p.detach() for p in m.parameters()], 1e-4)
                else: [e.lerp_(p.detach(), 1e-4) for e, p in zip(ema, m.parameters())]
        sync(); times.append(time.perf_counter() - t0)
    if rank == 0:
        med = sorted(times[a.warmup:])[a.steps // 2]
        print(json.dumps(dict(images_per_s=round(a.batch / med, 2), step_ms=round(med * 1e3, 2), best_step_ms=round(min(times[a.warmup:]) * 1e3, 2),
              tflops=round(flops_per_image(a) * a.batch / med / 1e12, 4), params=sum(p.numel() for p in m.parameters()),
              peak_bytes=torch.cuda.max_memory_allocated() if a.device == "cuda" else None, torch=torch.__version__,
              config={k: v for k, v in vars(a).items()})))

if __name__ == "__main__":
    a = args_()
    if a.procs == 1: run(0, a)
    else:
        import torch.multiprocessing as mp
        mp.spawn(run, (a,), nprocs=a.procs)
