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
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
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
        self._processes: list[subprocess.Popen[str]] = []
        self._jobs: dict[Job, Future[bytes]] = {}
        self._keep = keep
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
                if said != (said := f"{job}, {done + 1} of {len(self._jobs)}"):
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
        """Let the processes end, and wait for that."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            _ended(process)

    def _run(self, job: Job) -> bytes:
        line = json.dumps({"job": job.to_json(), "keep": self._keep})
        answer = self._ask(line) or self._ask(line)  # the first may have gone to rest meanwhile
        if answer is None:
            raise RuntimeError(f"{job}: the process that compiles it ended; is there memory for it?")
        if "error" in answer:
            raise RuntimeError(f"{job} was not compiled:\n{answer['error']}")
        return base64.b64decode(answer["code"])

    def _ask(self, line: str) -> dict[str, Any] | None:
        """A worker's answer; None if it is no longer there."""
        process = getattr(self._own, "process", None)
        if process is None:
            process = self._own.process = _started()
            self._processes.append(process)
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
            said = process.stdout.readline()
        except BrokenPipeError:
            said = ""
        if said:
            return json.loads(said)  # type: ignore[no-any-return]
        self._processes.remove(process)
        self._own.process = None
        _ended(process)
        return None


def _started() -> subprocess.Popen[str]:
    """A worker, which imports what this process would, and nothing from the working directory by accident."""
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "cartalg_codegen.backends.numba.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def _ended(process: "subprocess.Popen[str]") -> None:
    """Close a worker's pipes: it ends when it sees that."""
    for pipe in (process.stdin, process.stdout):
        try:
            if pipe:
                pipe.close()
        except BrokenPipeError:
            pass
    process.terminate()
    process.wait()


def cores() -> int:
    """Processes that are worth having here."""
    return min(len(os.sched_getaffinity(0)), MOST)


@cache
def workers() -> Workers:
    """Those of this process."""
    return Workers(cores())
