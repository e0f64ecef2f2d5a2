"""What design.md sections 5 and 7 rely on in a region of three servers with replicated streams (R3)."""

import asyncio
import time

import nats.errors

from region import Refused, RegionTest, free_port, measured, until

INSUFFICIENT_RESOURCES = 10023


class Region(RegionTest):
    """Three servers and a stream with a replica on each."""

    jetstream = ""
    log = dict(num_replicas=3)

    async def asyncSetUp(self):
        routes = [free_port() for _ in range(3)]
        urls = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        self.servers = {
            f"n{index}": self.server(
                name=f"n{index}", jetstream=self.jetstream,
                settings=f"cluster {{ name: region, listen: 127.0.0.1:{port}, routes: [{urls}] }}")
            for index, port in enumerate(routes, 1)
        }
        self.clients = {name: await self.connect(server) for name, server in self.servers.items()}
        self.client = self.clients["n1"]
        await until(self.created, 30, "a replicated stream can be made")

    async def created(self):
        try:
            return await self.log_stream(self.client, **self.log)
        except (Refused, nats.errors.Error):
            return None

    async def leader(self, client=None):
        """The name of the stream's leader, or None while it has none."""
        return (await self.api(client or self.client, "STREAM.INFO.LOG"))["cluster"].get("leader")

    async def append_again(self, client, seconds, data=b"x"):
        """Repeats an append until it is stored, as a publisher does; the sequence."""

        async def stored():
            try:
                return await self.append(client, data=data, timeout=0.5)
            except (Refused, nats.errors.Error):
                return None

        return await until(stored, seconds, "an append is stored")


class Replicated(Region):
    async def test_pipelined_appends_are_stored_in_order_without_gaps(self):
        sequences = await asyncio.gather(*(self.append(self.client, data=b"%d" % n, timeout=60) for n in range(1000)))
        self.assertEqual(sequences, list(range(1, 1001)))

    async def test_compare_and_set_allows_one_append_in_flight(self):
        first = await self.append(self.client)

        async def compare_and_set(expected):
            headers = {"Nats-Expected-Last-Subject-Sequence": str(expected)}
            return await self.append(self.client, headers=headers)

        outcomes = await asyncio.gather(*(compare_and_set(first + n) for n in range(8)), return_exceptions=True)
        stored = sum(isinstance(outcome, int) for outcome in outcomes)
        measured(f"R3: {stored} of 8 pipelined compare-and-set appends were stored")
        self.assertLess(stored, 8)

    async def no_responders(self, client):
        try:
            await self.append(client, timeout=0.5)
        except nats.errors.NoRespondersError:
            return True
        except nats.errors.TimeoutError:
            return False
        raise AssertionError("an append was stored without a leader")

    async def test_an_election_takes_seconds_in_which_nobody_answers_and_loses_nothing_acknowledged(self):
        acknowledged = await asyncio.gather(*(self.append(self.client, data=b"%d" % n, timeout=60) for n in range(200)))
        leader = await self.leader()
        survivor = next(client for name, client in self.clients.items() if name != leader)
        self.servers[leader].kill()
        killed = time.monotonic()
        await until(lambda: self.no_responders(survivor), 3, "an append without responders")
        with self.assertRaises(nats.errors.TimeoutError):
            await self.api(survivor, "STREAM.INFO.LOG", timeout=1)
        position = await self.append_again(survivor, 30)
        measured(f"R3: the first append after the stream leader was killed was stored after {time.monotonic() - killed:.1f} s")
        self.assertGreater(position, max(acknowledged))
        self.assertNotEqual(await self.leader(survivor), leader)

    async def test_without_a_majority_nothing_is_stored_and_the_stream_comes_back_with_it(self):
        await self.append(self.client)
        for name in ("n2", "n3"):
            self.servers[name].kill()
        with self.assertRaises((nats.errors.Error, Refused)):
            await self.append(self.client, timeout=2)
        self.servers["n2"].start()
        await self.append_again(self.client, 40)

    async def test_an_unanswered_append_may_be_stored_all_the_same_so_it_is_repeated_and_judged(self):
        await self.append(self.client)
        leader = await self.leader()
        follower = next(name for name in self.servers if name != leader)
        client = self.clients[follower]
        with self.assertRaises(nats.errors.TimeoutError):
            await self.append(client, data=b"late", timeout=0.000001)

        async def stored():
            return (await self.state(client))["last_seq"] == 2

        await until(stored, 10, "the append nobody waited for")

    async def test_a_follower_answers_stream_info_with_the_leaders_numbers(self):
        for _ in range(20):
            await self.append(self.client)
        for client in self.clients.values():
            self.assertEqual((await self.state(client))["last_seq"], 20)

    async def test_a_purge_and_the_sequence_after_it_hold_over_a_change_of_leader(self):
        for _ in range(10):
            await self.append(self.client)
        await self.api(self.client, "STREAM.PURGE.LOG", dict(seq=11))
        before = await self.leader()
        await self.api(self.client, "STREAM.LEADER.STEPDOWN.LOG")

        async def moved():
            try:
                return await self.leader() not in (None, before)
            except (Refused, nats.errors.Error):
                return False

        await until(moved, 20, "another leader")
        await self.append_again(self.client, 20)
        # An append that was not answered in time may be stored before the one that was.
        self.assertEqual((await self.state(self.client))["first_seq"], 11)


class ServerLimit(Region):
    """The server's own limit on storage is reached before the stream's max_bytes."""

    jetstream = "max_file_store: 8MB"
    log = dict(num_replicas=3, max_bytes=-1)

    async def test_the_servers_limit_wedges_a_replicated_stream_also_after_a_restart_of_all_servers(self):
        with self.assertRaises(Refused) as refused:
            for _ in range(30):
                await self.append(self.client, data=bytes(512 << 10))
        self.assertEqual(refused.exception.err_code, INSUFFICIENT_RESOURCES)
        await self.not_stored(seconds=5)
        for server in self.servers.values():
            server.end()
        for server in self.servers.values():
            server.start()
        await self.back(self.client)
        await self.not_stored(seconds=10)

    async def not_stored(self, seconds):
        with self.assertRaises(AssertionError):
            await self.append_again(self.client, seconds)
