"""What the programs say of their files in `deploy`; how they stream is in tests/e2e/test_proxies.py."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import REPOSITORY, clean_environment
from tests.e2e.proxies import PROXIES, make_certificate

NGINX = REPOSITORY / "deploy" / "nginx"
CADDYFILE = REPOSITORY / "deploy" / "caddy" / "Caddyfile"


def said(folder: Path, *command: str) -> tuple[int, str]:
    """How a program ended, and what it said."""
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(**home),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.returncode, done.stdout + done.stderr


def asked_nginx(folder: Path, site: str) -> tuple[int, str]:
    """What `nginx -t` says of a site, with a certificate of the test's own and replicas that have addresses."""
    make_certificate(folder)
    site = re.sub(r"/etc/ssl/(llm\.\w+)", rf"{folder}/\1", site)
    site = re.sub(r"\b(one|two):8000", "127.0.0.1:8000", site)
    (folder / "nginx.conf").write_text(f"pid {folder}/pid; error_log stderr; events {{}} http {{ {site} }}")
    return said(folder, PROXIES["nginx"].find(), "-t", "-p", str(folder), "-e", "stderr", "-c", "nginx.conf")


@pytest.mark.parametrize("file", sorted(NGINX.iterdir()), ids=lambda file: file.name)
def test_nginx_takes_its_files(file: Path, tmp_path: Path) -> None:
    """`nginx -t` takes each file, and has nothing to warn of but the line that newer ones want in another place."""
    code, words = asked_nginx(tmp_path, file.read_text("utf-8"))
    assert code == 0, words
    assert [line for line in words.splitlines() if "[warn]" in line and "http2" not in line] == []


def test_nginx_would_say_what_is_wrong(tmp_path: Path) -> None:
    """`nginx -t` refuses a file with a misspelt line."""
    code, words = asked_nginx(tmp_path, (NGINX / "replicas.conf").read_text("utf-8").replace("proxy_pass", "proxy_pas"))
    assert code == 1
    assert 'unknown directive "proxy_pas"' in words


def test_caddy_takes_its_file(tmp_path: Path) -> None:
    """`caddy validate` takes the file, and would not write it differently."""
    caddy = PROXIES["caddy"].find()
    code, words = said(tmp_path, caddy, "validate", "--adapter", "caddyfile", "--config", str(CADDYFILE))
    assert code == 0, words
    assert "Valid configuration" in words
    assert "not formatted" not in words


def test_caddy_would_say_what_is_wrong(tmp_path: Path) -> None:
    """`caddy validate` refuses a file with a misspelt line."""
    wrong = tmp_path / "Caddyfile"
    wrong.write_text(CADDYFILE.read_text("utf-8").replace("reverse_proxy", "reverse_prox"))
    code, words = said(tmp_path, PROXIES["caddy"].find(), "validate", "--adapter", "caddyfile", "--config", "Caddyfile")
    assert code == 1
    assert "unrecognized directive: reverse_prox" in words
