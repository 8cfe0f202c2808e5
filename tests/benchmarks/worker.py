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


def library(name):
    """The module of peers/ that wraps a library."""
    spec = importlib.util.spec_from_file_location("peer", Path(__file__).parent / "peers" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def with_calculator(frames, calculator):
    """Tasks of an ASE calculator. A step of molecular dynamics: atoms move, forces are asked for."""
    import numpy as np

    atoms, positions, random = frames[0].copy(), frames[0].positions, np.random.default_rng(0)
    atoms.calc = calculator

    def step():
        atoms.positions = positions + 0.01 * random.standard_normal(positions.shape)
        atoms.get_forces()

    def same():
        calculator.calculate(atoms, ["energy", "forces"], ["positions"])

    return {"md step": step} if len(frames) > 1 else {"energy and forces": same, "md step": step}


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    try:
        peer = library(sys.argv[1])
        torch = sys.modules.get("torch")
        if torch:
            torch.set_num_threads(int(sys.argv[2]))
    except Exception as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=answers, flush=True)
        return

    if importlib.util.find_spec("ase"):  # which reads the frames of all, whether their library does or not
        import ase.io  # noqa: F401
    base = resident()
    cases, calculators = {}, {}

    def prepare(key, kind, **k):
        if torch:
            torch.manual_seed(0)
        started = time.perf_counter()
        if kind == "potential":
            from ase.io import read

            frames = read(k["file"], ":")
            found = peer.potential(frames, k["setting"], k["elements"], k["cutoff"])
            cases[key] = {**with_calculator(frames, found.pop("calculator")), **found}
        elif kind == "own":
            from ase.io import read

            frames = read(k["file"], ":")
            cases[key] = with_calculator(
                frames, peer.OWN[k["name"]](frames, k["elements"], k["cutoff"], **k["options"])
            )
        elif kind == "converted":
            from ase.io import read

            if k["model"] not in calculators:  # reading a model takes longer than a step of many atoms
                calculators[k["model"]] = peer.converted(Path(k["model"]))
            cases[key] = with_calculator(read(k["file"], ":"), calculators[k["model"]])
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
        if task not in cases[key]:
            return {"missing": True}
        function, wall, cpu, start = cases[key][task], [], [], time.perf_counter()
        while len(wall) < repeats and (not wall or time.perf_counter() - start < budget):
            before, used = time.perf_counter(), time.process_time()
            function()
            cpu.append((time.process_time() - used) * 1e3)
            wall.append((time.perf_counter() - before) * 1e3)
        return {"wall": wall, "cpu": cpu}

    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        do = command.pop("do")
        try:
            if do == "prepare":
                answer = prepare(**command)
            elif do == "run":
                answer = run(**command)
            elif do == "own":
                answer = {"names": list(peer.OWN)}
            elif do == "limit":  # so that too large a case is an error of this process, and no trouble of others
                resource.setrlimit(resource.RLIMIT_DATA, (int(command["gigabytes"] * 2**30),) * 2)
                answer = {}
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
