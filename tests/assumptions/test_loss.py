"""What design.md section 5 (lives) relies on: a log can lose its tail and nothing in NATS says so."""

import base64
import shutil

from region import RegionTest


class LostTail(RegionTest):
    async def asyncSetUp(self):
        self.nats = self.server()
        self.client = await self.connect(self.nats)
        self.created = (await self.log_stream(self.client))["created"]
        for number in range(1, 6):
            await self.append(self.client, data=b"old %d" % number)
        await self.consumer(self.client, name="reader")
        await self.put_back_the_store_as_it_was_at_five()

    async def put_back_the_store_as_it_was_at_five(self):
        backup = self.nats.folder / "backup"
        self.nats.end()
        shutil.copytree(self.nats.store, backup)
        self.nats.start()
        await self.back(self.client)
        for number in range(6, 11):
            await self.append(self.client, data=b"old %d" % number)
        messages = await self.pull(self.client, batch=10)
        await self.client.request(messages[-1].reply, b"+ACK", timeout=10)
        self.nats.end()
        shutil.rmtree(self.nats.store)
        shutil.copytree(backup, self.nats.store)
        self.nats.start()
        await self.back(self.client)

    async def message(self, position):
        return base64.b64decode((await self.api(self.client, "STREAM.MSG.GET.LOG", dict(seq=position)))["message"]["data"])

    async def test_a_store_that_is_put_back_gives_the_same_sequences_again(self):
        self.assertEqual((await self.state(self.client))["last_seq"], 5)
        self.assertEqual(await self.append(self.client, data=b"new 6"), 6)
        self.assertEqual(await self.message(6), b"new 6")

    async def test_nothing_that_stream_info_says_has_changed_but_the_numbers(self):
        answer = await self.api(self.client, "STREAM.INFO.LOG")
        self.assertEqual(answer["created"], self.created)
        for number in range(6, 11):
            await self.append(self.client, data=b"new %d" % number)
        state = await self.state(self.client)
        self.assertEqual((state["first_seq"], state["last_seq"]), (1, 10))

    async def test_only_the_bytes_at_a_sequence_tell_so_a_position_carries_a_message_id(self):
        for number in range(6, 12):
            await self.append(self.client, data=b"new %d" % number)
        self.assertEqual((await self.message(5), await self.message(10)), (b"old 5", b"new 10"))

    async def test_a_consumers_place_is_lost_with_the_tail(self):
        place = (await self.api(self.client, "CONSUMER.INFO.LOG.reader"))["ack_floor"]["stream_seq"]
        self.assertEqual(place, 0)

    async def test_a_consumer_beyond_the_end_of_a_shortened_log_waits_for_its_sequence_without_a_word(self):
        await self.consumer(self.client, name="ahead", deliver_policy="by_start_sequence", opt_start_seq=11)
        for number in range(6, 11):
            await self.append(self.client, data=b"new %d" % number)
        self.assertEqual(await self.pull(self.client, name="ahead", batch=1, wait=0.3), [])
