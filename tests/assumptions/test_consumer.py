"""What design.md section 5 relies on in the pull consumers that read a log."""

import asyncio
import json

from region import RegionTest, sequence, since, until

NO_CONSUMER, BELOW_START = 10014, 10204


class Consumer(RegionTest):
    async def asyncSetUp(self):
        self.nats = self.server()
        self.client = await self.connect(self.nats)
        await self.log_stream(self.client)
        for number in range(1, 11):
            await self.append(self.client, data=b"%d" % number)

    async def sequences(self, **arguments):
        return [sequence(message) for message in await self.pull(self.client, **arguments)]

    async def start_at(self, position, name="reader"):
        await self.consumer(self.client, name=name, deliver_policy="by_start_sequence", opt_start_seq=position)

    async def test_a_consumer_starts_at_the_sequence_that_it_names(self):
        await self.start_at(4)
        self.assertEqual(await self.sequences(batch=7), [4, 5, 6, 7, 8, 9, 10])

    async def test_a_consumer_asked_for_a_trimmed_sequence_starts_later_without_a_word(self):
        await self.api(self.client, "STREAM.PURGE.LOG", dict(seq=8))
        await self.start_at(4)
        self.assertEqual(await self.sequences(batch=3), [8, 9, 10])

    async def test_a_consumer_whose_next_message_is_trimmed_under_it_goes_on_later_without_a_word(self):
        await self.start_at(1)
        self.assertEqual(await self.sequences(batch=3), [1, 2, 3])
        await self.api(self.client, "STREAM.PURGE.LOG", dict(seq=8))
        self.assertEqual(await self.sequences(batch=3), [8, 9, 10])

    async def test_a_consumer_asked_for_a_sequence_beyond_the_end_delivers_nothing_before_it(self):
        await self.start_at(13)
        self.assertEqual(await self.sequences(batch=1, wait=0.3), [])
        for _ in range(5):
            await self.append(self.client)
        self.assertEqual(await self.sequences(batch=3), [13, 14, 15])

    async def test_each_message_carries_the_number_of_waiting_messages(self):
        await self.start_at(1)
        [first, second] = await self.pull(self.client, batch=2)
        self.assertEqual([message.reply.split(".")[-1] for message in (first, second)], ["9", "8"])

    async def test_acknowledging_one_message_acknowledges_all_before_it(self):
        await self.start_at(1)
        messages = await self.pull(self.client, batch=10)
        await self.client.request(messages[5].reply, b"+ACK", timeout=10)
        state = await self.api(self.client, "CONSUMER.INFO.LOG.reader")
        self.assertEqual((state["ack_floor"]["stream_seq"], state["num_ack_pending"]), (6, 4))

    async def test_what_is_not_acknowledged_is_delivered_again_only_after_ack_wait(self):
        await self.consumer(self.client, ack_wait=int(3e9))
        await self.pull(self.client, batch=10)
        self.assertEqual(await self.sequences(batch=1, wait=0.2), [])
        self.assertEqual(await self.sequences(batch=1, wait=10), [1])

    async def test_a_reader_that_acknowledges_nothing_stops_at_one_thousand_unless_its_limit_is_lifted(self):
        await asyncio.gather(*(self.append(self.client, timeout=60) for _ in range(1200)))
        await self.consumer(self.client, name="default")
        await self.consumer(self.client, name="lifted", max_ack_pending=-1)
        self.assertEqual(len(await self.pull(self.client, name="default", batch=1000)), 1000)
        self.assertEqual(await self.pull(self.client, name="default", batch=1, wait=0.5), [])
        self.assertEqual(len(await self.pull(self.client, name="lifted", batch=1210)), 1210)

    async def reset(self, position, name="reader"):
        return await self.api(self.client, f"CONSUMER.RESET.LOG.{name}", dict(seq=position))

    @since("2.14")
    async def test_a_durable_consumer_is_put_at_any_kept_sequence_by_reset(self):
        await self.consumer(self.client)
        messages = await self.pull(self.client, batch=10)
        await self.client.request(messages[7].reply, b"+ACK", timeout=10)
        for position in (9, 4, 1):
            self.assertEqual((await self.reset(position))["reset_seq"], position)
            self.assertEqual(await self.sequences(batch=11 - position), list(range(position, 11)))

    @since("2.14")
    async def test_reset_never_goes_below_the_sequence_that_the_consumer_was_created_with(self):
        await self.start_at(3)
        await self.refused(BELOW_START, self.reset(2))

    @since("2.14")
    async def test_reset_to_a_trimmed_sequence_starts_later_without_a_word(self):
        await self.consumer(self.client)
        await self.api(self.client, "STREAM.PURGE.LOG", dict(seq=8))
        self.assertEqual((await self.reset(4))["reset_seq"], 4)
        self.assertEqual(await self.sequences(batch=3), [8, 9, 10])

    async def test_a_consumer_is_never_ahead_of_its_place_after_kill_9_of_the_server(self):
        await self.start_at(1)
        messages = await self.pull(self.client, batch=4)
        await self.client.request(messages[-1].reply, b"+ACK", timeout=10)
        self.nats.kill()
        self.nats.start()
        await self.back(self.client)
        [first, *rest] = await self.sequences(batch=3)
        self.assertIn(first, range(1, 6))
        self.assertEqual(rest, [first + 1, first + 2])

    async def test_a_pull_that_waits_while_the_server_restarts_is_never_answered(self):
        await self.start_at(11)
        inbox = self.client.new_inbox()
        answers = await self.client.subscribe(inbox)
        request = json.dumps(dict(batch=1, expires=int(60e9))).encode()
        await self.client.publish("$JS.API.CONSUMER.MSG.NEXT.LOG.reader", request, reply=inbox)
        await self.processed(self.client)
        self.nats.kill()
        self.nats.start()
        await self.back(self.client)
        await self.append(self.client)
        self.assertEqual(await self.sequences(batch=1), [11], "a second pull gets what the first one should have")
        self.assertEqual(answers.pending_msgs, 0)

    async def status(self, request, act=None, wait=15):
        """The first message without data that answers the pull request."""
        inbox = self.client.new_inbox()
        answers = await self.client.subscribe(inbox)
        await self.client.publish("$JS.API.CONSUMER.MSG.NEXT.LOG.reader", json.dumps(request).encode(), reply=inbox)
        await self.processed(self.client)
        if act:
            await act
        return (await answers.next_msg(timeout=wait)).headers

    async def test_an_idle_pull_beats_when_asked_to(self):
        await self.start_at(11)
        headers = await self.status(dict(batch=1, expires=int(5e9), idle_heartbeat=int(0.5e9)))
        self.assertEqual(headers["Status"], "100")

    async def test_a_pull_that_expires_says_408(self):
        await self.start_at(11)
        self.assertEqual((await self.status(dict(batch=1, expires=int(0.3e9))))["Status"], "408")

    async def test_a_waiting_pull_learns_that_its_consumer_was_deleted(self):
        await self.start_at(11)
        headers = await self.status(
            dict(batch=1, expires=int(60e9)), act=self.api(self.client, "CONSUMER.DELETE.LOG.reader"))
        self.assertEqual((headers["Status"], headers["Description"]), ("409", "Consumer Deleted"))
        await self.refused(NO_CONSUMER, self.api(self.client, "CONSUMER.INFO.LOG.reader"))

    async def test_a_pull_on_a_consumer_that_does_not_exist_gets_no_responders(self):
        self.assertEqual((await self.status(dict(batch=1, expires=int(5e9))))["Status"], "503")

    async def test_a_pull_after_its_stream_was_deleted_gets_no_responders(self):
        await self.start_at(11)
        await self.api(self.client, "STREAM.DELETE.LOG")
        self.assertEqual((await self.status(dict(batch=1, expires=int(5e9))))["Status"], "503")

    async def test_an_ephemeral_consumer_ends_when_nobody_pulls(self):
        await self.api(self.client, "CONSUMER.CREATE.LOG.passing", dict(stream_name="LOG", config=dict(
            name="passing", ack_policy="none", inactive_threshold=int(0.5e9), mem_storage=True)))

        async def gone():
            return (await self.api(self.client, "STREAM.INFO.LOG"))["state"]["consumer_count"] == 0

        await until(gone, 15, "the consumer is gone")

    async def test_two_readers_get_the_same_messages_in_the_same_order(self):
        await self.start_at(1, "one")
        await self.start_at(1, "two")
        one, two = await asyncio.gather(self.pull(self.client, name="one", batch=10), self.pull(self.client, name="two", batch=10))
        self.assertEqual([(sequence(m), m.data) for m in one], [(sequence(m), m.data) for m in two])
