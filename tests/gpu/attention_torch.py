#!/usr/bin/env python3
"""What PyTorch makes of the same attention on the same GPU: the peer of attention_bench.

  attention_torch.py [--json FILE] [--seconds 100]

One op, as in the model: qkv (B, N, 3C) + qkv_time (B, 3C), the relative position bias from its table ((2w-1)^2, H),
out (B, N, C); gradients of all three inputs. Three ways: the bias materialised as a mask for
scaled_dot_product_attention, eagerly and compiled, and flex_attention with a score_mod that reads the table. Beside
them flash attention on ready q, k, v without bias or time: less work, an upper bound. TFLOP/s count 4 N N D H B
forward and 10 N N D H B backward, as attention_bench does.
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

SHAPES = [(32, 16, 256, 72), (8, 16, 1024, 72), (32, 16, 256, 64), (8, 16, 1024, 64)]
BEGIN = time.monotonic()


def split(qkv, qkv_time, heads):
    b, n, c3 = qkv.shape
    x = (qkv + qkv_time[:, None]).view(b, n, 3, heads, c3 // 3 // heads)
    return x.permute(2, 0, 3, 1, 4).unbind(0)


def merge(out):
    b, h, n, d = out.shape
    return out.transpose(1, 2).reshape(b, n, h * d)


def relative_index(w, device):
    row, column = torch.meshgrid(torch.arange(w, device=device), torch.arange(w, device=device), indexing="ij")
    row, column = row.flatten(), column.flatten()
    return (row[:, None] - row[None] + w - 1) * (2 * w - 1) + column[:, None] - column[None] + w - 1


def with_mask(qkv, qkv_time, table, index, heads):
    q, k, v = split(qkv, qkv_time, heads)
    mask = table[index].permute(2, 0, 1)[None].contiguous()
    return merge(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))


def with_flex(qkv, qkv_time, table, w, heads):
    q, k, v = split(qkv, qkv_time, heads)

    def add_bias(score, b, h, i, j):
        return score + table[(i // w - j // w + w - 1) * (2 * w - 1) + i % w - j % w + w - 1, h]

    return merge(flex_attention(q, k, v, score_mod=add_bias))


def reference(qkv, qkv_time, table, index, heads):
    """In fp64, of the first image."""
    q, k, v = split(qkv[:1].double(), qkv_time[:1].double(), heads)
    logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + table.double()[index].permute(2, 0, 1)[None]
    return merge(logits.softmax(-1) @ v)


def median_us(run, samples=20, runs=8):
    """Of runs captured into one graph, so that launching them costs nothing; all on the current stream."""
    for _ in range(3):
        run()
    stream = torch.cuda.current_stream()
    stream.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for _ in range(runs):
            run()
    times = []
    for _ in range(samples):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record(stream)
        graph.replay()
        end.record(stream)
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1000 / runs)
    return sorted(times)[samples // 2]


def measure(attention, inputs, dout, expected):
    """Times of forward and backward, which inputs get a gradient, and the error of the first image."""
    with torch.cuda.stream(torch.cuda.Stream()):  # gradients run on the stream of their forward pass
        with torch.no_grad():
            got = attention(*inputs)
            forward = median_us(lambda: attention(*inputs))
        result = {"forward_us": forward}
        if expected is not None:
            result["error"] = ((got[:1].double() - expected).norm() / expected.norm()).item()
        out = attention(*inputs)
        gradient = lambda: torch.autograd.grad(out, inputs, dout, retain_graph=True, allow_unused=True)
        result["gradients"] = [g is not None for g in gradient()]
        result["backward_us"] = median_us(gradient)
    return result


def ways(b, h, n, d):
    """Name -> (function, inputs, dout, whether it is the whole op)."""
    w, c = int(n**0.5), h * d
    make = lambda *shape, std=1.0: (torch.randn(*shape, device="cuda") * std).bfloat16().requires_grad_()
    whole = [make(b, n, 3 * c), make(b, 3 * c, std=0.7), make((2 * w - 1) ** 2, h)]
    index = relative_index(w, "cuda")
    dout = torch.randn(b, n, c, device="cuda").bfloat16()
    mask = lambda *x: with_mask(*x, index, h)
    compile_ = lambda f: torch.compile(f, dynamic=False)
    ready = [make(b, h, n, d) for _ in range(3)]

    def flash(q, k, v):
        with sdpa_kernel([SDPBackend.FLASH_ATTENTION]):
            return F.scaled_dot_product_attention(q, k, v)

    expected = reference(*[x.detach() for x in whole], index, h)
    return {
        "mask": (mask, whole, dout, expected),
        "mask, compiled": (compile_(mask), whole, dout, expected),
        "flex, compiled": (compile_(lambda *x: with_flex(*x, w, h)), whole, dout, expected),
        "flash, no bias": (flash, ready, torch.randn_like(ready[0]), None),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json")
    parser.add_argument("--seconds", type=float, default=100, help="begin nothing new after so many")
    args = parser.parse_args()
    print(torch.cuda.get_device_name(), "torch", torch.__version__)
    torch._dynamo.config.cache_size_limit = 64
    cases = []
    for b, h, n, d in SHAPES:
        flops = 1e-6 * n * n * d * h * b
        for name, (attention, inputs, dout, expected) in ways(b, h, n, d).items():
            torch.cuda.synchronize()  # inputs are made on another stream
            case = {"shape": f"B{b} H{h} N{n} D{d}", "way": name}
            cases.append(case)
            if time.monotonic() - BEGIN > args.seconds:
                case["skipped"] = "no time left"
                continue
            try:
                case |= measure(attention, inputs, dout, expected)
            except Exception as e:  # a way that this version does not support is a result too
                case["failed"] = f"{type(e).__name__}: {str(e)[:300]}"
                print(f"{case['shape']:22} {name:16} failed: {case['failed']}", flush=True)
                continue
            error = f"error {case['error']:.1e}" if "error" in case else ""
            print(
                f"{case['shape']:22} {name:16} forward {case['forward_us']:8.1f} us {4 * flops / case['forward_us']:4.0f} TFLOP/s"
                f"  backward {case['backward_us']:8.1f} us {10 * flops / case['backward_us']:4.0f} TFLOP/s"
                f"  gradients {case['gradients']} {error}",
                flush=True,
            )
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__, "cases": cases}, file, indent=1)


if __name__ == "__main__":
    main()
