"""What design.md section 5 (not writable) relies on: what a full disk looks like from outside."""

import pathlib
import subprocess

import nats.errors

from region import Refused, RegionTest, since

DISK, BALLAST = 36 << 20, 12 << 20
LARGE = bytes(512 << 10)
INSUFFICIENT_RESOURCES, NO_STORAGE, PURGE_FAILED, MAXIMUM_BYTES = 10023, 10047, 10051, 10077


class FullDisk(RegionTest):
    async def asyncSetUp(self):
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", self.folder], capture_output=True)
        if mounted.returncode != 0:
            self.skipTest("only root can mount the small file system that this needs")
        self.addCleanup(subprocess.run, ["umount", self.folder], check=True)
        self.ballast = pathlib.Path(self.folder) / "ballast"
        self.ballast.write_bytes(bytes(BALLAST))
        self.nats = self.server(jetstream="max_file_store: 1GB")
        self.client = await self.connect(self.nats)
        await self.log_stream(self.client)
        await self.api(self.client, "STREAM.CREATE.KV_LEASES", dict(
            name="KV_LEASES", subjects=["$KV.LEASES.>"], storage="file", max_msgs_per_subject=1, allow_msg_ttl=True))
        self.revision = await self.renew(0)
        self.last = await self.fill()

    async def renew(self, expected):
        headers = {"Nats-TTL": "30s", "Nats-Expected-Last-Subject-Sequence": str(expected)}
        return await self.append(self.client, "$KV.LEASES.leader", b"gateway-1", headers)

    async def stored(self):
        """The sequence of one large append, or None: 2.14 and later leave the append unanswered, earlier ones refuse it with the code of a full log."""
        try:
            return await self.append(self.client, data=LARGE, timeout=5)
        except nats.errors.TimeoutError:
            return None
        except Refused as refused:
            self.assertEqual(refused.err_code, MAXIMUM_BYTES)
            return None

    async def fill(self):
        """Appends until an append is not stored; the last sequence."""
        last = 0
        for _ in range(2 * DISK // len(LARGE)):
            position = await self.stored()
            if position is None:
                return last
            last = position
        raise AssertionError("the disk never became full")

    async def test_no_append_is_stored_while_stream_info_answers_and_leases_still_renew(self):
        self.assertIsNone(await self.stored())
        self.assertEqual(await self.renew(self.revision), self.revision + 1)
        self.assertEqual((await self.state(self.client))["last_seq"], self.last)

    @since("2.14")
    async def test_room_on_the_disk_helps_only_after_the_server_is_restarted(self):
        self.ballast.unlink()
        self.assertIsNone(await self.stored())
        self.nats.end()
        self.nats.start()
        await self.back(self.client)
        self.assertEqual(await self.stored(), self.last + 1)

    @since("2.14")
    async def test_a_purge_is_refused_on_a_full_disk_so_trimming_is_no_cure(self):
        await self.refused(PURGE_FAILED, self.api(self.client, "STREAM.PURGE.LOG", dict(seq=self.last)))
        self.ballast.unlink()
        await self.refused(PURGE_FAILED, self.api(self.client, "STREAM.PURGE.LOG", dict(seq=self.last)))


class ServerLimit(RegionTest):
    """One server, whose own limit on storage is reached before a stream's max_bytes."""

    async def asyncSetUp(self):
        self.client = await self.connect(self.server(jetstream="max_file_store: 8MB"))

    async def test_a_stream_may_not_reserve_more_than_the_server_has(self):
        await self.refused(NO_STORAGE, self.log_stream(self.client, max_bytes=9 << 20))

    async def test_a_single_server_takes_appends_again_after_a_purge(self):
        await self.log_stream(self.client, max_bytes=-1)
        last = 0
        with self.assertRaises(Refused) as refused:
            for _ in range(30):
                last = await self.append(self.client, data=LARGE)
        self.assertEqual(refused.exception.err_code, INSUFFICIENT_RESOURCES)
        await self.api(self.client, "STREAM.PURGE.LOG", dict(seq=last))
        self.assertEqual(await self.append(self.client), last + 1)
