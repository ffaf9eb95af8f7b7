"""nginx as the same proxy, where it is installed: what a proxy costs that is written in C."""

import shutil
from pathlib import Path

CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  upstream ollama {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=2048;
    location / {{
      proxy_pass http://ollama;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""


def find() -> str | None:
    """Return where nginx is; Debian keeps it where only root looks."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def command(program: str, folder: Path, port: int, upstream: int) -> list[str]:
    """Write a configuration and return how to run it."""
    path = folder / "nginx.conf"
    path.write_text(CONFIGURATION.format(folder=folder, port=port, upstream=upstream))
    return [program, "-p", str(folder), "-e", str(folder / "nginx-error.log"), "-c", str(path)]
