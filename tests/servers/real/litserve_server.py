"""LitServe with its `OpenAISpec` around a model that always says the same words, on loopback.

Everything but the words is LitServe's: the routes, the shapes, the zeros of the usage. The model looks at no option.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import litserve  # type: ignore[import-not-found]


class Words(litserve.LitAPI):  # type: ignore[misc]
    """Says words."""

    def __init__(self, broken: str, words: Sequence[str]) -> None:
        super().__init__(spec=litserve.OpenAISpec())
        self._broken = broken
        self._words = words

    def setup(self, device: Any) -> None:
        """Nothing has to be loaded."""

    def predict(self, prompt: Any) -> Iterator[str]:
        """The words, one at a time, whatever was asked; or two of them and no more."""
        broken = [message.content for message in prompt.messages[-1:]] == [self._broken]
        for number, word in enumerate(self._words):
            if broken and number > 1:
                raise RuntimeError("the model failed")
            yield word


def main(port: str, broken: str, *words: str) -> None:
    """Serve until the process is ended.

    Args:
        port: of the server.
        broken: the message at which the model fails.
        words: that it says.
    """
    server = litserve.LitServer(Words(broken, words), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(port), num_api_servers=1, generate_client_file=False, pretty_logs=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
