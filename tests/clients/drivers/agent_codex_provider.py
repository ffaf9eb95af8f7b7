"""Codex, `codex exec`, with a provider of its configuration."""

from agent import PICTURE_FILE, run
from steps import MODEL, QUESTION, URL

PROVIDER = {"name": "mine", "base_url": f"{URL}/v1", "env_key": "MINE_KEY", "wire_api": "responses"}


def command(key, prompt, model=MODEL, more=()):
    settings = {"model_provider": "mine"} | {f"model_providers.mine.{name}": told for name, told in PROVIDER.items()}
    configured = [part for name, told in settings.items() for part in ("-c", f'{name}="{told}"')]
    options = ("--skip-git-repo-check", "--sandbox", "danger-full-access")
    arguments = ["codex", "exec", *configured, *options, "-m", model, *more, prompt]
    return arguments, {"MINE_KEY": key, "RUST_BACKTRACE": "0"}


run(command, lambda key: command(key, QUESTION, more=("-i", PICTURE_FILE, "--")))
