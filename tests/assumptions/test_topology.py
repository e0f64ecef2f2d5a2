"""What design.md section 5 relies on when the regions' NATS servers are joined: names and subjects carry the region."""

from region import RegionTest, free_port, until


class Leafnode(RegionTest):
    """Two regions with a JetStream domain each, joined by an ordinary leafnode."""

    async def asyncSetUp(self):
        port = free_port()
        west = self.server(name="west", jetstream="domain: west", settings=f"leafnodes {{ listen: 127.0.0.1:{port} }}")
        east = self.server(name="east", jetstream="domain: east", settings=f'leafnodes {{ remotes: [{{ url: "nats://127.0.0.1:{port}" }}] }}')
        self.west, self.east = await self.connect(west), await self.connect(east)
        await until(self.joined, 30, "the leafnode is connected")

    async def joined(self):
        inbox = self.west.new_inbox()
        heard = await self.west.subscribe(inbox)
        await self.processed(self.west)
        await self.east.publish(inbox, b"")
        try:
            await heard.next_msg(timeout=0.2)
            return True
        except Exception:
            return False
        finally:
            await heard.unsubscribe()

    async def count(self, client, name):
        return (await self.state(client, name))["messages"]

    async def both(self, name, count):
        async def stored():
            return (await self.count(self.west, name), await self.count(self.east, name)) == count

        await until(stored, 15, f"{count} messages")

    async def test_with_bare_subjects_each_message_is_stored_in_both_regions(self):
        await self.log_stream(self.west)
        await self.log_stream(self.east)
        await until(self.joined, 15, "interest has travelled")
        await self.west.publish("log.a", b"x")
        await self.both("LOG", (1, 1))

    async def test_with_subjects_that_name_the_region_each_log_gets_its_own_alone(self):
        await self.log_stream(self.west, "LOG_west", ["isthmus.west.log.>"])
        await self.log_stream(self.east, "LOG_east", ["isthmus.east.log.>"])
        await self.append(self.west, "isthmus.west.log.a")
        await self.append(self.east, "isthmus.east.log.a")
        self.assertEqual((await self.count(self.west, "LOG_west"), await self.count(self.east, "LOG_east")), (1, 1))

    async def test_a_region_may_still_append_to_its_neighbours_log_so_rights_are_needed(self):
        await self.log_stream(self.east, "LOG_east", ["isthmus.east.log.>"])
        await until(self.joined, 15, "interest has travelled")
        self.assertEqual(await self.append(self.west, "isthmus.east.log.a"), 1)

    async def test_a_domain_keeps_the_jetstream_requests_of_a_region_to_itself(self):
        await self.log_stream(self.west, "LOG_west", ["isthmus.west.log.>"])
        self.assertEqual((await self.api(self.east, "STREAM.NAMES"))["total"], 0)


class Supercluster(RegionTest):
    """Three regions of one server each, joined by gateways: one JetStream with one meta group."""

    async def asyncSetUp(self):
        regions = ("west", "east", "south")
        ports = {region: free_port() for region in regions}
        routes = {region: free_port() for region in regions}
        gateways = ", ".join(f'{{ name: {region}, url: "nats://127.0.0.1:{port}" }}' for region, port in ports.items())
        servers = [
            self.server(name=region, settings=(
                f'cluster {{ name: {region}, listen: 127.0.0.1:{routes[region]}, routes: ["nats://127.0.0.1:{routes[region]}"] }}\n'
                f"gateway {{ name: {region}, listen: 127.0.0.1:{ports[region]}, gateways: [{gateways}] }}\n"
                "accounts { $SYS { users: [{ user: system, password: p }] } }"
            ))
            for region in regions
        ]
        self.west, self.east, self.south = [await self.connect(server) for server in servers]
        for client in (self.west, self.east, self.south):
            await until(lambda client=client: self.placed(client), 30, "the meta group has a leader")

    async def placed(self, client):
        try:
            return await self.api(client, "INFO", timeout=1)
        except Exception:
            return False

    async def create(self, client, region, name, subject):
        return await self.log_stream(client, name, [subject], placement=dict(cluster=region))

    async def test_a_bare_name_is_one_stream_for_all_regions(self):
        created = await self.create(self.west, "west", "LOG", "log.>")
        seen = await self.api(self.east, "STREAM.INFO.LOG")
        self.assertEqual(seen["created"], created["created"])
        self.assertEqual(seen["cluster"]["leader"], "west")
        self.assertEqual(await self.append(self.south, "log.a"), 1)

    async def test_streams_that_name_their_region_live_in_its_cluster_with_a_leader_there(self):
        for client, region in ((self.west, "west"), (self.east, "east"), (self.south, "south")):
            created = await self.create(client, region, f"LOG_{region}", f"isthmus.{region}.log.>")
            self.assertEqual((created["cluster"]["name"], created["cluster"]["leader"]), (region, region))
            self.assertEqual(await self.append(client, f"isthmus.{region}.log.a"), 1)
