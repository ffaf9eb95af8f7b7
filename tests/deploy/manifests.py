"""What `deploy/kubernetes` comes to, built by kubectl's own Kustomize, without a cluster."""

from __future__ import annotations

import shlex
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from tests.e2e.processes import REPOSITORY, clean_environment

FOLDER: Final = REPOSITORY / "deploy" / "kubernetes"
# What may be handed to `kubectl apply -k`; each component is in one of them.
BUILDS: Final = ("base", "one", "several")

Manifest = Mapping[str, Any]


def kubectl(*arguments: str | Path) -> tuple[Manifest, ...]:
    """The objects that a command of kubectl prints; there is no cluster to ask."""
    program = Path(sysconfig.get_path("scripts")) / "kubectl"
    done = subprocess.run(
        [program, *arguments],
        env=clean_environment(KUBECONFIG="/dev/null"),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), f"{shlex.join(map(str, arguments))}: {done.stderr}"
    return tuple(yaml.safe_load_all(done.stdout))


@cache
def built(name: str) -> tuple[Manifest, ...]:
    """The objects that `kubectl apply -k` would send."""
    return kubectl("kustomize", FOLDER / name)


def of_kind(name: str, kind: str) -> list[Manifest]:
    """The objects of one kind."""
    return [manifest for manifest in built(name) if manifest["kind"] == kind]


def named(name: str, kind: str, called: str) -> Manifest:
    """The one object of a kind that has this name."""
    (found,) = [manifest for manifest in of_kind(name, kind) if manifest["metadata"]["name"] == called]
    return found


def pods(name: str) -> Iterator[tuple[Manifest, Manifest]]:
    """The labels and the specification of each Deployment's pods."""
    for deployment in of_kind(name, "Deployment"):
        template = deployment["spec"]["template"]
        yield template["metadata"]["labels"], template["spec"]


def selects(selector: Manifest, labels: Manifest) -> bool:
    """Whether a selector of labels takes a pod that has these."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", selector).items())
