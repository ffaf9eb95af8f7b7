"""Codex, `codex exec --oss`; it sends no key, so the address has it."""

from agent import run
from steps import MODEL, URL


def command(key, prompt):
    options = ("--local-provider", "ollama", "--skip-git-repo-check", "--sandbox", "danger-full-access")
    variables = {"CODEX_OSS_BASE_URL": f"{URL}/k/{key}/v1", "RUST_BACKTRACE": "0"}
    return ["codex", "exec", "--oss", *options, "-m", MODEL, prompt], variables


run(command)
