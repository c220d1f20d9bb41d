"""Program: an Ethernet switch between TAP devices, with delay, loss and silent cuts.

    python switch.py DELAY_MS LOSS_PERCENT SEED NAME=FILE_DESCRIPTOR ...

It reads commands from standard input, one a line, and prints each when it is in effect:

    isolate NAME     no frame goes to or comes from this host, and none is refused
    heal NAME        undoes it
    report           prints the frames that were forwarded, lost, and dropped by cuts

It ends when standard input does. The kernel's own `netem` is missing on many machines.
"""

import os
import random
import select
import sys
import time
from collections import deque
from typing import NamedTuple

#: Bytes of a frame, more than an MTU of 1500 needs.
FRAME_BYTES = 2_048
#: Frames read from one device before the next one has its turn.
BURST = 64
MAC_BYTES = 6


class Frame(NamedTuple):
    """A frame on its way; `due` is the time of the monotonic clock at which it arrives."""

    due: float
    source: int
    target: int
    data: bytes


class Switch:
    """Learns which device has which address, and forwards frames in order."""

    def __init__(self, devices: dict[str, int], delay: float, loss: float, seed: int) -> None:
        self._devices = devices
        self._delay = delay
        self._loss = loss
        self._random = random.Random(seed)
        self._isolated: set[int] = set()
        self._places: dict[bytes, int] = {}
        self._queue: deque[Frame] = deque()
        self._forwarded = self._lost = self._cut = 0
        self._poll = select.epoll()
        for descriptor in (sys.stdin.fileno(), *devices.values()):
            self._poll.register(descriptor, select.EPOLLIN)

    def run(self) -> None:
        """Forwards until standard input ends."""
        while True:
            wait = max(0.0, self._queue[0].due - time.monotonic()) if self._queue else -1
            for descriptor, _ in self._poll.poll(wait):
                if descriptor != sys.stdin.fileno():
                    self._receive(descriptor)
                elif not (command := sys.stdin.readline()):
                    return
                else:
                    print(self._obey(*command.split()), flush=True)
            self._deliver()

    def _obey(self, verb: str, name: str = "") -> str:
        if verb == "report":
            return f"{self._forwarded} {self._lost} {self._cut}"
        if verb == "isolate":
            self._isolated.add(self._devices[name])
        else:
            self._isolated.discard(self._devices[name])
        return f"{verb} {name}"

    def _receive(self, source: int) -> None:
        for _ in range(BURST):
            try:
                data = os.read(source, FRAME_BYTES)
            except BlockingIOError:
                return
            self._places[data[MAC_BYTES : 2 * MAC_BYTES]] = source
            known = self._places.get(data[:MAC_BYTES])
            targets = self._devices.values() if known is None else [known]
            due = time.monotonic() + self._delay
            self._queue.extend(Frame(due, source, to, data) for to in targets if to != source)

    def _deliver(self) -> None:
        """Cuts count on arrival, so that frames on their way are lost too."""
        while self._queue and self._queue[0].due <= time.monotonic():
            frame = self._queue.popleft()
            if not self._isolated.isdisjoint(frame[1:3]):
                self._cut += 1
            elif self._random.random() < self._loss:
                self._lost += 1
            else:
                self._forwarded += 1
                os.write(frame.target, frame.data)


def main() -> None:
    delay, loss, seed, *named = sys.argv[1:]
    devices = {name: int(number) for name, _, number in (word.partition("=") for word in named)}
    switch = Switch(devices, float(delay) / 1_000, float(loss) / 100, int(seed))
    print("ready", flush=True)
    switch.run()


if __name__ == "__main__":
    main()
