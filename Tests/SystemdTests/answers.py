"""Runs a command at a terminal of its own and answers its questions: answers.py PROMPT=ANSWER... -- COMMAND...

Ends with the command's exit code; what it printed comes out here."""
import os
import pty
import select
import sys
import time

split = sys.argv.index("--")
answers = [argument.split("=", 1) for argument in sys.argv[1:split]]
process, terminal = pty.fork()
if process == 0:
    os.execvp(sys.argv[split + 1], sys.argv[split + 1:])
seen, end = "", time.monotonic() + 60
while time.monotonic() < end:
    if not select.select([terminal], [], [], 1)[0]:
        continue
    try:
        text = os.read(terminal, 4096).decode(errors="replace")
    except OSError:
        break
    if not text:
        break
    sys.stdout.write(text)
    seen += text
    if answers and answers[0][0] in seen:
        os.write(terminal, answers.pop(0)[1].encode() + b"\r")
        seen = ""
if answers:
    sys.exit(f"it never asked for: {answers[0][0]}")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
