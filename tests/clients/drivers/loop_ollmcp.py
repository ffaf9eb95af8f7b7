"""ollmcp: its client, with a server of the Model Context Protocol whose weather comes with a picture."""

import base64
import json
import os
import sys
from pathlib import Path

from loop_steps import BY_NAME, CALLS, KEY, MODEL, TASK, URL, loop

LOG = Path("calls.jsonl")
# A picture of one point.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def serve():
    from mcp.server.mcpserver import Image, MCPServer

    server = MCPServer("tools")

    def kept(name, **arguments):
        said = BY_NAME[name](**arguments)
        with LOG.open("a") as log:
            log.write(json.dumps(CALLS[-1]) + "\n")
        return said

    @server.tool()
    def lookup(city: str):
        """Look up the weather of a city."""
        return [kept("lookup", city=city), Image(data=PICTURE, format="png")]

    @server.tool()
    def clock() -> str:
        """Tell the time."""
        return kept("clock")

    @server.tool()
    def keep(text: str) -> str:
        """Keep a note."""
        return kept("keep", text=text)

    server.run()


async def streamed():
    from mcp_client_for_ollama.client import MCPClient

    client = MCPClient(model=MODEL, host=f"{URL}/k/{KEY}", provider="ollama")
    client.hil_manager.set_enabled(False)
    served = {"command": sys.executable, "args": [__file__, "serve"], "env": dict(os.environ)}
    await client.connect_to_servers(server_configs={"t": served})
    try:
        said = await client.process_query(TASK)
    finally:
        await client.cleanup()
    CALLS.extend(logged())
    return said


def logged():
    return [json.loads(line) for line in LOG.read_text().splitlines()]


if sys.argv[1:] == ["serve"]:
    serve()
else:
    loop(streamed=streamed)
