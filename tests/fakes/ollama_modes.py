"""How the fake Ollama can misbehave, one mode a fault, and everything else that a test decides."""

from dataclasses import dataclass, field
from enum import Enum, auto

from tests.fakes.gate import Gate
from tests.fakes.ollama_shapes import JsonObject

DEFAULT_WORDS = (" Hello", " from", " a", " model", " that", " is", " not", " there.")
ODD_WORDS = (
    " next\u0085line",
    " line\u2028separator",
    " paragraph\u2029end",
    " \U0001f999\U0001f469\u200d\U0001f680",
)
HUGE_WORDS = ("x" * 2**20, "y" * 2**20, "z" * 2**20)


class Mode(Enum):
    """What the server does with a request for inference, and with pull, push and create."""

    NORMAL = auto()
    SLOW_FIRST_BYTE = auto()
    SLOW_TOKENS = auto()
    ERROR_500 = auto()
    BUSY_503 = auto()
    HANG_BEFORE_HEADERS = auto()
    CLOSE_BEFORE_HEADERS = auto()
    CUT_MID_STREAM = auto()
    ERROR_MID_STREAM = auto()
    ERROR_FIRST_LINE = auto()
    NO_DONE = auto()
    GARBAGE = auto()
    GARBAGE_JSON = auto()
    HUGE_LINES = auto()
    ODD_UNICODE = auto()
    SPLIT_LINES = auto()
    HANG_MID_STREAM = auto()
    NOT_FOUND_MODEL = auto()


MODE_WORDS = {Mode.HUGE_LINES: HUGE_WORDS, Mode.ODD_UNICODE: ODD_WORDS}
BROKEN_OFF = (Mode.CUT_MID_STREAM, Mode.HANG_MID_STREAM)


@dataclass(kw_only=True, eq=False)
class Script:
    """What the server has and does; every field may be changed while it runs.

    `lacks` names paths that it does not know, as an older Ollama does not; `blobs` are sizes by digest. An upload of
    a blob is only counted, in `blob_bytes`, all uploads together: `blob_delay` seconds pass after each MiB,
    `blob_early` answers before the body and closes, `blob_any_digest` accepts anything and hashes nothing.
    """

    models: list[str] = field(default_factory=lambda: ["llama3:latest"])
    words: tuple[str, ...] = DEFAULT_WORDS
    thinking: str = ""
    tool_calls: tuple[JsonObject, ...] = ()
    context_size: int = 3
    mode: Mode = Mode.NORMAL
    probe_mode: Mode = Mode.NORMAL
    version: str = "0.9.3"
    lacks: set[str] = field(default_factory=set)
    first_byte_delay: float = 0.3
    token_delay: float = 0.05
    piece_delay: float = 0.002
    trouble_after: int = 2
    gate: Gate = field(default_factory=Gate)
    blobs: dict[str, int] = field(default_factory=dict)
    blob_bytes: int = 0
    blob_delay: float = 0.0
    blob_early: bool = False
    blob_any_digest: bool = False
