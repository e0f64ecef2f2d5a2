"""A real nats-server in a folder of its own, and the few JetStream requests that the assumptions need.

Requests are raw JSON on `$JS.API.>`, so that an assumption is about the server and never about a client library.
"""

import asyncio
import ctypes
import json
import logging
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import nats

from ports import Ports

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 15
logging.getLogger("asyncio").setLevel(logging.ERROR)


def binary():
    """The nats-server to test against: ISTHMUS_NATS_SERVER, .tools/nats-server, PATH."""
    named = os.environ.get("ISTHMUS_NATS_SERVER")
    fetched = ROOT / ".tools" / "nats-server"
    found = named or (str(fetched) if fetched.exists() else shutil.which("nats-server"))
    if not found:
        raise RuntimeError("no nats-server: run tools/nats-server")
    return found


def since(version):
    """Skips a test on a nats-server that is older than this."""
    said = subprocess.run([binary(), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v(\d+)\.(\d+)", said)
    older = tuple(map(int, found.groups())) < tuple(map(int, version.split(".")))
    return unittest.skipIf(older, f"nats-server before {version} differs")


PORTS = Ports()


def free_port():
    return PORTS.free()


def die_with_parent():
    if sys.platform == "linux":
        set_parent_death_signal = 1
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)


def measured(text):
    """Says a number that docs/assumptions-nats.md quotes."""
    print(f"measured: {text}", file=sys.stderr)


async def until(condition, seconds, what):
    """Waits until the condition (a function, plain or async) holds, at most `seconds`; returns what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        await asyncio.sleep(0.02)


class Refused(Exception):
    """The server's answer to a JetStream request was an error."""

    def __init__(self, error):
        super().__init__(f"{error['code']} {error.get('err_code')} {error.get('description')}")
        self.code = error["code"]
        self.err_code = error.get("err_code")


class Server:
    """One nats-server process; `settings` is appended to its configuration file."""

    def __init__(self, folder, name="n1", jetstream="", settings=""):
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir(parents=True)
        self.name, self.jetstream, self.settings = name, jetstream, settings
        self.port, self.monitoring = free_port(), free_port()
        self.process = None

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    @property
    def store(self):
        return self.folder / "store"

    def start(self):
        configuration = self.folder / "nats.conf"
        configuration.write_text(
            f"server_name: {self.name}\nlisten: 127.0.0.1:{self.port}\nhttp: 127.0.0.1:{self.monitoring}\n"
            f'jetstream {{ store_dir: "{self.store}"\n{self.jetstream} }}\n{self.settings}\n'
        )
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [binary(), "--config", str(configuration)], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                preexec_fn=die_with_parent,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"nats-server {self.name} did not start:\n{self.log()}") from None
                time.sleep(0.02)

    def log(self):
        return (self.folder / "log").read_text()

    def end(self, how=signal.SIGTERM):
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def kill(self):
        self.end(signal.SIGKILL)


class RegionTest(unittest.IsolatedAsyncioTestCase):
    """A test with servers and connections that end with it."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="isthmus-assumption-")
        self.addCleanup(shutil.rmtree, self.folder)

    def server(self, **arguments):
        server = Server(self.folder, **arguments)
        self.addCleanup(server.end, signal.SIGKILL)
        return server.start()

    async def connect(self, server, **options):
        client = await nats.connect(
            server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.05, connect_timeout=5,
            error_cb=self.ignore, **options,
        )
        self.addAsyncCleanup(client.close)
        return client

    async def ignore(self, _error):
        """A connection that drops is part of several assumptions."""

    async def processed(self, client):
        """Waits until the server has processed all that the client sent: `flush` alone may write its ping before what waits to be written."""
        await client.flush()
        await client.flush()

    async def back(self, client):
        """Waits until the connection reaches a server whose JetStream answers."""

        async def answers():
            try:
                return await self.api(client, "INFO", timeout=1)
            except (Refused, nats.errors.Error, OSError):
                return None

        return await until(answers, 20, "the server answers again")

    async def api(self, client, request, body=None, timeout=5):
        """The answer to `$JS.API.<request>`; raises Refused."""
        payload = b"" if body is None else json.dumps(body).encode()
        answer = json.loads((await client.request(f"$JS.API.{request}", payload, timeout=timeout)).data)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer

    async def refused(self, err_code, awaitable):
        """Asserts that the request is refused with this err_code."""
        with self.assertRaises(Refused) as caught:
            await awaitable
        self.assertEqual(caught.exception.err_code, err_code, str(caught.exception))

    async def log_stream(self, client, name="LOG", subjects=("log.>",), **settings):
        """A stream with the settings of a shard's log."""
        configuration = dict(
            name=name, subjects=list(subjects), storage="file", retention="limits", discard="new", num_replicas=1,
            max_bytes=64 << 20, deny_delete=True, allow_direct=False, duplicate_window=0,
        )
        configuration.update(settings)
        return await self.api(client, f"STREAM.CREATE.{name}", configuration)

    async def append(self, client, subject="log.a", data=b"x", headers=None, timeout=5):
        """The sequence at which the message was stored; raises Refused."""
        answer = json.loads((await client.request(subject, data, timeout=timeout, headers=headers)).data)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["seq"]

    async def state(self, client, name="LOG"):
        return (await self.api(client, f"STREAM.INFO.{name}"))["state"]

    async def consumer(self, client, stream="LOG", name="reader", **settings):
        configuration = dict(durable_name=name, ack_policy="all", deliver_policy="all")
        configuration.update(settings)
        return await self.api(
            client, f"CONSUMER.CREATE.{stream}.{configuration.get('durable_name') or name}",
            dict(stream_name=stream, config=configuration),
        )

    async def pull(self, client, stream="LOG", name="reader", batch=100, wait=10):
        """The messages of one pull request, until its batch is full or `wait` has passed."""
        inbox = client.new_inbox()
        answers = await client.subscribe(inbox)
        request = dict(batch=batch, expires=int(wait * 1e9))
        await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", json.dumps(request).encode(), reply=inbox)
        messages = []
        try:
            while len(messages) < batch:
                message = await answers.next_msg(timeout=wait + 2)
                if message.headers and "Status" in message.headers:
                    break
                messages.append(message)
        finally:
            await answers.unsubscribe()
        return messages


def sequence(message):
    """The stream sequence of a message that a consumer delivered."""
    return int(message.reply.split(".")[-4])


def timestamp(message):
    """The stored time of a message that a consumer delivered, in nanoseconds."""
    return int(message.reply.split(".")[-2])
