"""What design.md section 5 relies on in one stream."""

import asyncio
import base64
import json
import urllib.request

from nats.errors import NoRespondersError

from region import Refused, RegionTest, measured, sequence, timestamp, until

MAXIMUM_BYTES, WRONG_LAST_SEQUENCE, EXISTS_DIFFERENT, NO_STREAM, NO_MESSAGE = 10077, 10071, 10058, 10059, 10037
DELETE_DENIED, SUBJECTS_OVERLAP = 10057, 10065


class Log(RegionTest):
    async def asyncSetUp(self):
        self.nats = self.server()
        self.client = await self.connect(self.nats)

    async def test_appends_of_one_connection_are_stored_in_order_without_gaps(self):
        await self.log_stream(self.client)
        sequences = await asyncio.gather(*(self.append(self.client, data=b"%d" % n, timeout=60) for n in range(2000)))
        self.assertEqual(sequences, list(range(1, 2001)))

    async def test_a_refused_append_takes_no_sequence(self):
        await self.log_stream(self.client)
        await self.append(self.client)
        wrong = {"Nats-Expected-Last-Subject-Sequence": "7"}
        await self.refused(WRONG_LAST_SEQUENCE, self.append(self.client, headers=wrong))
        self.assertEqual(await self.append(self.client), 2)

    async def test_the_same_bytes_are_stored_twice_when_there_is_no_message_id(self):
        await self.log_stream(self.client)
        self.assertEqual([await self.append(self.client), await self.append(self.client)], [1, 2])

    async def test_discard_new_refuses_when_full_and_takes_appends_again_after_a_purge(self):
        await self.log_stream(self.client, max_bytes=64 << 10)
        stored = 0
        with self.assertRaises(Refused) as full:
            for _ in range(100):
                stored = await self.append(self.client, data=bytes(8 << 10))
        self.assertEqual(full.exception.err_code, MAXIMUM_BYTES)
        state = await self.state(self.client)
        self.assertEqual((state["first_seq"], state["last_seq"]), (1, stored))
        await self.api(self.client, "STREAM.PURGE.LOG", dict(seq=stored))
        self.assertEqual(await self.append(self.client, data=bytes(8 << 10)), stored + 1)

    async def test_a_full_log_refuses_one_subject_and_the_other_alike(self):
        await self.log_stream(self.client, max_bytes=16 << 10)
        await self.append(self.client, data=bytes(8 << 10))
        for subject in ("log.a", "log.b"):
            await self.refused(MAXIMUM_BYTES, self.append(self.client, subject, bytes(12 << 10)))

    async def test_purge_keeps_the_sequence_that_it_names(self):
        await self.log_stream(self.client)
        for _ in range(10):
            await self.append(self.client)
        answer = await self.api(self.client, "STREAM.PURGE.LOG", dict(seq=5))
        self.assertEqual(answer["purged"], 4)
        state = await self.state(self.client)
        self.assertEqual((state["first_seq"], state["last_seq"]), (5, 10))

    async def test_an_emptied_log_goes_on_counting_also_after_kill_9(self):
        await self.log_stream(self.client)
        for _ in range(10):
            await self.append(self.client)
        await self.api(self.client, "STREAM.PURGE.LOG")
        state = await self.state(self.client)
        self.assertEqual((state["messages"], state["first_seq"], state["last_seq"]), (0, 11, 10))
        self.nats.kill()
        self.nats.start()
        await self.back(self.client)
        state = await self.state(self.client)
        self.assertEqual((state["messages"], state["first_seq"], state["last_seq"]), (0, 11, 10))
        self.assertEqual(await self.append(self.client), 11)

    async def test_a_purge_by_subject_leaves_holes_so_it_is_never_used(self):
        await self.log_stream(self.client)
        for subject in ("log.a", "log.b", "log.a"):
            await self.append(self.client, subject)
        await self.api(self.client, "STREAM.PURGE.LOG", dict(filter="log.b"))
        await self.consumer(self.client)
        self.assertEqual([sequence(m) for m in await self.pull(self.client, batch=2)], [1, 3])

    async def test_deny_delete_refuses_a_delete_and_still_allows_a_purge(self):
        await self.log_stream(self.client)
        for _ in range(3):
            await self.append(self.client)
        await self.refused(DELETE_DENIED, self.api(self.client, "STREAM.MSG.DELETE.LOG", dict(seq=2)))
        self.assertEqual((await self.api(self.client, "STREAM.PURGE.LOG", dict(seq=3)))["purged"], 2)

    async def test_deny_delete_cannot_be_taken_back(self):
        created = await self.log_stream(self.client)
        with self.assertRaises(Refused):
            await self.api(self.client, "STREAM.UPDATE.LOG", dict(created["config"], deny_delete=False))

    async def test_without_allow_direct_nobody_answers_a_direct_get(self):
        await self.log_stream(self.client)
        await self.append(self.client)
        with self.assertRaises(NoRespondersError):
            await self.client.request("$JS.API.DIRECT.GET.LOG.log.a", b"", timeout=2)

    async def test_a_message_is_read_back_by_its_sequence_with_headers_and_time(self):
        await self.log_stream(self.client)
        await self.append(self.client, data=b"batch", headers={"Isthmus-Message": "0123456789abcdef"})
        message = (await self.api(self.client, "STREAM.MSG.GET.LOG", dict(seq=1)))["message"]
        self.assertEqual(base64.b64decode(message["data"]), b"batch")
        self.assertIn(b"Isthmus-Message: 0123456789abcdef", base64.b64decode(message["hdrs"]))
        self.assertTrue(message["time"])
        await self.refused(NO_MESSAGE, self.api(self.client, "STREAM.MSG.GET.LOG", dict(seq=2)))

    async def test_every_reader_sees_the_same_stored_time_also_after_a_restart(self):
        await self.log_stream(self.client)
        for _ in range(50):
            await self.append(self.client)
        await self.consumer(self.client, name="before")
        before = [timestamp(m) for m in await self.pull(self.client, name="before", batch=50)]
        self.assertEqual(before, sorted(before))
        self.nats.end()
        self.nats.start()
        await self.back(self.client)
        await self.consumer(self.client, name="after")
        self.assertEqual([timestamp(m) for m in await self.pull(self.client, name="after", batch=50)], before)

    async def test_what_was_acknowledged_survives_kill_9_of_the_server(self):
        await self.log_stream(self.client)
        # All are asked at once, so that the last one waits for all the others.
        appends = (self.append(self.client, data=bytes(512), timeout=60) for _ in range(5000))
        sequences = await asyncio.gather(*appends)
        self.nats.kill()
        self.nats.start()
        await self.back(self.client)
        self.assertEqual((await self.state(self.client))["last_seq"], max(sequences))

    async def test_the_default_is_to_fsync_every_two_minutes(self):
        default = await self.sync_interval(self.nats)
        self.assertEqual(default, (120_000_000_000, False))
        always = self.server(name="n2", jetstream="sync_interval: always")
        self.assertTrue((await self.sync_interval(always))[1])
        measured(f"default sync_interval {default[0] / 1e9:.0f} s")

    async def test_creating_the_same_stream_again_is_harmless_and_another_configuration_is_refused(self):
        created = await self.log_stream(self.client)
        await self.append(self.client)
        again = await self.log_stream(self.client)
        self.assertEqual((again["created"], again["state"]["last_seq"]), (created["created"], 1))
        await self.refused(EXISTS_DIFFERENT, self.log_stream(self.client, max_bytes=1 << 20))

    async def test_two_streams_never_share_a_subject(self):
        await self.log_stream(self.client)
        await self.refused(SUBJECTS_OVERLAP, self.log_stream(self.client, name="OTHER", subjects=["log.a"]))

    async def test_a_missing_stream_says_10059(self):
        await self.refused(NO_STREAM, self.api(self.client, "STREAM.INFO.LOG"))

    async def test_a_stream_of_the_same_name_starts_again_at_one(self):
        created = await self.log_stream(self.client)
        for _ in range(5):
            await self.append(self.client)
        await self.api(self.client, "STREAM.DELETE.LOG")
        again = await self.log_stream(self.client)
        self.assertEqual(await self.append(self.client), 1)
        self.assertNotEqual(again["created"], created["created"])

    async def test_max_payload_counts_headers_and_a_message_above_it_ends_the_connection(self):
        limit = self.client.max_payload
        self.assertEqual(limit, 1 << 20)
        self.assertIn(b"Maximum Payload Violation", await self.said_to(b"PUB log.a %d\r\n" % (limit + 1)))
        headers = 30
        self.assertIn(b"Maximum Payload Violation", await self.said_to(b"HPUB log.a %d %d\r\n" % (headers, limit + headers)))

    async def said_to(self, line):
        """All that the server says to a connection that sends this line, until the server ends it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.nats.port)
        self.addCleanup(writer.close)
        writer.write(b'CONNECT {"headers":true}\r\n' + line)
        return await asyncio.wait_for(reader.read(), 5)

    async def sync_interval(self, server):
        with urllib.request.urlopen(f"http://127.0.0.1:{server.monitoring}/jsz") as answer:
            configuration = json.load(answer)["config"]
        return configuration.get("sync_interval"), configuration.get("sync_always", False)
