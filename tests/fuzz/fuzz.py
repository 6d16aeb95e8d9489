#!/usr/bin/env python3
"""Runs the fuzzers of build-fuzz: every parser of files on hostile bytes, under the sanitizers.

  fuzz.py --runs 2000            each target so many times from the committed inputs, the same ones every time
  fuzz.py --seconds 60           each target so long, from what was found before as well (build-fuzz/found)
  fuzz.py --seconds 60 npz tar   these targets only

Exits 1 if an input makes a parser crash, hang, take more memory than a small file may, or throw what its header does not
say; that input is left in build-fuzz/crashes, and the line that runs it again is printed.
"""
import argparse, concurrent.futures, os, re, shutil, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SEEDS = {"config": ["configs"], "image": ["tests/data/pictures"]}  # beside corpus/TARGET
LONGEST_INPUT = {"tar": 32768, "image_files": 32768, "golden": 32768, "metrics": 65536}  # bytes
USUALLY = 8192
STACK = ["prlimit", "--stack=1048576"]  # small, so that recursion as deep as the input is nested shows
LIMITS = ["-timeout=10", "-rss_limit_mb=1024", "-malloc_limit_mb=64", "-detect_leaks=1"]


class Target:
    def __init__(self, name, args):
        self.name, self.args = name, args
        self.program = os.path.join(args.build, name + "_fuzz")
        self.crashes = os.path.join(args.build, "crashes", name + "-")
        self.found = os.path.join(args.build, "found", name)

    def command(self, folder):
        """`folder` takes what reaches new code."""
        seeds = [os.path.join(HERE, "corpus", self.name)] + [os.path.join(ROOT, s) for s in SEEDS.get(self.name, [])]
        how_long = [f"-runs={self.args.runs}", "-seed=1"] if self.args.runs else [f"-max_total_time={self.args.seconds}"]
        return [*STACK, self.program, folder, *filter(os.path.isdir, seeds), *how_long, *LIMITS, "-print_final_stats=1",
                f"-max_len={LONGEST_INPUT.get(self.name, USUALLY)}", f"-artifact_prefix={self.crashes}"]

    def run(self):
        scratch = tempfile.mkdtemp(prefix="shardit-fuzz-") if self.args.runs else self.found
        os.makedirs(scratch, exist_ok=True)
        begin = time.time()
        ran = subprocess.run(self.command(scratch), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, errors="replace")
        seconds = time.time() - begin
        if self.args.runs:
            shutil.rmtree(scratch)
        return self.failure(ran.stderr) if ran.returncode != 0 else self.success(ran.stderr, seconds)

    def success(self, log, seconds):
        runs = int(re.search(r"number_of_executed_units:\s*(\d+)", log).group(1))
        peak = int(re.search(r"peak_rss_mb:\s*(\d+)", log).group(1))
        edges, inputs = re.findall(r"cov: (\d+) ft: \d+ corp: (\d+)", log)[-1]
        return runs, f"{runs:>10} runs in {seconds:5.0f} s, {edges:>5} edges, {inputs:>4} inputs, {peak:>4} MiB"

    def failure(self, log):
        said = re.search(r"^(SUMMARY:.*|.*runtime error:.*|.*Check failed.*)$", log, re.MULTILINE)
        kept = re.search(r"Test unit written to (\S+)", log)
        again = " ".join([*STACK, self.program, *LIMITS, kept.group(1)]) if kept else " ".join(self.command(self.found))
        return None, f"FAILED: {said.group(1) if said else log[-2000:]}\n  again: {again}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--build", default=os.path.join(ROOT, "build-fuzz"))
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--runs", type=int)
    length.add_argument("--seconds", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="targets that run at once")
    args = parser.parse_args()
    names = sorted(f[:-len("_fuzz")] for f in os.listdir(args.build) if f.endswith("_fuzz"))
    unknown = [t for t in args.targets if t not in names]
    if unknown or not names:
        parser.error(f"there is no target {unknown[0] if unknown else 'at all'}: expected some of {', '.join(names)}")
    os.makedirs(os.path.join(args.build, "crashes"), exist_ok=True)
    total, good = 0, True
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        runs = {name: pool.submit(Target(name, args).run) for name in args.targets or names}
        for name, future in runs.items():
            count, line = future.result()
            print(f"{name:12} {line}", flush=True)
            good, total = good and count is not None, total + (count or 0)
    print(f"{total} runs in all" + ("" if good else "; some FAILED"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
