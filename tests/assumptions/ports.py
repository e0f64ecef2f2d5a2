#!/usr/bin/env python3
"""Ports that must be known before anything listens on them.

    python3 tests/assumptions/ports.py COUNT        prints so many, and holds them until it is ended
"""

import os
import signal
import socket
import sys


class Ports:
    """Ports that must be known before anything listens on them, as `free_port` of crates/log/src/testing/ports.rs gives them.

    A block of 256 below the ports that the system gives to outgoing connections, whose first is held for the life of this
    process: what was handed out stays free until its server takes it, also while that server is down.
    """

    FIRST, SIZE, BLOCKS = 10_240, 256, 87

    def __init__(self):
        bases = (self.FIRST + (os.getpid() + step) % self.BLOCKS * self.SIZE for step in range(self.BLOCKS))
        self.guard = next(filter(None, map(self.listen, bases)), None)
        if self.guard is None:
            raise RuntimeError("no block of free ports from 10240 to 32511: end other runs")
        self.base, self.given = self.guard.getsockname()[1], 0

    @staticmethod
    def listen(port):
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(1)
            return listener
        except OSError:
            listener.close()
            return None

    def free(self):
        for _ in range(1, self.SIZE):
            port = self.base + 1 + self.given % (self.SIZE - 1)
            self.given += 1
            if probe := self.listen(port):
                probe.close()
                return port
        raise RuntimeError(f"no free port in the block of {self.base}")


if __name__ == "__main__":
    ports = Ports()
    print(*(ports.free() for _ in range(int(sys.argv[1]))), flush=True)
    signal.pause()
