"""What design.md section 7 relies on in the lease bucket (a JetStream key-value bucket with message TTLs)."""

import asyncio
import time

from region import RegionTest, measured, until

WRONG_LAST_SEQUENCE, BAD_TTL = 10071, 10165


class Lease(RegionTest):
    async def asyncSetUp(self):
        self.nats = self.server()
        self.client = await self.connect(self.nats)
        await self.api(self.client, "STREAM.CREATE.KV_LEASES", dict(
            name="KV_LEASES", subjects=["$KV.LEASES.>"], storage="file", max_msgs_per_subject=1, discard="new",
            allow_rollup_hdrs=True, deny_delete=True, allow_direct=True, allow_msg_ttl=True,
            subject_delete_marker_ttl=60_000_000_000, num_replicas=1,
        ))
        self.seen = []
        await self.client.subscribe("watch", cb=self.watch)
        await self.api(self.client, "CONSUMER.CREATE.KV_LEASES.watch", dict(stream_name="KV_LEASES", config=dict(
            name="watch", deliver_subject="watch", deliver_policy="last_per_subject", ack_policy="none",
            filter_subject="$KV.LEASES.>",
            inactive_threshold=30_000_000_000,
        )))

    async def watch(self, message):
        self.seen.append((time.monotonic(), message.subject, message.headers or {}))

    async def publish(self, expected, ttl="1s", data=b"gateway-1", name="leader"):
        """Takes or renews the lease; the revision."""
        headers = {"Nats-Expected-Last-Subject-Sequence": str(expected)}
        if ttl:
            headers["Nats-TTL"] = ttl
        return await self.append(self.client, f"$KV.LEASES.{name}", data, headers)

    def marker(self, name="leader"):
        """(when, headers) of the expiry marker that the watcher was sent, if it was."""
        markers = ((at, headers) for at, subject, headers in self.seen
                   if subject == f"$KV.LEASES.{name}" and "Nats-Marker-Reason" in headers)
        return next(markers, None)

    async def another_lease_ran_out(self, ttl):
        """Takes another lease and waits for its end: everything taken before with the same TTL has ended too."""
        await self.publish(0, ttl, name="other")
        await until(lambda: self.marker("other"), 15, "the expiry marker of the other lease")

    async def test_a_watcher_sees_a_lease_expire_a_second_after_renewal(self):
        asked = time.monotonic()
        await self.publish(0)
        taken = time.monotonic()
        at, headers = await until(self.marker, 15, "the expiry marker")
        self.assertEqual(headers["Nats-Marker-Reason"], "MaxAge")
        self.assertGreater(at - asked, 0.9)
        self.assertLess(at - taken, 5)
        measured(f"a lease of 1 s expired after {at - taken:.3f} s")

    async def test_a_renewal_that_states_its_ttl_and_the_expected_sequence_keeps_the_lease(self):
        revision = await self.publish(0, ttl="3s")
        for _ in range(6):
            await asyncio.sleep(0.8)
            asked = time.monotonic()
            revision = await self.publish(revision, ttl="3s")
        self.assertIsNone(self.marker())
        at, _ = await until(self.marker, 15, "the expiry marker")
        self.assertGreater(at - asked, 2.9)

    async def test_a_renewal_without_ttl_makes_the_lease_everlasting(self):
        revision = await self.publish(0, ttl="3s")
        await self.publish(revision, ttl=None)
        await self.another_lease_ran_out(ttl="3s")
        self.assertIsNone(self.marker())

    async def test_the_client_librarys_update_loses_the_ttl(self):
        bucket = await self.client.jetstream().key_value("LEASES")
        revision = await self.publish(0, ttl="3s")
        await bucket.update("leader", b"gateway-1", last=revision)
        await self.another_lease_ran_out(ttl="3s")
        self.assertIsNone(self.marker())

    async def test_the_least_ttl_is_one_second(self):
        for ttl in ("500ms", "0.5s"):
            await self.refused(BAD_TTL, self.publish(0, ttl=ttl))
        self.assertEqual(await self.publish(0, ttl="1s"), 1)

    async def test_of_two_that_take_a_free_lease_one_wins(self):
        outcomes = await asyncio.gather(*(self.publish(0, data=b"%d" % n) for n in range(8)), return_exceptions=True)
        self.assertEqual(sum(isinstance(outcome, int) for outcome in outcomes), 1)
        await self.refused(WRONG_LAST_SEQUENCE, self.publish(0))

    async def test_an_expired_lease_is_taken_with_the_sequence_of_its_marker_and_not_with_zero(self):
        await self.publish(0)
        await until(self.marker, 15, "the expiry marker")
        last = (await self.state(self.client, "KV_LEASES"))["last_seq"]
        self.assertEqual(last, 2)
        await self.refused(WRONG_LAST_SEQUENCE, self.publish(1))
        await self.refused(WRONG_LAST_SEQUENCE, self.publish(0))
        self.assertEqual(await self.publish(last), 3)

    async def test_a_lease_is_taken_over_before_it_expires_by_naming_its_revision(self):
        held = await self.publish(0, ttl="60s", data=b"gateway-1")
        taken = await self.publish(held, ttl="60s", data=b"gateway-2")
        await self.refused(WRONG_LAST_SEQUENCE, self.publish(held, data=b"gateway-1"))
        self.assertEqual(taken, held + 1)

    async def test_a_lease_that_ran_out_while_the_server_was_down_is_gone_after_its_restart(self):
        await self.publish(0)
        self.nats.kill()
        await asyncio.sleep(1.2)
        self.nats.start()
        await self.back(self.client)

        async def expired():
            state = await self.state(self.client, "KV_LEASES")
            return state["last_seq"] == 2

        await until(expired, 10, "the marker of the expired lease")
