"""Text for man(7): what the generators of manual pages share."""
import os
import re
import time


def escaped(text):
    """Plain text, with the hyphens that a reader may want to copy."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return re.sub(r"^\.", r"\\&.", text, flags=re.MULTILINE)


def prose(text):
    """A paragraph with `commands` in bold and **such words** as well."""
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*)", text)
    return "".join(
        "\\fB" + escaped(part.strip("`" if part[0] == "`" else "*")) + "\\fR" if part[:1] in ("`", "*") and len(part) > 2 else escaped(part)
        for part in parts)


def verbatim(lines):
    return [".PP", ".in +4n", ".nf"] + [escaped(line) for line in lines] + [".fi", ".in"]


def heading(title):
    return [".SH " + escaped(title if title.startswith("[") else title.upper())]


def page(name, section, version, body):
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"])))
    return "\n".join([f'.TH {escaped(name.upper())} {section} "{day}" "Custody {version}" "Custody"', ".nh", ".ad l"] + body) + "\n"
