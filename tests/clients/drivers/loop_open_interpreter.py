"""Open Interpreter over LiteLLM: its one tool runs code, a call at a time, and it asks for streams alone."""

import os

os.environ |= {"DISABLE_TELEMETRY": "true", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}

from interpreter import OpenInterpreter
from loop_steps import CALLS, KEY, MODEL, TASK, URL, loop


def streamed():
    interpreter = OpenInterpreter(auto_run=True, offline=True, disable_telemetry=True, conversation_history=False)
    model = interpreter.llm
    model.model, model.api_base, model.api_key = f"ollama_chat/{MODEL}", URL, KEY
    model.supports_functions, model.supports_vision, model.context_window, model.max_tokens = True, False, 32768, 1024
    told = interpreter.chat(TASK, display=False)
    code = [part for part in told if part["type"] == "code"]
    CALLS.extend(["execute", {"language": part["format"], "code": part["content"]}] for part in code)
    return told[-1]["content"]


loop(streamed=streamed)
