#!/usr/bin/env python3
"""A manual page from a page of the documentation, as far as that uses Markdown: headings, paragraphs, tables, lists, code.

    markdown-manual.py NAME SECTION VERSION SUMMARY < Configuration.md > custody.toml.5
"""
import re
import sys

from troff import escaped, heading, page, prose, verbatim

name, section, version, summary = sys.argv[1:]


def kind(block):
    if block.startswith("```"):
        return "code"
    if block.startswith("|"):
        return "table"
    return "heading" if block.startswith("#") else "list" if block.startswith("- ") else "text"


def blocks(text):
    """Code, tables, headings, items of lists, and paragraphs."""
    for part in re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL):
        if part.startswith("```"):
            yield part
            continue
        for block in part.split("\n\n"):
            if block.strip().startswith("- "):
                yield from ("- " + item for item in re.split(r"^- ", block.strip(), flags=re.MULTILINE)[1:])
            elif block.strip():
                yield block.strip()


def table(rows):
    """The first column names, the last one explains, those between are set in brackets."""
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip().strip("|"))] for row in rows]
    titles, lines = cells[0], []
    for row in cells[2:]:
        between = [f"{title} {cell}" if title != cell else cell for title, cell in zip(titles[1:-1], row[1:-1]) if cell]
        lines += [".TP", prose(row[0]) + (" (" + prose(", ".join(between)) + ")" if between else ""), prose(row[-1])]
    return lines


body = heading("Name") + [escaped(name) + " \\- " + escaped(summary)]
for block in blocks(sys.stdin.read()):
    block = re.sub(r"<doc:(\w+)>", r"\1", block)
    match kind(block):
        case "code":
            body += verbatim(block.split("\n")[1:-1])
        case "table":
            body += table(block.split("\n"))
        case "heading":
            level, title = block.split(" ", 1)
            # The title and the sentence below it stand in the name already.
            if level != "#":
                body += heading("Description" if title == "Overview" else title)
        case "list":
            body += [".IP \\(bu 2", prose(" ".join(block[2:].split()))]
        case "text" if len(body) > 2:
            body += [".PP", prose(" ".join(block.split()))]
sys.stdout.write(page(name, section, version, body))
