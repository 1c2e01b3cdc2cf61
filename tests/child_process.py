"""A process that answers line by line, and may die or hang while it does: what reads spoilt files runs in one."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from rflav_lib import ROOT


class Died(Exception):
    """The process ended, or was ended, before it answered. The message says which."""


class ChildProcess:
    """Starts when it is first asked, and again after it has died.

    Args:
        module: run with `python -m`, from the root of the repository; it answers each line on stdin with one of JSON.
        arguments: of the command line.
        patience: seconds on the clock for one answer, after which it is killed.
        greets: whether it says something by itself, once, when it is ready.
        environment: variables beside the present ones.
        quiet: throw away what it says on stderr.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], patience: float, greets: bool = False,
        environment: Mapping[str, str] | None = None, quiet: bool = False,
    ) -> None:  # fmt: skip
        self._command = [sys.executable, "-m", module, *arguments]
        self._patience, self._greets = patience, greets
        self._environment = {**os.environ, **(environment or {})}
        self._stderr = subprocess.DEVNULL if quiet else None
        self._process: subprocess.Popen | None = None

    def ask(self, request: object) -> Any:
        """The answer to a request, both as JSON on one line.

        Raises:
            Died: there is no answer; the next request goes to another process.
            RuntimeError: it died before its greeting.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr,
                text=True, env=self._environment,
            )  # fmt: skip
            try:
                if self._greets:
                    self._answer()
            except Died as death:
                raise RuntimeError(f"{' '.join(self._command)} did not begin: {death}") from None
        with suppress(BrokenPipeError):  # it may be dead
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        killer = threading.Timer(self._patience, self._process.kill)
        killer.start()
        line = self._process.stdout.readline()
        late = not killer.is_alive()
        killer.cancel()
        if line:
            return json.loads(line)
        code = self._process.wait()
        self.close()
        raise Died("a hang" if late else f"a crash: exit code {code}")

    def close(self) -> None:
        """End it, if it is there."""
        if self._process is None:
            return
        with suppress(BrokenPipeError):  # a request may be on its way to a dead process
            self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._process = None
