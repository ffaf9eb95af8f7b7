"""What every driver in Python shares: the steps, in their order, each told as one line of JSON."""

import base64
import json
import os
import sys

URL, MODEL, KEY = (os.environ.get(name, "") for name in ("URL", "MODEL", "KEY"))
QUESTION = "Name a colour. Answer with one word."
MESSAGES = [{"role": "user", "content": QUESTION}]
UNKNOWN = "no-such-model"
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
PICTURE_BYTES = base64.b64decode(PICTURE)
PICTURE_URL = f"data:image/png;base64,{PICTURE}"
# The question with the picture, as OpenAI's chat has it.
SHOWN = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": PICTURE_URL}}]
RESULT = "21 degrees and sun"
PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "Tell the weather.", "parameters": PARAMETERS},
}


def run(chat, stream, tool, image, embed=None):
    """Do each step with its key: `chat` and `image` give a text, `stream` parts, `embed` a vector.

    `tool` gives a name and arguments, and the text behind the result if it sends one.
    """
    wrong, limited = os.environ["WRONG_KEY"], os.environ["LIMITED_KEY"]
    attempt("chat", lambda: {"text": chat(KEY)})
    attempt("stream", lambda: parted(stream(KEY)))
    attempt("tools", lambda: dict(zip(("name", "arguments", "text"), tool(KEY), strict=False)))
    attempt("image", lambda: {"text": image(KEY)})
    if embed:
        attempt("embeddings", lambda: {"length": len(embed(KEY))})
    attempt("error", lambda: {"text": chat(KEY, UNKNOWN)})
    attempt("wrong key", lambda: {"text": chat(wrong)})
    attempt("limit", lambda: parted(stream(limited)))


def called(name, arguments):
    """A call whose arguments came as text."""
    return name, json.loads(arguments)


def parted(parts):
    """The parts of a stream that say something, joined, and how many they are."""
    told = [part for part in parts if part]
    return {"text": "".join(told), "parts": len(told)}


def attempt(step, act):
    """Tell what came of a step, or what was raised."""
    try:
        said = act()
    except Exception as error:
        response = getattr(error, "response", None)
        status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
        said = {"error": type(error).__name__, "status": status, "message": str(error)[:1000]}
    tell(step, **said)


def tell(step, **said):
    """Print one line; a client may have left one of its own without an end."""
    sys.stdout.write("\n" + json.dumps({"step": step, **said}) + "\n")
    sys.stdout.flush()
