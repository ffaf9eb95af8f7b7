"""Wire formats: frames, endings, usage and errors of each."""

from __future__ import annotations

from mlops_backend.services.llm.dialects import endings, ollama
from mlops_backend.services.llm.dialects.compact import dumped
from mlops_backend.services.llm.dialects.endings import Ending, EventEnding, generation_ending
from mlops_backend.services.llm.dialects.families import Dialect, dialect_of, error_event, error_line, error_object
from mlops_backend.services.llm.dialects.frames import EVENT, MAX_FRAME_BYTES, Frames
from mlops_backend.services.llm.dialects.go_json import (
    Member,
    bytes_of,
    check_depth,
    folded,
    last_of,
    members,
    text_of,
    value_of,
    values_in,
)
from mlops_backend.services.llm.dialects.large import LargeBody, written
from mlops_backend.services.llm.dialects.large_members import places, value_in
from mlops_backend.services.llm.dialects.long_texts import in_full, shortened
from mlops_backend.services.llm.dialects.objects import events_of, is_openai_end, lines_of
from mlops_backend.services.llm.dialects.ollama import check_first, dump_line, error_text, parse_object
from mlops_backend.services.llm.dialects.openai_ending import FINISHED, OpenAIEnding, openai_ending
from mlops_backend.services.llm.dialects.said import texts_in, tokens_said, words_in
from mlops_backend.services.llm.dialects.sse import as_events, events
from mlops_backend.services.llm.dialects.usage import CHARACTERS_PER_TOKEN, MOST_TOKENS, read_usage, tokens_in

__all__ = [
    "CHARACTERS_PER_TOKEN",
    "EVENT",
    "FINISHED",
    "MAX_FRAME_BYTES",
    "MOST_TOKENS",
    "Dialect",
    "Ending",
    "EventEnding",
    "Frames",
    "LargeBody",
    "Member",
    "OpenAIEnding",
    "as_events",
    "bytes_of",
    "check_depth",
    "check_first",
    "dialect_of",
    "dump_line",
    "dumped",
    "endings",
    "error_event",
    "error_line",
    "error_object",
    "error_text",
    "events",
    "events_of",
    "folded",
    "generation_ending",
    "in_full",
    "is_openai_end",
    "last_of",
    "lines_of",
    "members",
    "ollama",
    "openai_ending",
    "parse_object",
    "places",
    "read_usage",
    "shortened",
    "text_of",
    "texts_in",
    "tokens_in",
    "tokens_said",
    "value_in",
    "value_of",
    "values_in",
    "words_in",
    "written",
]
