"""Codex, `codex exec --oss`; it sends no key, so the address has it."""

from agent import PICTURE_FILE, run
from steps import MODEL, QUESTION, URL


def command(key, prompt, model=MODEL, more=()):
    options = ("--local-provider", "ollama", "--skip-git-repo-check", "--sandbox", "danger-full-access")
    variables = {"CODEX_OSS_BASE_URL": f"{URL}/k/{key}/v1", "RUST_BACKTRACE": "0"}
    return ["codex", "exec", "--oss", *options, "-m", model, *more, prompt], variables


run(command, lambda key: command(key, QUESTION, more=("-i", PICTURE_FILE, "--")))
