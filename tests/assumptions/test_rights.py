"""What design.md section 12 relies on: what a NATS user without create rights can and cannot do."""

import asyncio
import base64
import json

import nats.errors

from region import RegionTest, sequence, since, until

CYCLE = 10081

USERS = """
authorization {
  users = [
    { user: operator, password: p }
    { user: agent, password: p, permissions: {
        publish: [ "log.a", "$JS.API.STREAM.INFO.LOG", "$JS.API.STREAM.PURGE.LOG", "$JS.API.INFO",
                   "$JS.API.CONSUMER.MSG.NEXT.LOG.agent", "$JS.API.CONSUMER.RESET.LOG.agent", "$JS.ACK.LOG.agent.>" ]
        subscribe: [ "_INBOX_agent.>" ] } }
    { user: creator, password: p, permissions: {
        publish: [ "log.a", "$JS.API.CONSUMER.CREATE.OTHER.>", "$JS.API.INFO" ], subscribe: [ "_INBOX.>" ] } }
    { user: neighbour, password: p, permissions: { publish: [ "log.b" ], subscribe: [ "_INBOX.>" ] } }
    { user: responder, password: p, permissions: {
        publish: [ "peer.>" ], subscribe: [ "peer.>" ], allow_responses: { max: 1, expires: "1m" } } }
  ]
}
"""


class Rights(RegionTest):
    async def asyncSetUp(self):
        self.nats = self.server(settings=USERS)
        self.operator = await self.connect_as("operator")
        await self.log_stream(self.operator)
        for number in range(10):
            await self.append(self.operator, data=b"%d" % number)

    async def connect_as(self, user, **options):
        return await self.connect(self.nats, user=user, password="p", **options)

    async def agent(self):
        await self.consumer(self.operator, name="agent")
        return await self.connect_as("agent", inbox_prefix=b"_INBOX_agent")

    async def test_an_agent_reads_and_acknowledges_through_a_consumer_that_the_operator_made(self):
        agent = await self.agent()
        messages = await self.pull(agent, name="agent", batch=10)
        self.assertEqual([sequence(message) for message in messages], list(range(1, 11)))
        await agent.publish(messages[-1].reply, b"+ACK")
        await self.processed(agent)
        info = await self.api(self.operator, "CONSUMER.INFO.LOG.agent")
        self.assertEqual(info["ack_floor"]["stream_seq"], 10)

    @since("2.14")
    async def test_an_agent_puts_that_consumer_back_and_trims_the_log(self):
        agent = await self.agent()
        await self.pull(agent, name="agent", batch=10)
        await self.api(agent, "CONSUMER.RESET.LOG.agent", dict(seq=3))
        self.assertEqual([sequence(message) for message in await self.pull(agent, name="agent", batch=8)], list(range(3, 11)))
        await self.api(agent, "STREAM.PURGE.LOG", dict(seq=4))
        self.assertEqual((await self.state(agent))["first_seq"], 4)

    async def test_an_agent_cannot_create_delete_or_write_under_another_origin(self):
        agent = await self.agent()
        for forbidden in ("$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.UPDATE.LOG", "$JS.API.STREAM.DELETE.LOG",
                          "$JS.API.CONSUMER.CREATE.LOG.x", "$JS.API.CONSUMER.DELETE.LOG.agent", "log.b"):
            with self.assertRaises(nats.errors.TimeoutError, msg=forbidden):
                await agent.request(forbidden, b"{}", timeout=0.3)
        self.assertEqual((await self.state(self.operator))["last_seq"], 10)

    async def eleventh(self):
        """(subject, data) of the eleventh message of the log, which holds ten, once it is there."""

        async def stored():
            return (await self.state(self.operator))["last_seq"] >= 11

        await until(stored, 15, "an eleventh message in the log")
        message = (await self.api(self.operator, "STREAM.MSG.GET.LOG", dict(seq=11)))["message"]
        return message["subject"], base64.b64decode(message["data"])

    async def test_an_answer_of_the_server_is_stored_under_any_subject_that_is_named_as_the_reply(self):
        agent = await self.agent()
        await agent.publish("$JS.API.STREAM.INFO.LOG", reply="log.b")
        subject, data = await self.eleventh()
        self.assertEqual(subject, "log.b")
        self.assertIn("stream_info_response", data.decode())

    async def test_a_pull_with_a_foreign_reply_stores_messages_again_under_the_subject_they_had(self):
        agent = await self.agent()
        await agent.publish("$JS.API.CONSUMER.MSG.NEXT.LOG.agent", b"1", reply="log.b")
        self.assertEqual(await self.eleventh(), ("log.a", b"0"))

    async def test_who_may_create_a_consumer_can_bring_messages_of_another_stream_into_the_log(self):
        await self.log_stream(self.operator, name="OTHER", subjects=["other"])
        await self.append(self.operator, "other", b"foreign")
        await self.operator.subscribe("log.b")
        await self.processed(self.operator)
        creator = await self.connect_as("creator")
        push = dict(name="x", deliver_subject="log.b", ack_policy="none", deliver_policy="all")
        await self.api(creator, "CONSUMER.CREATE.OTHER.x", dict(stream_name="OTHER", config=push))
        self.assertEqual(await self.eleventh(), ("other", b"foreign"))

    async def test_a_stream_is_never_made_to_write_into_itself(self):
        push = dict(name="x", deliver_subject="log.b", ack_policy="none", deliver_policy="all", filter_subject="log.a")
        await self.refused(CYCLE, self.api(
            self.operator, "CONSUMER.CREATE.LOG.x.log.a", dict(stream_name="LOG", config=push)))

    async def test_the_default_inbox_lets_one_user_read_what_another_asked_for(self):
        heard = asyncio.get_running_loop().create_future()
        neighbour = await self.connect_as("neighbour")

        async def overhear(message):
            if not heard.done():
                heard.set_result(message.data)

        await neighbour.subscribe("_INBOX.>", cb=overhear)
        await self.processed(neighbour)
        await self.api(self.operator, "STREAM.MSG.GET.LOG", dict(seq=1))
        self.assertIn("message", json.loads(await asyncio.wait_for(heard, 15)))

    async def test_an_inbox_prefix_of_its_own_is_not_overheard(self):
        neighbour = await self.connect_as("neighbour")
        await neighbour.subscribe("_INBOX_agent.>")
        await self.processed(neighbour)
        self.assertIn("permissions violation", str(neighbour.last_error).lower())


    async def test_who_may_answer_names_itself_any_subject_as_the_reply_and_may_publish_there(self):
        responder = await self.connect_as("responder")
        purge = "$JS.API.STREAM.PURGE.LOG"
        await responder.publish(purge)
        await self.processed(responder)
        self.assertEqual((await self.state(self.operator))["messages"], 10)
        heard = asyncio.get_running_loop().create_future()

        async def hear(message):
            heard.set_result(message.reply)

        await responder.subscribe("peer.question", cb=hear)
        await responder.publish("peer.question", reply=purge)
        self.assertEqual(await asyncio.wait_for(heard, 15), purge)
        await responder.publish(purge)
        await self.processed(responder)

        async def purged():
            return (await self.state(self.operator))["messages"] == 0

        await until(purged, 15, "the log is purged")


class Domain(RegionTest):
    """One server with a JetStream domain, and users that may ask by either of its names."""

    async def test_rights_are_judged_by_the_subject_that_a_domains_request_is_mapped_to(self):
        users = """
        authorization { users = [
          { user: mapped, password: p, permissions: { publish: [ "$JS.API.>" ], subscribe: [ "_INBOX.>" ] } }
          { user: literal, password: p, permissions: { publish: [ "$JS.west.API.>" ], subscribe: [ "_INBOX.>" ] } }
        ] }"""
        server = self.server(name="west", jetstream="domain: west", settings=users)
        mapped = await self.connect(server, user="mapped", password="p")
        literal = await self.connect(server, user="literal", password="p")
        self.assertEqual(json.loads((await mapped.request("$JS.west.API.INFO", b"", timeout=5)).data)["domain"], "west")
        with self.assertRaises(nats.errors.TimeoutError):
            await literal.request("$JS.west.API.INFO", b"", timeout=1)
