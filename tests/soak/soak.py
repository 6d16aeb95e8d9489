#!/usr/bin/env python3
"""The long matrices behind `make soak`: whatever the ranks, stages, threads, delays, kills and signals, one digest.

Parts, each a function of the same name; all run unless some are named:
  matrix   ranks 1-4 x ZeRO stages 0-3 x threads 1, 2, in fp32 and in bf16
  restarts a rank is killed in the middle, and the run goes on with another number of ranks at another stage
  delays   drawn delays before and after every collective, ranks as threads
  kills    SIGKILL to a random rank at a random time, again and again
  terms    SIGTERM, to a random rank, to mpirun or to shardit launch, again and again
  fuzz     every parser of files on hostile bytes (tests/fuzz/fuzz.py)
Everything random follows --seed. Exits 1 if a digest differs or a run does not go on, and says which command it was.
"""
import argparse, json, os, random, re, shutil, signal, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIG = os.path.join(ROOT, "configs", "equality-tiny.textproto")
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
BF16 = ["precision.compute=bf16", "precision.reduce=bf16", "precision.residual=bf16"]
PATIENCE_S = 300  # a run that takes longer hangs


class Failure(Exception):
    pass


class Progress:
    """A line that counts, with the time to go; on a terminal it is one line, else one per tenth."""

    def __init__(self, name, total):
        self.name, self.total, self.done, self.begin = name, total, 0, time.time()

    def step(self, what):
        self.done += 1
        spent = time.time() - self.begin
        eta = spent / self.done * (self.total - self.done)
        line = f"{self.name:9} {self.done:4}/{self.total} | {spent:5.0f} s, eta {eta:5.0f} s | {what}"
        if sys.stdout.isatty():
            print("\r\033[K" + line, end="" if self.done < self.total else "\n", flush=True)
        elif self.done * 10 // self.total != (self.done - 1) * 10 // self.total:
            print(line, flush=True)


class Soak:
    def __init__(self, args):
        self.args = args
        self.random = random.Random(args.seed)
        self.shardit = os.path.join(args.build, "shardit")
        self.folder = tempfile.mkdtemp(prefix="shardit-soak-")
        self.references = {}

    # ---- runs ------------------------------------------------------------------------------------------------------

    def command(self, run_dir, ranks, stage, flags=(), sets=()):
        words = [] if ranks == 0 else MPIRUN + ["-np", str(ranks)]
        words += [self.shardit, "train", CONFIG, "--run-dir", run_dir, *flags]
        for s in [f"parallel.zero_stage={stage}", *sets]:
            words += ["--set", s]
        return words

    def start(self, words, threads=1):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                start_new_session=True)

    def wait(self, process, words):
        try:
            output, _ = process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Failure(f"hangs: {' '.join(words)}")
        return process.returncode, output

    def finish(self, words, threads=1):
        code, output = self.wait(self.start(words, threads), words)
        if code != 0:
            raise Failure(f"exit {code}: {' '.join(words)}\n{output}")
        return output

    def digest(self, run_dir):
        text = subprocess.run([self.shardit, "checkpoint", "inspect", run_dir, "--digest"], check=True,
                              capture_output=True, text=True).stdout
        return re.search(r"digest ([0-9a-f]+)", text).group(1)

    def step_of(self, run_dir):
        text = subprocess.run([self.shardit, "checkpoint", "inspect", run_dir, "--json"], check=True,
                              capture_output=True, text=True).stdout
        return json.loads(text)["step"]

    def fresh(self, name):
        path = os.path.join(self.folder, name)
        shutil.rmtree(path, ignore_errors=True)
        return path

    def reference(self, steps, sets=()):
        """The digest of an undisturbed run of one process."""
        key = (steps, tuple(sets))
        if key not in self.references:
            run = self.fresh("reference")
            self.finish(self.command(run, 0, 0, ["--steps", str(steps)], sets))
            self.references[key] = self.digest(run)
        return self.references[key]

    def expect(self, run_dir, expected, words):
        given = self.digest(run_dir)
        if given != expected:
            raise Failure(f"digest {given}, expected {expected}: {' '.join(words)}")

    # ---- disturbing ------------------------------------------------------------------------------------------------

    def ranks_of(self, process):
        """The processes that mpirun started, in no order."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as f:
                    parent = int(f.read().rsplit(")", 1)[1].split()[1])
                if parent == process.pid:
                    found.append(int(pid))
            except (FileNotFoundError, ProcessLookupError):
                pass  # it ended meanwhile
        return found

    def disturb(self, run_dir, number, whom="rank"):
        """Starts a job and sends a signal to a rank, to mpirun or to launch after a random time. Returns its exit code."""
        ranks, stage = self.random.choice([2, 3, 4]), self.random.choice([0, 1, 2, 3])
        words = self.command(run_dir, ranks, stage, [], ["steps=1000000", "checkpoint.every_steps=7"])
        if whom == "launch":
            words = [self.shardit, "launch", "--", *words]
        process = self.start(words)
        time.sleep(self.random.uniform(0.1, 3))
        targets = self.ranks_of(process) if whom == "rank" else [process.pid]
        while not targets and process.poll() is None:  # mpirun is slow to start them on a busy machine
            time.sleep(0.05)
            targets = self.ranks_of(process)
        if targets:
            os.kill(self.random.choice(targets), number)
        return self.wait(process, words)[0]

    def end_undisturbed(self, run_dir):
        """Some steps more than there are; the digest must be that of a run that nobody disturbed."""
        steps = (self.step_of(run_dir) if os.path.isdir(os.path.join(run_dir, "checkpoints")) else 0) + 5
        words = self.command(run_dir, 2, 2, ["--steps", str(steps)], ["steps=1000000", "checkpoint.every_steps=7"])
        self.finish(words)
        self.expect(run_dir, self.reference(steps, ["steps=1000000"]), words)
        return steps

    # ---- parts -----------------------------------------------------------------------------------------------------

    def matrix(self):
        cases = [(sets, n, stage, threads) for sets in ([], BF16) for n in (1, 2, 3, 4) for stage in (0, 1, 2, 3)
                 for threads in (1, 2)]
        progress = Progress("matrix", len(cases))
        for sets, ranks, stage, threads in cases:
            run = self.fresh("matrix")
            words = self.command(run, ranks, stage, sets=sets)
            self.finish(words, threads)
            self.expect(run, self.reference(40, sets), words)
            progress.step(f"{ranks} ranks, stage {stage}, {threads} threads{', bf16' if sets else ''}")
        return f"{len(cases)} runs of 40 steps, digests {self.reference(40)} and {self.reference(40, BF16)} (bf16)"

    def restarts(self):
        cases = [(a, s, b, t) for a in (2, 3, 4) for s in (0, 1, 2, 3) for b, t in [self.random.choice(
            [(b, t) for b in (1, 2, 3, 4) for t in (0, 1, 2, 3) if (b, t) != (a, s)])]]
        progress, in_the_middle, steps, longer = Progress("restarts", len(cases)), 0, 400, ["steps=400"]
        for ranks, stage, other_ranks, other_stage in cases:
            run = self.fresh("restarts")
            words = self.command(run, ranks, stage, sets=longer)
            process = self.start(words)
            until = time.time() + PATIENCE_S
            while time.time() < until and process.poll() is None and not os.path.exists(
                    os.path.join(run, "checkpoints", "step-00000010")):
                time.sleep(0.01)
            time.sleep(self.random.uniform(0, 0.3))
            for pid in self.ranks_of(process)[:1]:
                os.kill(pid, signal.SIGKILL)
            self.wait(process, words)
            in_the_middle += self.step_of(run) < steps
            words = self.command(run, other_ranks, other_stage, sets=longer)
            self.finish(words)
            self.expect(run, self.reference(steps, longer), words)
            progress.step(f"{ranks} ranks at stage {stage}, then {other_ranks} at stage {other_stage}")
        return f"{len(cases)} runs, {in_the_middle} of them killed before their end"

    def delays(self):
        test = os.path.join(self.args.build, "step_tests")
        env = dict(os.environ, SHARDIT_DELAY_SCHEDULES=str(self.args.schedules))
        words = [test, "--gtest_filter=Ranks.DelaysAreWithoutEffect"]
        ran = subprocess.run(words, env=env, capture_output=True, text=True)
        if ran.returncode != 0 or "[  PASSED  ] 1 test." not in ran.stdout:
            raise Failure(f"{' '.join(words)}\n{ran.stdout}{ran.stderr}")
        return f"{self.args.schedules} schedules"

    def kills(self):
        run, lost = self.fresh("kills"), 0
        progress = Progress("kills", self.args.kills)
        for _ in range(self.args.kills):
            code = self.disturb(run, signal.SIGKILL)
            lost += code != 0
            progress.step(f"mpirun ended with {code}")
        steps = self.end_undisturbed(run)
        return f"{self.args.kills} SIGKILLs, {lost} jobs lost, {steps} steps, digest of the undisturbed run"

    def terms(self):
        run, clean = self.fresh("terms"), {"rank": 0, "mpirun": 0, "launch": 0}
        progress = Progress("terms", self.args.terms)
        for i in range(self.args.terms):
            whom = list(clean)[i % 3]
            code = self.disturb(run, signal.SIGTERM, whom)
            clean[whom] += code == 0
            progress.step(f"to {whom}: ended with {code}")
        steps = self.end_undisturbed(run)
        ended = ", ".join(f"{n} to {whom}" for whom, n in clean.items())
        return f"{self.args.terms} SIGTERMs, of which ended with 0: {ended}; {steps} steps, digest of the undisturbed run"

    def fuzz(self):
        words = [sys.executable, os.path.join(ROOT, "tests", "fuzz", "fuzz.py"), "--seconds", str(self.args.fuzz_seconds)]
        ran = subprocess.run(words, stdout=subprocess.PIPE, text=True)
        if ran.returncode != 0:
            raise Failure(f"{' '.join(words)}\n{ran.stdout}")
        return ran.stdout.splitlines()[-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    all_parts = ["matrix", "restarts", "delays", "kills", "terms", "fuzz"]
    parser.add_argument("parts", nargs="*", help="some of: " + ", ".join(all_parts))
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--terms", type=int, default=50)
    parser.add_argument("--fuzz-seconds", type=int, default=550, help="for each parser; an hour in all on two cores")
    args = parser.parse_args()
    unknown = [p for p in args.parts if p not in all_parts]
    if unknown:
        parser.error(f"there is no part {unknown[0]}: expected some of {', '.join(all_parts)}")
    soak = Soak(args)
    try:
        for part in args.parts or all_parts:
            begin = time.time()
            said = getattr(soak, part)()
            print(f"{part:9} ok in {time.time() - begin:.0f} s: {said}", flush=True)
    except Failure as failure:
        print(f"FAILED: {failure}\nthe run directories are in {soak.folder}")
        return 1
    shutil.rmtree(soak.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
