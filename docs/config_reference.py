#!/usr/bin/env python3
"""Writes docs/config.md from the comments of launcher/run_config.proto.

    python3 docs/config_reference.py           write the page
    python3 docs/config_reference.py --check   exit 1 if the page is not what the comments give

The comment above a key has the form "meaning, unit. Default X. When to change it." It is an error if a key has no
comment, or if the comment states another default than the field has.
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent / "launcher" / "run_config.proto"
PAGE = HERE / "config.md"

HEAD = """\
<!-- Made by docs/config_reference.py from launcher/run_config.proto. Edit the comments there, then run the script. -->
# config: every key of a run

A config is protobuf text, one file per run (`configs/*.textproto`). Words such as `bf16` stand bare, strings in quotes.
Any key can be set from the command line: `--set optimizer.lr=1e-4`, `--set ema[0].decay=0.999`. Unknown keys are
errors, and so are keys that mean nothing beside the others (`diffusion.rho` with the ddpm process).
The resolved config, with every default filled in, is stored as `config.textproto` in the run directory and in each
checkpoint. Rules between keys, what a resume may change, and what this build refuses: [launcher.md](launcher.md#config).
"""


class Key:
    def __init__(self, name, kind, repeated, default, comment):
        self.name, self.kind, self.repeated, self.default, self.comment = name, kind, repeated, default, comment


class Message:
    def __init__(self, name, comment):
        self.name, self.comment, self.keys, self.enums = name, comment, [], {}


def parse(text):
    """The messages of the file by name; comments are joined to one line."""
    messages, stack, enum, comment = {}, [], None, []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line.startswith("//"):
            comment.append(line[2:].strip())
            continue
        field = re.fullmatch(r"(optional|repeated) (\w+) (\w+) = \d+(?: \[default = (.+)\])?;", line)
        value = re.fullmatch(r"(\w+) = \d+;", line)
        opened = re.fullmatch(r"(message|enum) (\w+) \{", line)
        if opened and opened[1] == "message":
            messages[opened[2]] = Message(opened[2], " ".join(comment))
            stack.append(messages[opened[2]])
        elif opened:
            enum = stack[-1].enums.setdefault(opened[2], [])
        elif enum is not None and value:
            enum.append(value[1])
        elif field:
            stack[-1].keys.append(Key(field[3], field[2], field[1] == "repeated", field[4], " ".join(comment)))
        elif line == "}":
            if enum is not None:
                enum = None
            else:
                stack.pop()
        elif line and not re.match(r"(syntax|package) ", line):
            raise SystemExit(f"{PROTO.name}:{number}: not understood: {line}")
        comment = []
    return messages


def split_default(path, key):
    """The comment as (meaning and when to change it, default)."""
    stated = re.search(r"(?:^| )(No default|Default:? ?(.+?))\.(?= |$)", key.comment)
    if not stated and key.default is None:
        return key.comment, "none"
    if not stated:
        raise SystemExit(f"{PROTO.name}: {path}: the comment names no default: {key.comment!r}")
    around = (key.comment[: stated.start()] + " " + key.comment[stated.end():].strip()).strip()
    if stated[1] == "No default":
        if key.default is not None:
            raise SystemExit(f"{PROTO.name}: {path}: the comment says there is no default, the field has {key.default}")
        return around, "none"
    if key.default is not None and not same(stated[2], key.default):
        raise SystemExit(f"{PROTO.name}: {path}: the comment says default {stated[2]!r}, the field {key.default}")
    return around, stated[2]


def same(stated, default):
    word = re.split(r"[;:,]? ", stated + " ")[0].rstrip(";:,")
    try:
        return float(word) == float(default)
    except ValueError:
        return word == default


def values_of(message, top, key):
    for scope in (message, top):
        if key.kind in scope.enums:
            return ", ".join(f"`{v}`" for v in scope.enums[key.kind])
    words = {"int64": "integer", "uint64": "integer, 0 or more", "double": "number", "bool": "true, false"}
    return words.get(key.kind, key.kind)


def table(message, top, messages, prefix):
    rows = ["| key | values | default | meaning, unit, when to change it |", "|---|---|---|---|"]
    for key in message.keys:
        if key.kind in messages:
            continue
        path = prefix + key.name
        if not key.comment:
            raise SystemExit(f"{PROTO.name}: {path} has no comment")
        meaning, default = split_default(path, key)
        cells = [f"`{path}`", values_of(message, top, key), default, meaning]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def page():
    messages = parse(PROTO.read_text())
    top = messages["RunConfig"]
    lines = [HEAD, "## The run", ""] + table(top, top, messages, "")
    for key in top.keys:
        if key.kind not in messages:
            continue
        about = " ".join(part for part in (messages[key.kind].comment, key.comment) if part)
        lines += ["", f"## {key.name}{' (repeated)' if key.repeated else ''}", "", about, ""]
        lines += table(messages[key.kind], top, messages, key.name + ("[i]." if key.repeated else "."))
    return "\n".join(lines) + "\n"


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        raise SystemExit(__doc__)
    text = page()
    if not sys.argv[1:]:
        PAGE.write_text(text)
        print(f"wrote {PAGE.name}, {text.count(chr(10))} lines")
    elif not PAGE.exists() or PAGE.read_text() != text:
        raise SystemExit("docs/config.md is not what launcher/run_config.proto says: run python3 docs/config_reference.py")


main()
