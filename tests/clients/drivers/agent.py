"""What the drivers of agents share: programs that offer tools of their own, and carry the calls out."""

import json
import os
import re
import subprocess
from contextlib import suppress
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from steps import KEY, MODEL, QUESTION, UNKNOWN, URL, attempt

LONGEST = 80
ABOUT_THE_NOTE = "What does the file note.txt say?"
PICTURE_FILE = "picture.png"
ABOUT_THE_PICTURE = f"What does {PICTURE_FILE} show?"


class Failed(Exception):
    """The program ended with a status, or not at all; what it printed."""


def run(command, shown=None):
    """Do each step. `command(key, prompt, model)` gives the program with its arguments, and variables for it.

    `shown(key)` gives the same with the picture; without it the program takes none.
    """
    attempt("chat", lambda: {"text": said(*command(KEY, QUESTION))})
    attempt("tools", lambda: {"text": said(*command(KEY, ABOUT_THE_NOTE))})
    if shown:
        attempt("image", lambda: {"text": said(*shown(KEY))})
    attempt("error", lambda: {"text": said(*command(KEY, QUESTION, UNKNOWN))})
    attempt("wrong key", lambda: {"text": said(*command(os.environ["WRONG_KEY"], QUESTION))})
    brief = os.environ["BRIEF_KEY"]
    use_up(brief)
    attempt("limit", lambda: {"text": said(*command(brief, QUESTION))})


def said(arguments, variables):
    """What the program prints; it has 80 seconds."""
    try:
        done = subprocess.run(
            arguments,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST,
        )
    except subprocess.TimeoutExpired as late:
        raise Failed(f"not done within {LONGEST} s: {plain(late.stdout)} {plain(late.stderr)}") from None
    if done.returncode:
        raise Failed(f"{plain(done.stdout)} {plain(done.stderr)}".strip()[-1000:])
    return plain(done.stdout)


def plain(text):
    """Without colours and warnings, which name folders of this machine."""
    text = text.decode(errors="replace") if isinstance(text, bytes) else text or ""
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    return "\n".join(line for line in lines if not line.lower().startswith(("warning", "ripgrep")))


def use_up(key):
    """Take the one request that this key has just now; the next is told to wait some seconds."""
    body = {"model": MODEL, "prompt": "Hi", "stream": False, "options": {"num_predict": 1}}
    headers = {"X-API-Key": key, "Content-Type": "application/json"}
    with suppress(HTTPError):
        urlopen(Request(f"{URL}/api/generate", json.dumps(body).encode(), headers)).close()
