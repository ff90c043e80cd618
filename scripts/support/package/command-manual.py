#!/usr/bin/env python3
"""Manual pages of a program and each of its commands, from what the program says of itself:

    custodyctl --experimental-dump-help | command-manual.py SECTION VERSION FOLDER [SEE-ALSO...]
"""
import itertools
import json
import os
import sys

from troff import escaped, heading, page, prose, verbatim

section, version, folder, *related = sys.argv[1:]
related = [tuple(name.split("(")) for name in related]


def dashed(name):
    return ("-" if name["kind"] == "short" else "--") + name["name"]


def shown(items):
    return [item for item in items or [] if item.get("shouldDisplay", True) and item.get("commandName") != "help"]


def usage(argument):
    """How an argument stands in the synopsis."""
    value = "\\fI" + escaped(argument["valueName"]) + "\\fR"
    if argument["kind"] == "positional":
        text = value
    else:
        text = "\\fB" + escaped(dashed(argument["preferredName"])) + "\\fR"
        if argument["kind"] == "option":
            text += " " + value
    if argument.get("isOptional"):
        text = "[" + text + "]"
    return text + ("..." if argument.get("isRepeating") else "")


def described(argument):
    """Its entry in the list of options."""
    names = ", ".join("\\fB" + escaped(dashed(name)) + "\\fR" for name in argument.get("names", []))
    value = "" if argument["kind"] == "flag" else "\\fI" + escaped(argument["valueName"]) + "\\fR"
    text = argument.get("abstract", "")
    if argument.get("defaultValue"):
        text += f" (default: {argument['defaultValue']})"
    return [".TP", " ".join(filter(None, [names, value])), prose(text)] + discussion(argument.get("discussion", ""))


def discussion(text):
    """Paragraphs; indented lines stand as they are."""
    lines = []
    for paragraph in filter(None, text.split("\n\n")):
        for is_block, group in itertools.groupby(paragraph.split("\n"), key=lambda line: line.startswith("  ")):
            lines += verbatim([line[2:] for line in group]) if is_block else [".PP", prose(" ".join(group))]
    return lines


def split(text):
    """The description, and what has a place of its own: examples and exit codes, up to the ends of their paragraphs."""
    description, examples, exits = [], [], []
    for paragraph in (text or "").split("\n\n"):
        kept = into = []
        for line in paragraph.split("\n"):
            if line.startswith("Example: "):
                into = examples
            elif line.startswith("Exit code"):
                into = exits
            into.append(line.removeprefix("Example: ").removeprefix("Exit codes: "))
        if kept:
            description.append("\n".join(kept))
    return "\n\n".join(description), examples, exits


def write(command, above):
    path = above + [command["commandName"]]
    name = "-".join(path)
    description, examples, exits = split(command.get("discussion"))
    arguments = shown(command.get("arguments"))
    commands = shown(command.get("subcommands"))

    body = heading("Name") + [escaped(name) + " \\- " + escaped(command.get("abstract", "").rstrip("."))]
    body += heading("Synopsis") + [".HP", "\\fB" + escaped(" ".join(path)) + "\\fR " + (
        "\\fIcommand\\fR" if commands else " ".join(usage(argument) for argument in arguments))]
    if description:
        body += heading("Description") + discussion(description)
    if commands:
        body += heading("Commands")
        for sub in commands:
            body += [".TP", f"\\fB{escaped(name + '-' + sub['commandName'])}\\fR({section})", prose(sub.get("abstract", ""))]
    positional = [argument for argument in arguments if argument["kind"] == "positional"]
    options = [argument for argument in arguments if argument["kind"] != "positional"]
    for title, some in ("Arguments", positional), ("Options", options):
        if some:
            body += heading(title) + [line for argument in some for line in described(argument)]
    if exits:
        body += heading("Exit status") + [".PP", prose(" ".join(exits))]
    if examples:
        body += heading("Examples") + verbatim(examples)
    pages = [("-".join(above), section)] if above else []
    pages += related
    pages = [(other, number.rstrip(")")) for other, number in pages if other != name]
    if pages:
        body += heading("See also") + [f".BR {escaped(other)} ({number})," for other, number in pages]
        body[-1] = body[-1].rstrip(",")

    with open(os.path.join(folder, f"{name}.{section}"), "w", encoding="utf-8") as file:
        file.write(page(name, section, version, body))
    for sub in commands:
        write(sub, path)


write(json.load(sys.stdin)["command"], [])
