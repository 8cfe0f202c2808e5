"""A process that compiles: jobs come in as lines of JSON, machine code goes out the same way.

    python -m cartalg_codegen.backends.numba.worker

It ends when nobody asks for anything for a while.
"""

import base64
import fcntl
import json
import select
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cartalg.collector import at_rest
from cartalg_codegen.backends.numba.making import made
from cartalg_codegen.backends.numba.objects import Job, cached_objects, keep, kept

#: Seconds without a job after which a worker ends.
PATIENCE = 20.0


@contextmanager
def alone(job: Job, folder: Path) -> Iterator[None]:
    """Wait while another process makes the same object; where nothing can be written, for none."""
    path = folder / f"{job.key()}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = path.open("w")
    except OSError:
        yield
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # who waits for it finds the object


def made_once(job: Job) -> bytes:
    """The machine code of a job, made and kept in the user's cache, or what another process has made meanwhile."""
    folder = cached_objects()
    with alone(job, folder):
        code = kept(job)
        if code is None:
            code = made(job)
            with suppress(OSError):  # no cache, no harm
                keep(folder, job, code)
    return code


def main() -> None:
    """Serve until the other end closes, or nothing has come for a while."""
    while select.select([sys.stdin], [], [], PATIENCE)[0] and (line := sys.stdin.readline()):
        try:
            asked = json.loads(line)
            job = Job.from_json(asked["job"])
            answer = {"code": base64.b64encode(made_once(job) if asked["keep"] else made(job)).decode()}
        except Exception:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    with at_rest():  # syntax trees are large, and have no cycles
        main()
