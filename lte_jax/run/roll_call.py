"""A roll call of a run's processes at the coordinator's address, before jax meets at the same one.

jax waits there without a word, and where one does not come its C++ side aborts. So process 0 listens there first: each
other process connects and gives its number, is told who is there, and goes on when all are.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

SAY_AFTER_S, SAY_EVERY_S, RETRY_S = 5.0, 60.0, 0.2
MOST_NAMED = 10


class Absent(Exception):
    """Not all processes came in time. Another start may help."""


class Refused(ValueError):
    """Process 0 does not take this process for one of its run."""


@dataclass(frozen=True)
class Place:
    """Where a run's processes meet, and which of them this is."""

    address: str  # HOST:PORT, where process 0 listens
    n_processes: int
    own: int

    @property
    def host_and_port(self) -> tuple[str, int]:
        return _split(self.address, "the coordinator's address")


@dataclass
class Roll:
    """What this process knows of the others."""

    place: Place
    here: set[int] = field(default_factory=set)
    trouble: str = ""  # why process 0 was not reached
    connected: dict[int, asyncio.StreamWriter] = field(default_factory=dict)  # to whom it can speak

    def tell(self, **said) -> None:
        for writer in self.connected.values():
            _send(writer, **said)

    def awaited(self) -> str:
        """Who is missing, in one line."""
        place = self.place
        if self.trouble:
            return f"process 0 does not answer at {place.address}: {self.trouble}"
        missing = sorted(set(range(place.n_processes)) - self.here)
        return (
            f"{len(missing)} of {place.n_processes} processes have not joined at {place.address}: {_listed(missing)} "
            f"(joined: {_listed(sorted(self.here))})"
        )


def call_the_roll(place: Place, timeout_s: float, say: Callable[[str], None]) -> None:
    """Returns when all processes are here. Says who is missing after SAY_AFTER_S, and from time to time.

    Raises Absent after `timeout_s`, and ValueError where process 0 cannot listen, or another start gave this number.
    """
    if place.n_processes > 1:
        asyncio.run(_meet(Roll(place, {place.own}), timeout_s, say))


async def _meet(roll: Roll, timeout_s: float, say) -> None:
    speaker = asyncio.create_task(_speak(roll, timeout_s, say))
    meeting = asyncio.create_task((_listen if roll.place.own == 0 else _answer)(roll))
    await asyncio.wait([meeting], timeout=timeout_s)
    speaker.cancel()
    if not meeting.done():
        why = f"process {roll.place.own} gave up after {timeout_s:g} s (--join-timeout-s): {roll.awaited()}"
        roll.tell(gave_up=why)  # so that all end with the same words, and none takes this one for missing
        raise Absent(why)
    meeting.result()


async def _speak(roll: Roll, timeout_s: float, say) -> None:
    await asyncio.sleep(SAY_AFTER_S)
    while True:
        say(f"process {roll.place.own} waits, {timeout_s:g} s at most (--join-timeout-s): {roll.awaited()}")
        await asyncio.sleep(SAY_EVERY_S)


async def _listen(roll: Roll) -> None:
    """Process 0: until all have come."""
    complete = asyncio.get_running_loop().create_future()

    def tell_all() -> None:
        roll.here = {0, *roll.connected}
        if len(roll.here) == roll.place.n_processes:
            server.close()  # first: who is told that all are here looks for jax at this port
            complete.set_result(None)
        roll.tell(here=sorted(roll.here))

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = None
        try:
            said = await _receive(reader)
            if refusal := _refusal(said, roll):
                _send(writer, refused=refusal)
                return
            number = said["process"]
            roll.connected[number] = writer
            tell_all()
            if said := await _receive(reader):  # empty when it leaves: for jax, or for good
                roll.tell(**said)
                complete.set_exception(Absent(said["gave_up"]))
        except (OSError, ValueError, KeyError, TypeError, asyncio.CancelledError):
            pass  # no process of a run, but whoever looks at open ports; it may be here still at the end
        finally:
            if number is not None:
                del roll.connected[number]
                if not complete.done():
                    tell_all()
            writer.close()

    server = await _open(roll.place, hear)
    try:
        await complete
        for _ in range(100):  # they close first, within a second, and the port is free at once
            if roll.connected:
                await asyncio.sleep(0.01)
    finally:
        server.close()


async def _open(place: Place, hear) -> asyncio.Server:
    bound = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", f"[::]:{place.host_and_port[1]}")  # as jax does
    host, port = _split(bound, "JAX_COORDINATOR_BIND_ADDRESS")
    try:
        if host == "::" and socket.has_dualstack_ipv6():
            listener = socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=True)
            return await asyncio.start_server(hear, sock=listener)
        return await asyncio.start_server(hear, None if host == "::" else host, port)
    except OSError as error:
        raise ValueError(
            f"process 0 cannot listen at {place.address}: {error.strerror or error}; wanted a free port of this machine"
        ) from None


def _refusal(said: dict, roll: Roll) -> str:
    """Why a process that calls itself so cannot be one of this run; empty where it can."""
    number, n_processes = said["process"], said["n_processes"]
    if n_processes != roll.place.n_processes:
        return f"it was started as one of {n_processes} processes, process 0 as one of {roll.place.n_processes}"
    if number in roll.here:
        return f"a process {number} is there already: wanted another number for each process"
    return ""


async def _answer(roll: Roll) -> None:
    """The others: until process 0 says that all are here."""
    place = roll.place
    while True:
        try:
            reader, writer = await asyncio.open_connection(*place.host_and_port)
        except OSError as error:
            roll.trouble = os.strerror(error.errno) if (error.errno or 0) > 0 else str(error)
        else:
            try:
                if await _hear_all(roll, reader, writer):
                    return
            except (Refused, Absent):
                raise
            except (OSError, ValueError, KeyError, TypeError):
                pass  # no process 0 of a run
            finally:
                writer.close()
            roll.trouble = "it closes the connection"
        await asyncio.sleep(RETRY_S)


async def _hear_all(roll: Roll, reader, writer) -> bool:
    """Whether process 0 has said that all are here; False where it went away."""
    place = roll.place
    roll.connected = {0: writer}
    _send(writer, process=place.own, n_processes=place.n_processes)
    while said := await _receive(reader):
        if "refused" in said:
            raise Refused(f"process 0 at {place.address} refuses process {place.own}: {said['refused']}")
        if "gave_up" in said:
            raise Absent(said["gave_up"])
        roll.here, roll.trouble = set(said["here"]), ""
        if len(roll.here) == place.n_processes:
            return True
    return False


def _send(writer: asyncio.StreamWriter, **said) -> None:
    writer.write(json.dumps(said).encode() + b"\n")


async def _receive(reader: asyncio.StreamReader) -> dict:
    """Empty where the other side is gone."""
    line = await reader.readline()
    return json.loads(line) if line else {}


def _split(address: str, name: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise ValueError(f"{name} = {address}: wanted HOST:PORT")
    return host.strip("[]"), int(port)


def _listed(numbers: list[int]) -> str:
    rest = len(numbers) - MOST_NAMED
    return ", ".join(map(str, numbers[:MOST_NAMED])) + (f" and {rest} more" if rest > 0 else "")
