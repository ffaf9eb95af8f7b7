"""Claude Code, `claude -p`; it looks at pictures by its tool that reads files."""

from agent import ABOUT_THE_PICTURE, run
from steps import MODEL, URL


def command(key, prompt, model=MODEL):
    variables = {
        "ANTHROPIC_BASE_URL": URL,
        "ANTHROPIC_AUTH_TOKEN": key,
        "ANTHROPIC_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    return ["claude", "-p", prompt], variables


run(command, lambda key: command(key, ABOUT_THE_PICTURE))
