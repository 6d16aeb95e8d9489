"""Whether each wgmma that takes A from registers finds in them what was put there for it, and whether the products of a
sum follow one another without a wait, by the machine code.

ptxas 13.0 may give fragments that live through a loop the registers of others (docs/attention.md); results are then
wrong on the card and right in the scalar twin. It may also wait for every single product (its notes C7512 and C7515),
which a build passes over. Neither needs a card:

  python3 tests/gpu/wgmma_operands.py OBJECT...     object files or cubins for sm_90a

cuobjdump and nvdisasm come from PATH or from the folder CUDA_BIN (CUDA's toolkit has them; so do the Python packages
nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm). Without them it says so and exits with 77.

A comes from a rounding (p, dl). The code is walked in its order, the loop over tiles twice. Exits with 1 if an A is
something else's, if products wait for one another, or if no product takes A from registers.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,5})\*/\s+(?:@!?U?P\w+\s+)?(\S+)\s*(.*?)\s*;")
PRODUCT = re.compile(r"R\d+, R(\d+), gdesc")
WRITES_NO_REGISTER = {"BAR", "BRA", "HGMMA", "LDGDEPBAR", "LDGSTS", "RED", "ST", "STG", "STL", "STS", "SYNCS"}


def written(name, operands):
    """Registers that an instruction writes."""
    first = re.match(r"(?:U?P\w+,\s*)?R(\d+)\b", operands)
    if not first or name.split(".")[0] in WRITES_NO_REGISTER:
        return []
    count = 1
    if name.endswith(".M88.4") or ".128" in name:
        count = 4
    elif name.endswith(".M88.2") or ".64" in name or "WIDE" in name or name == "CS2R":
        count = 2
    return range(int(first[1]), int(first[1]) + count)


def kernels(lines):
    """(name, instructions, loops as pairs of indices) of each kernel."""
    name, code, labels = None, [], {}

    def finished():
        loops = [(labels[m[1]], i) for i, (_, op, rest, conditional) in enumerate(code)
                 if conditional and op == "BRA" and (m := re.search(r"`\((\S+)\)", rest)) and m[1] in labels]
        return name, code, [(begin, end) for begin, end in loops if begin <= end]

    for line in lines:
        if line.startswith(".text."):
            if code:
                yield finished()
            name, code, labels = line[6:].rstrip(":\n"), [], {}
        elif label := re.match(r"(\.L_x_\d+):", line):
            labels[label[1]] = len(code)
        elif (m := INSTRUCTION.search(line)) and name:
            code.append((m[1], m[2], m[3], "@" in line))
    if code:
        yield finished()


def wrong_products(code, loops):
    """(address, register, its writer) of each operand that something else has written."""
    products = [i for i, (_, op, rest, _) in enumerate(code) if op.startswith("HGMMA") and PRODUCT.search(rest)]
    if not products:
        return 0, []
    over_tiles = max(loops, key=lambda loop: sum(loop[0] <= i <= loop[1] for i in products))
    order = list(range(over_tiles[1] + 1)) + list(range(over_tiles[0], len(code)))
    writer, wrong = {}, []
    for i in order:
        address, op, rest, _ = code[i]
        if i in products:
            first = int(PRODUCT.search(rest)[1])
            wrong += [(address, r, writer.get(r)) for r in range(first, first + 4)
                      if (writer.get(r) or "nothing").split(".")[0] != "F2FP"]
        for r in written(op, rest):
            writer[r] = op
    return len(products), wrong


def waits_between_products(code):
    """Addresses of waits between two products that follow one another in one sum."""
    waits, last, waiting = [], None, None
    for address, op, rest, _ in code:
        if op.startswith("WARPGROUP.DEPBAR"):
            waiting = address
        elif op.startswith("HGMMA"):
            sums = rest.split(",")[0]
            if waiting and sums == last:
                waits.append(waiting)
            last, waiting = sums, None
    return waits


def disassembled(path):
    """Lines of an object file's or a cubin's code."""
    bins = os.pathsep.join([os.environ.get("CUDA_BIN", ""), os.environ["PATH"]])
    cuobjdump, nvdisasm = (shutil.which(tool, path=bins) for tool in ("cuobjdump", "nvdisasm"))
    if not cuobjdump or not nvdisasm:
        print("cuobjdump and nvdisasm are not there: set CUDA_BIN to their folder")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        cubins = [path]
        if path.suffix != ".cubin":
            subprocess.run([cuobjdump, "-xelf", "all", path.resolve()], cwd=folder, check=True, stdout=subprocess.DEVNULL)
            cubins = sorted(pathlib.Path(folder).glob("*.cubin"))
        return [line + "\n" for cubin in cubins
                for line in subprocess.run([nvdisasm, "-c", cubin], check=True, capture_output=True,
                                           text=True).stdout.splitlines()]


def main():
    total, failed = 0, False
    for path in map(pathlib.Path, sys.argv[1:]):
        for name, code, loops in kernels(disassembled(path)):
            count, wrong = wrong_products(code, loops)
            waits = waits_between_products(code)
            total += count
            if count:
                print(f"{count} products, {len(wrong)} operands wrong, {len(waits)} waits between products: {name}")
            for address, register, by in wrong:
                print(f"  {address}: R{register} is written by {by}")
            for address in waits:
                print(f"  {address}: waits for a product before the next of its sum")
            failed |= bool(wrong or waits)
    return failed or not total


if __name__ == "__main__":
    sys.exit(main())
