"""Jobs of compilation shared out to processes, one for each core; LLVM lets a process compile one thing at a time.

Processes also keep LLVM, some 100 MB of it, out of the one that computes.
"""

import atexit
import base64
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from cartalg_codegen.backends.numba.objects import Job

#: So many processes at most.
MOST = 16
log = logging.getLogger("cartalg.compilation")


class Workers:
    """Processes that compile. Each is served by a thread, and started when there is a job for it.

    Args:
        count: How many.
        keep: Whether what they make is kept in the user's cache.
    """

    def __init__(self, count: int, keep: bool = True) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="cartalg-compile")
        self._own = threading.local()
        self._started: list[_Worker] = []
        self._jobs: dict[Job, Future[bytes]] = {}
        self._keep, self._process = keep, os.getpid()
        atexit.register(self.close)

    def submit(self, job: Job) -> "Future[bytes]":
        """The machine code of a job, when it is there; asked for again, it is made once."""
        if job not in self._jobs:
            self._jobs[job] = self._threads.submit(self._run, job)
        return self._jobs[job]

    def wait(self, job: Job) -> bytes:
        """The machine code of a job; the log says what is waited for, and how far the others are.

        Raises:
            RuntimeError: If it cannot be compiled; the message says why.
        """
        future, said = self.submit(job), ""
        try:
            while wait([future], timeout=0.1).not_done:
                done = sum(f.done() for f in self._jobs.values())
                if said != (said := f"{done + 1} of {len(self._jobs)}: {job}"):
                    log.info(said)
            if all(f.done() for f in self._jobs.values()):
                self._jobs.clear()  # code that has been loaded is not held twice
            return future.result()
        except KeyboardInterrupt:
            for other in self._jobs.values():
                other.cancel()
            raise
        finally:
            if said:
                log.info("")

    def close(self) -> None:
        """Let the processes end, and wait for that; what a fork has a copy of is not its own."""
        if os.getpid() != self._process:
            return
        self._threads.shutdown(wait=False, cancel_futures=True)
        while self._started:
            self._started.pop().close()

    def _run(self, job: Job) -> bytes:
        line, said = json.dumps({"job": job.to_json(), "keep": self._keep}), ""
        for _ in range(2):  # the first may have gone to rest
            worker = getattr(self._own, "worker", None)
            if worker is None:
                worker = self._own.worker = _Worker()
                self._started.append(worker)
            answer = worker.ask(line)
            if answer is None:
                self._own.worker, said = None, worker.close()
                self._started.remove(worker)
            elif "error" in answer:
                raise RuntimeError(f"{job} was not compiled:\n{answer['error']}")
            else:
                return base64.b64decode(answer["code"])
        raise RuntimeError(f"{job}: the process that compiles it ended; is there memory for it?\n{said}")


class _Worker:
    """A process that compiles. It imports what this one would, and nothing from the working directory by accident."""

    def __init__(self) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - LLVM's warnings are nothing to a user
        self._process = subprocess.Popen(
            [_python(), "-P", "-m", "cartalg_codegen.backends.numba.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def ask(self, line: str) -> dict[str, Any] | None:
        """Its answer; None if it is no longer there."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            said = self._process.stdout.readline()
        except BrokenPipeError:
            return None
        return json.loads(said) if said else None

    def close(self) -> str:
        """End it: the last that it said on standard error."""
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                if pipe:
                    pipe.close()
        self._process.terminate()
        self._process.wait()
        with self._said as file:
            file.seek(0)
            return file.read().decode(errors="replace")[-1000:]


def _python() -> str:
    """The interpreter, also where another program has it inside."""
    named = Path(sys.executable or "none").name.startswith("python")
    return sys.executable if named else str(Path(sys.prefix, "bin", "python3"))


def cores() -> int:
    """Processes that are worth having here."""
    return min(len(os.sched_getaffinity(0)), MOST)


def workers() -> Workers:
    """Those of this process; a fork has none of the threads."""
    return _of_process(os.getpid())


@cache
def _of_process(process: int) -> Workers:
    return Workers(cores())
