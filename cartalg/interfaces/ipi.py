"""i-PI's client: a trained potential computes what i-PI asks for over a socket. ASE speaks the protocol."""

import json
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.socketio import IPIProtocol, SocketClient, SocketClosed, actualunixsocketname

from cartalg.data.graphs import species_index
from cartalg.interfaces.ase import CartalgCalculator
from cartalg.model import Potential

#: Where i-PI listens if nothing else is said.
HOST, PORT = "localhost", 31415
#: Results that i-PI asks for itself.
ASKED = ("energy", "free_energy", "forces", "stress", "energies")


class NoServer(ConnectionError):
    """No i-PI listens at an address."""


def further_results(calculator: CartalgCalculator) -> dict[str, Any]:
    """What else the model predicts, and deviations of a committee: i-PI writes them as extras, by name."""
    return {name: np.asarray(v).tolist() for name, v in calculator.results.items() if name not in ASKED}


def serve(
    model: Potential | str | Path | Sequence[Potential | str | Path],
    atoms: Atoms,
    host: str = HOST,
    port: int = PORT,
    unix: str | None = None,
    wait: float = 60.0,
    computed: Callable[[int], None] | None = None,
    **settings: Any,
) -> int:
    """Compute energies, forces and, in a periodic cell, virials for i-PI until it ends.

    Further results of the model (dipoles, polarisabilities) and deviations of a committee are sent as extras, in JSON.

    Args:
        model: A potential, a model file or the folder of a training run (of a committee, too), or a list of such.
        atoms: What i-PI simulates, in its order: i-PI sends no elements. Positions and cell do not matter, but whether
            it is periodic does.
        host, port: Where i-PI listens: `address` and `port` of its ``<ffsocket mode='inet'>``.
        unix: `address` of its ``<ffsocket mode='unix'>`` instead.
        wait: Seconds to wait for i-PI to listen.
        computed: Called with the number of evaluations after each.
        **settings: ``skin``, ``backend``: as of `cartalg.interfaces.ase.CartalgCalculator`.
    Returns:
        The number of evaluations.
    Raises:
        NoServer: If no i-PI listens.
        FileNotFoundError, CheckpointError: If the model cannot be read.
        DataError: If a structure cannot be computed, or the model does not know an element.
        ValueError: If i-PI simulates another number of atoms.
    Source: https://docs.ipi-code.org (the protocol); ASE's units differ from i-PI's by parts in 1e8.
    """
    atoms = atoms.copy()
    atoms.calc = CartalgCalculator(model, **settings)
    species_index(atoms, atoms.calc.model.elements, "structure")
    client, count = _connected(host, port, unix, wait), 0
    client.protocol = _Protocol(client.protocol.socket, atoms)
    try:
        for count, _ in enumerate(client.irun(atoms, bool(atoms.pbc.all())), 1):  # noqa: B007: it is the result
            if computed:
                computed(count)
    except (ConnectionError, SocketClosed):  # i-PI has been killed
        pass
    return count


def _connected(host: str, port: int, unix: str | None, wait: float) -> SocketClient:
    """A client, once i-PI listens."""
    until = time.monotonic() + wait
    while True:
        try:
            return SocketClient(host, port, unix)
        except OSError as error:
            if time.monotonic() >= until:
                where = actualunixsocketname(unix) if unix else f"{host}:{port}"
                raise NoServer(f"no i-PI listens at {where} ({error.strerror or error}): start it first") from None
        time.sleep(min(0.2, max(until - time.monotonic(), 0)))


class _Protocol(IPIProtocol):  # type: ignore[misc]
    """ASE's, with a check of what comes and further results in what goes."""

    def __init__(self, connection: socket.socket, atoms: Atoms) -> None:
        super().__init__(connection)
        self._atoms = atoms

    def recvposdata(self) -> tuple[np.ndarray[Any, Any], ...]:
        cell, inverse, positions = super().recvposdata()
        if len(positions) != len(self._atoms):
            raise ValueError(f"i-PI simulates {len(positions)} atoms, but the structure has {len(self._atoms)}")
        return cell, inverse, positions

    def sendforce(self, *results: Any) -> None:
        extras = further_results(self._atoms.calc)
        text = json.dumps(extras) if extras else " "  # at least a byte
        super().sendforce(*results, np.frombuffer(text.encode(), dtype=np.byte))
