"""Codex, `codex exec`, with a provider of its configuration."""

from agent import run
from steps import MODEL, URL

PROVIDER = {"name": "mine", "base_url": f"{URL}/v1", "env_key": "MINE_KEY", "wire_api": "responses"}


def command(key, prompt):
    settings = {"model_provider": "mine"} | {f"model_providers.mine.{name}": told for name, told in PROVIDER.items()}
    configured = [part for name, told in settings.items() for part in ("-c", f'{name}="{told}"')]
    options = ("--skip-git-repo-check", "--sandbox", "danger-full-access")
    return ["codex", "exec", *configured, *options, "-m", MODEL, prompt], {"MINE_KEY": key, "RUST_BACKTRACE": "0"}


run(command)
