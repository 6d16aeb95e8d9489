#!/usr/bin/env python3
"""shardit beside PyTorch on the same cores and the same work, in turn; writes the CPU part of docs/results.md.

Each turn runs, in each dtype, both programs in two arrangements: a process per core, and one process with a thread
per core. Every number is the median over turns of a run's median step. What compares is the better arrangement of each.

--record FILE keeps the turns; a file that has some is added to, so that turns may be made when the machine is quiet.
"""
import argparse, json, os, re, shlex, statistics, subprocess, sys, tempfile

CONFIG = "configs/bench-cpu.textproto"
BEGIN, END = "<!-- written by make bench: begin -->\n", "<!-- written by make bench: end -->\n"
DTYPES = ("fp32", "bf16")


def options():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", default="build/shardit")
    p.add_argument("--python", default="/usr/bin/python3", help="one that has torch")
    p.add_argument("--turns", type=int, default=5, help="turns to make now; 0 only writes the page")
    p.add_argument("--steps", type=int, default=5, help="timed steps of a run")
    p.add_argument("--dtypes", nargs="+", choices=DTYPES, help="default: fp32, and bf16 where the CPU has AVX-512: "
                   "without it PyTorch's bf16 takes twenty times as long as its fp32")
    p.add_argument("--record", default="build/bench.jsonl")
    p.add_argument("--page", default="docs/results.md")
    return p.parse_args()


def facts_of(o):
    return json.loads(run(f"{o.program} doctor --json"))


def cores():
    """The largest power of two: ranks must divide the micro-batches of a step."""
    return 1 << (len(os.sched_getaffinity(0)).bit_length() - 1)


def fail(text):
    sys.exit(f"make bench: {text}")


def run(command, env=None):
    ran = subprocess.run(shlex.split(command), env={**os.environ, **(env or {})}, capture_output=True, text=True)
    if ran.returncode != 0:
        fail(f"{command} ended with {ran.returncode}\n{ran.stderr.strip()}")
    return ran.stdout


class Run:
    """One program in one arrangement: its command line, and how to get images/s out of it."""

    def __init__(self, who, arrangement, command, env):
        self.who, self.arrangement, self.command, self.env = who, arrangement, command, env

    def text(self):
        return " ".join(f"{k}={v}" for k, v in self.env.items()) + " " + self.command

    def images_per_s(self):
        if self.who != "shardit":
            return json.loads(run(self.command, self.env).splitlines()[-1])["images_per_s"]
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            run(f"{self.command} --json {out.name}", self.env)
            return json.load(out)["images_per_s"]


def runs(o, dtype):
    n = cores()
    ranks, threads = f"{n} processes of 1 thread", f"1 process of {n} threads"
    mpirun = f"mpirun --allow-run-as-root --oversubscribe --bind-to none -np {n} "
    ours = f"{o.program} bench step {CONFIG} --set precision.compute={dtype} --steps {o.steps}"
    # Of the config: 128 images, latents of 16 x 16 x 4, patches of 2, 256 features, 6 blocks of 4 heads, one EMA.
    peer = f"{o.python} tests/bench/peer_torch.py --ema --dtype {dtype} --steps {o.steps} --warmup 2"
    both = [
        Run("shardit", ranks, mpirun + ours, {"OMP_NUM_THREADS": "1"}),
        Run("PyTorch", ranks, f"{peer} --procs {n}", {"OMP_NUM_THREADS": "1"}),
        Run("shardit", threads, ours, {"OMP_NUM_THREADS": str(n)}),
        Run("PyTorch", threads, f"{peer} --threads {n}", {"OMP_NUM_THREADS": str(n), "OMP_WAIT_POLICY": "passive"}),
    ]
    return both if n > 1 else both[2:]


def make_turns(o):
    for turn in range(o.turns):
        for dtype in o.dtypes:
            for r in runs(o, dtype):
                line = dict(dtype=dtype, who=r.who, arrangement=r.arrangement, images_per_s=r.images_per_s())
                print(f"turn {turn + 1}, {dtype}, {r.who}, {r.arrangement}: {line['images_per_s']:.1f} images/s", flush=True)
                with open(o.record, "a") as f:
                    f.write(json.dumps(line) + "\n")


def medians(record, dtype):
    """{(who, arrangement): median}, and the number of turns."""
    rates = {}
    with open(record) as f:
        for line in map(json.loads, f):
            if line["dtype"] == dtype:
                rates.setdefault((line["who"], line["arrangement"]), []).append(line["images_per_s"])
    if not rates:
        fail(f"{record} has no turn in {dtype}")
    return {key: statistics.median(x) for key, x in rates.items()}, min(map(len, rates.values()))


def best(rates, who):
    return max((rate, arrangement) for (w, arrangement), rate in rates.items() if w == who)


def comparison(o):
    lines = ["| | arrangement | " + " | ".join(f"{d} images/s" for d in o.dtypes) + " |", "|---|---|" + "---|" * len(o.dtypes)]
    by_dtype = {dtype: medians(o.record, dtype) for dtype in o.dtypes}
    for who, arrangement in by_dtype["fp32"][0]:
        cells = [f"{by_dtype[d][0][who, arrangement]:.1f}" for d in o.dtypes]
        lines.append(f"| {who} | {arrangement} | {' | '.join(cells)} |")
    ratios = [best(rates, "shardit")[0] / best(rates, "PyTorch")[0] for rates, _ in by_dtype.values()]
    lines.append("| **shardit's best / PyTorch's best** | | " + " | ".join(f"**{r:.2f}**" for r in ratios) + " |")
    return "\n".join(lines), min(turns for _, turns in by_dtype.values())


def machine(o):
    facts = facts_of(o)
    torch = run(f"{o.python} -c 'import torch; print(torch.__version__)'").strip()
    libraries = facts["libraries"]
    features = "AVX-512" if "avx512f" in facts["cpu_features"] else "AVX2"
    native_bf16 = ", with bf16 products" if "avx512bf16" in facts["cpu_features"] else ", without bf16 products"
    return (f"{facts['cpu']}, {facts['cores']} cores, {features}{native_bf16}; oneDNN {libraries.get('oneDNN', '?')}, "
            f"{facts['compiler']}, PyTorch {torch}.")


def page(o):
    table, turns = comparison(o)
    commands = "\n".join("    " + r.text() for r in runs(o, o.dtypes[0]))
    steps = "\n".join(
        f"    $ build/shardit bench step {CONFIG} --set precision.compute={dtype}\n"
        + "".join(f"    {line}\n" if line else "\n"
                  for line in run(f"{o.program} bench step {CONFIG} --set precision.compute={dtype}",
                                  {"OMP_NUM_THREADS": str(cores())}).splitlines())
        for dtype in o.dtypes)
    return f"""{machine(o)} Written by `make bench`.

Beside PyTorch, `tests/bench/peer_torch.py`, on the same cores in turn: medians over {turns} turn{"s" * (turns > 1)}, in each the median step
of {o.steps}. 128 images a step, AdamW and one EMA on both sides. In {o.dtypes[0]}; in bf16 with `precision.compute=bf16` and
`--dtype bf16`, where the CPU has AVX-512:

{commands}

{table}

Where a step goes, {cores()} threads on one rank:

{steps}
"""


def write_page(o):
    with open(o.page) as f:
        text = f.read()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        fail(f"{o.page} has not one pair of the lines {BEGIN.strip()} and {END.strip()}")
    text = re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: BEGIN + page(o) + END, text, flags=re.S)
    with open(o.page, "w") as f:
        f.write(text)
    print(f"wrote the CPU part of {o.page}")


def check_products(o):
    """PyTorch with the reference BLAS would be ten times slower than it is."""
    maps = run(f"{o.python} -c \"import torch; torch.ones(64, 64) @ torch.ones(64, 64); print(open('/proc/self/maps').read())\"")
    if not re.search("openblas|blis|mkl", maps):
        fail(f"the torch of {o.python} has no fast matrix product; apt-get install libopenblas0-pthread")


def main():
    o = options()
    if subprocess.run([o.python, "-c", "import torch"], capture_output=True).returncode != 0:
        fail(f"{o.python} has no torch, which is what shardit is compared with; apt-get install python3-torch, or name "
             "another Python: make bench BENCH_FLAGS='--python …'")
    check_products(o)
    o.dtypes = o.dtypes or (list(DTYPES) if "avx512f" in facts_of(o)["cpu_features"] else ["fp32"])
    make_turns(o)
    write_page(o)


if __name__ == "__main__":
    main()
