#!/usr/bin/env python3
"""Draws a trace of `shardit train --trace-steps` as an SVG: docs/images/overlap.svg was made by it.

    trace_picture.py steps-3-3.json overlap.svg

Per rank the graphs that run, what the compute stream does and where it stands waiting, and what is on the wire.
"""
import json, sys
from html import escape

WIDTH, LEFT, TOP, LANE, GAP = 1120, 110, 56, 22, 16
COLOURS = {"computing": "#4c78a8", "waiting for the wire": "#e45756", "gradients to their owners": "#f2a541",
           "gathering": "#54a24b", "folding": "#b279a2"}
WIRE = {"all_to_all": "gradients to their owners", "reduce_scatter": "gradients to their owners", "all_gather": "gathering",
        "fold": "folding"}


def kind_of(lane, event):
    if lane == "compute":
        return "waiting for the wire" if event["cat"] == "exposed" else "computing"
    return WIRE.get(event["cat"], "computing")


def joined(spans, nearer_than):
    """Neighbours of one kind as one, so that the picture stays small."""
    result = []
    for kind, begin, end in sorted(spans, key=lambda s: s[1]):
        if result and result[-1][0] == kind and begin - result[-1][2] < nearer_than:
            result[-1][2] = max(result[-1][2], end)
        else:
            result.append([kind, begin, end])
    return result


def main():
    source, target = sys.argv[1:]
    events = json.load(open(source))["traceEvents"]
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    spans = [e for e in events if e["ph"] == "X"]
    begin, end = min(e["ts"] for e in spans), max(e["ts"] + e["dur"] for e in spans)
    x = lambda ts: LEFT + (ts - begin) / (end - begin) * (WIDTH - LEFT - 40)
    out, y = [], TOP
    text = lambda at, top, words, more="": out.append(
        f'<text x="{at:.1f}" y="{top}" font-size="11"{more}>{escape(words)}</text>')
    for rank in sorted({e["pid"] for e in spans}):
        for lane in ("graphs", "compute", "wire"):
            own = [e for e in spans if e["pid"] == rank and names[(rank, e["tid"])] == lane]
            text(8, y + 15, f"rank {rank}" if lane == "graphs" else "", ' font-weight="bold"')
            text(56, y + 15, lane)
            if lane == "graphs":
                for e in own:
                    width = x(e["ts"] + e["dur"]) - x(e["ts"])
                    out.append(f'<rect x="{x(e["ts"]):.1f}" y="{y}" width="{width:.1f}" height="{LANE - 4}" '
                               f'fill="#eee" stroke="#999" stroke-width="0.5"/>')
                    if width > 6 * len(e["name"]):
                        text(x(e["ts"]) + 4, y + 13, e["name"])
            else:
                for kind, a, b in joined([(kind_of(lane, e), e["ts"], e["ts"] + e["dur"]) for e in own],
                                         (end - begin) / 2000):
                    out.append(f'<rect x="{x(a):.1f}" y="{y}" width="{max(x(b) - x(a), 0.3):.1f}" height="{LANE - 4}" '
                               f'fill="{COLOURS[kind]}"/>')
            y += LANE
        y += GAP
    for i in range(0, 11):
        ts = begin + (end - begin) * i / 10
        text(x(ts), y + 6, f"{(ts - begin) / 1e3:.0f} ms", ' text-anchor="middle" fill="#555"')
    at = LEFT
    for kind, colour in COLOURS.items():
        out.append(f'<rect x="{at}" y="18" width="14" height="14" fill="{colour}"/>')
        text(at + 20, 29, kind)
        at += 40 + 7 * len(kind)
    height = y + 20
    with open(target, "w") as f:
        f.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">\n'
                f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n' + "\n".join(out) + "\n</svg>\n")


if __name__ == "__main__":
    main()
