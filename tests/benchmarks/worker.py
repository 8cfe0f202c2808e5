"""One library in a process of its own, in its own environment: builds cases and times them when told to.

Reads one JSON command a line from standard input and answers with one JSON line. It runs where nothing but the library
under test is installed, so it imports nothing of cartalg unless that is what it measures.
"""

import gc
import importlib.util
import json
import os
import resource
import sys
import time
from pathlib import Path


def resident():
    """Resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    here = Path(__file__).parent / "peers" / f"{sys.argv[1]}.py"
    spec = importlib.util.spec_from_file_location("peer", here)
    peer = importlib.util.module_from_spec(spec)
    started = time.perf_counter()
    spec.loader.exec_module(peer)
    imported = time.perf_counter() - started
    import numpy as np
    import torch

    base = resident()
    cases = {}

    def prepare(key, kind, **k):
        torch.manual_seed(0)
        started = time.perf_counter()
        if kind == "potential":
            from ase.io import read

            frames = read(k["file"], ":")
            cases[key] = peer.potential(frames, k["setting"], k["elements"], k["cutoff"])
            atoms = frames[0].copy()
            atoms.calc, positions, random = cases[key].pop("calculator"), frames[0].positions, np.random.default_rng(0)

            def md_step():
                atoms.positions = positions + 0.01 * random.standard_normal(positions.shape)
                atoms.get_forces()

            cases[key]["md step"] = md_step
        elif not hasattr(peer, f"{kind}_case"):
            return {"missing": True}
        else:
            generator = torch.Generator().manual_seed(0)
            vectors = torch.randn(k["rows"], 3, generator=generator)
            if kind == "convolution":
                atoms = k["atoms"]
                sender = torch.randint(0, atoms, (k["rows"],), generator=generator)
                receiver = torch.arange(atoms).repeat_interleave(k["rows"] // atoms)
                lengths = 1 + 3.9 * torch.rand(k["rows"], 1, generator=generator)
                vectors = torch.nn.functional.normalize(vectors, dim=1) * lengths
                cases[key] = peer.convolution_case((sender, receiver, vectors, atoms, k["channels"]))
            elif kind == "harmonics":
                cases[key] = peer.harmonics_case(vectors, k["rank"])
            else:
                cases[key] = peer.couplings_case(k["rows"], k["channels"])
        return {"build": time.perf_counter() - started}

    def run(key, task, repeats, budget):
        function, times, start = cases[key][task], [], time.perf_counter()
        while len(times) < repeats and (not times or time.perf_counter() - start < budget):
            before = time.perf_counter()
            function()
            times.append((time.perf_counter() - before) * 1e3)
        return {"ms": times}

    print(json.dumps({"import": imported}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        do = command.pop("do")
        try:
            if do == "prepare":
                answer = prepare(**command)
            elif do == "run":
                answer = run(**command)
            elif do == "threads":
                torch.set_num_threads(command["count"])
                answer = {}
            elif do == "forget":
                cases.clear()
                gc.collect()
                answer = {}
            else:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
                answer = {"peak": peak - base}
        except Exception as error:  # the benchmark reports it and goes on
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
