"""A second client of tring's own protocol, written from docs/PROTOCOL.md and docs/SECURITY.md: by aiortc and paho-mqtt, no
code of tring's. With --seal its messages are sealed, by sealed.py.

    phone.py --broker HOST:PORT --id phone --partner alice call|answer [options]

It does what standard input says, one JSON object a line, and tells what happens in the same way on standard output:

    {"do":"hold"} {"do":"resume"}    tell so by `media`, and send nothing meanwhile
    {"do":"renew"}                   ask for other media, or offer them
    {"do":"restart"}                 the same for another path
    {"do":"figures"}                 what was seen and heard so far
    {"do":"bye"}                     hang up

In a sealed call it tells `words`, the four that people compare. aiortc writes three fingerprints, checks paths before its answer is out, and cannot restart ICE: `Path` does that.
"""

import argparse
import asyncio
import json
import pathlib
import secrets
import sys
import time

import aioice
import paho.mqtt.client as mqtt
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.sdp import candidate_from_sdp

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "apprtc"))
import sealed  # noqa: E402
from peer import Pattern, Seen, Sweep, tell  # noqa: E402

RESEND = [1, 2, 4]


class Path:
    """The ICE transport of the call, which can be made anew: DTLS and what is above it go on."""

    def __init__(self, transport):
        self.transport, self.arrived = transport, asyncio.Queue()
        self.pumps = [asyncio.ensure_future(self.pump(transport._connection))]
        transport._recv, transport._send = self.arrived.get, self.send

    async def send(self, data):
        try:
            await self.transport._connection.send(data)
        except ConnectionError:
            # Between two paths it is lost, as on any other network; aiortc would stop sending for good.
            pass

    async def pump(self, connection):
        while True:
            try:
                self.arrived.put_nowait(await connection.recv())
            except ConnectionError:
                await asyncio.sleep(0.05)

    async def restart(self):
        """New names, new sockets, new candidates; the old path stays open until the end, unused."""
        before = self.transport._connection
        connection = aioice.Connection(ice_controlling=before.ice_controlling, components=1)
        await connection.gather_candidates()
        self.transport._connection = self.transport.iceGatherer._connection = connection
        self.pumps.append(asyncio.ensure_future(self.pump(connection)))

    async def connect(self, sdp):
        """Checks with the names in the other side's description."""
        connection = self.transport._connection
        value = lambda name: next(line.split(":", 1)[1].strip() for line in sdp.splitlines() if line.startswith(name))
        connection.remote_username, connection.remote_password = value("a=ice-ufrag:"), value("a=ice-pwd:")
        await connection.connect()
        tell("restarted")


class Plain:
    """Messages and presence as docs/PROTOCOL.md has them."""

    is_sealed = False

    def __init__(self, options, run):
        self.run = run

    def presence(self, state):
        return json.dumps({"v": 1, "state": state, "run": self.run})

    def close(self, envelope):
        return envelope

    def open(self, payload):
        return payload

    def learn(self, payload):
        """Nothing is needed of the partner's presence."""
        return True


class Sealed:
    """The same as docs/SECURITY.md has them."""

    is_sealed = True

    def __init__(self, options, run):
        self.options, self.run, self.me = options, run, sealed.Identity(secrets.token_bytes(64))
        self.since, self.partner = int(time.time() * 1000), None

    def presence(self, state):
        now = self.since if state == "offline" else int(time.time() * 1000)
        return sealed.sign_presence(self.me, self.options.id, state, self.run, self.since, now)

    def close(self, envelope):
        return sealed.seal(self.me, self.run, *self.partner, envelope.encode())

    def open(self, payload):
        opened = sealed.open_sealed(self.me, self.options.id, self.run, self.options.partner, payload)
        if self.partner and self.partner[0] != opened.keys:
            raise sealed.Refused("Changed")
        self.partner = opened.keys, opened.run
        return opened.envelope

    def learn(self, payload):
        """The partner's keys, of its presence: true once they are known."""
        try:
            presence, keys = sealed.read_presence(self.options.partner, payload)
        except (sealed.Refused, ValueError, KeyError):
            return self.partner is not None
        if self.partner is None and keys:
            self.partner = keys, presence["run"]
        return self.partner is not None


class Phone:
    def __init__(self, options):
        self.options, self.seen = options, Seen()
        self.loop, self.inbox = asyncio.get_running_loop(), asyncio.Queue()
        self.run, self.count, self.online = secrets.token_hex(8), 0, asyncio.Event()
        self.form = (Sealed if options.seal else Plain)(options, self.run)
        self.known, self.words = asyncio.Event(), None
        self.pending, self.taken = {}, set()
        self.call_id, self.revision, self.said, self.generation = None, 0, 0, 0
        self.offered, self.path, self.described, self.early, self.renewed = None, None, False, [], 0
        policy = RTCBundlePolicy.MAX_BUNDLE if options.max_bundle else RTCBundlePolicy.BALANCED
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=policy))
        self.connection.on("track", lambda track: asyncio.ensure_future(self.seen.watch(track)))
        self.connection.on("iceconnectionstatechange", self.ice_changed)
        self.tracks = [Sweep(), Pattern()]

    def ice_changed(self):
        tell("ice", state=self.connection.iceConnectionState, at=time.time())

    # ---- the broker ----

    def connect(self):
        host, port = self.options.broker.rsplit(":", 1)
        me, partner = self.options.id, self.options.partner
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=me)
        self.client.will_set(f"tring/presence/{me}", self.form.presence("offline"), qos=1, retain=True)
        topics = [(f"tring/call/{partner}/{me}", 1)] + [(f"tring/presence/{partner}", 1)] * self.form.is_sealed
        self.client.on_connect = lambda client, *_: client.subscribe(topics)

        def heard(_client, _data, message):
            if not message.topic.startswith("tring/presence/"):
                self.loop.call_soon_threadsafe(self.inbox.put_nowait, message.payload)
            elif self.form.learn(message.payload):
                self.loop.call_soon_threadsafe(self.known.set)

        self.client.on_message = heard

        def subscribed(client, *_):
            client.publish(f"tring/presence/{me}", self.form.presence("available"), qos=1, retain=True)
            self.loop.call_soon_threadsafe(self.online.set)

        self.client.on_subscribe = subscribed
        self.client.connect(host, int(port))
        self.client.loop_start()

    def publish(self, **message):
        self.count += 1
        partner = self.options.partner
        envelope = {"v": 1, "id": f"{self.run}-{self.count}", "from": self.options.id, "to": partner}
        envelope |= {"ts": int(time.time() * 1000)} | message
        payload = json.dumps(envelope)
        self.client.publish(f"tring/call/{self.options.id}/{partner}", self.form.close(payload), qos=1)
        return envelope["id"], payload

    def say(self, type, **fields):
        """Sends a message of the call, again and again until it is acknowledged."""
        message = {"type": type} | fields
        if self.words:
            message = self.words.sent(message)
        name, payload = self.publish(call=self.call_id, **message)
        self.pending[name] = asyncio.ensure_future(self.resend(payload))

    async def resend(self, payload):
        for wait in RESEND + [4] * 13:
            await asyncio.sleep(wait)
            self.client.publish(f"tring/call/{self.options.id}/{self.options.partner}", self.form.close(payload), qos=1)

    # ---- the call ----

    async def run_call(self):
        self.connect()
        await self.online.wait()
        tell("online")
        if self.options.role == "call":
            if self.form.is_sealed:
                await self.known.wait()
            await self.dial()
        by = await self.converse()
        for _ in range(50):
            if not self.pending:
                break
            await self.hear(0.1)
        tell("ended", by=by, unacknowledged=len(self.pending), **self.seen.figures())
        await self.connection.close()
        self.client.disconnect()
        self.client.loop_stop()

    async def converse(self):
        while True:
            if await self.hear(0.1):
                return "remote"
            while not orders.empty():
                if await self.obey(orders.get_nowait()):
                    return "local"

    async def hear(self, patience):
        """Takes one message from the broker; true when the call is over."""
        try:
            message = json.loads(self.form.open(await asyncio.wait_for(self.inbox.get(), patience)))
        except asyncio.TimeoutError:
            return False
        except sealed.Refused as refused:
            tell("refused", reason=str(refused))
            return False
        if message["to"] != self.options.id:
            return False
        if message["type"] == "ack":
            pending = self.pending.pop(message["of"], None)
            if pending:
                pending.cancel()
            return False
        self.publish(type="ack", of=message["id"])
        if message["id"] in self.taken:
            return False
        self.taken.add(message["id"])
        fields = {k: message[k] for k in ("revision", "generation", "hold", "reason", "text") if k in message}
        tell("heard", type=message["type"], **fields)
        if message["type"] != "offer" and message.get("call") != self.call_id:
            return False
        return await self.take(message)

    async def take(self, message):
        match message["type"]:
            case "offer":
                self.call_id = message["call"]
                self.compare("callee")
                self.exchange(message)
                self.say("ringing")
                await self.describe(message, "offer")
                self.add_media()
                await self.connection.setLocalDescription(await self.connection.createAnswer())
                await self.keep_path()
                # aiortc checks paths by now.
                await asyncio.sleep(self.options.late)
                self.say("answer", **self.local())
                tell("answered", at=time.time())
            case "answer":
                await self.describe(message, "answer")
                await self.keep_path()
                self.exchange(message)
            case "nonce":
                self.exchange(message)
            case "candidates":
                if message.get("generation", 0) >= self.generation:
                    await self.candidates(message["candidates"])
            case "media":
                await self.held(message["hold"])
            case "update":
                await self.updated(message)
            case "updated":
                if message["revision"] == self.revision:
                    await self.conclude(message)
            case "refused":
                self.offered = None
            case "renew":
                await self.offer(restart="generation" in message)
            case "bye":
                return True
        return False

    async def obey(self, order):
        match order["do"]:
            case "hold" | "resume":
                holds = order["do"] == "hold"
                await self.held(holds)
                self.said += 1
                self.say("media", revision=self.said, audio=True, video=True, hold=holds)
            case "renew" if self.options.role == "call":
                await self.offer(restart=False)
            case "restart" if self.options.role == "call":
                await self.offer(restart=True)
            case "renew":
                self.say("renew")
            case "restart":
                self.say("renew", generation=self.generation)
            case "figures":
                tell("figures", **self.seen.figures())
            case "bye":
                self.say("bye", reason="hangup", text="x" * 300)
                return True
        return False

    def compare(self, role):
        """A sealed call has words, unless we are an earlier program."""
        if self.form.is_sealed and not self.options.without_words:
            me, partner = (self.options.id, self.form.me.keys), (self.options.partner, self.form.partner[0])
            sides = (me, partner) if role == "call" else (partner, me)
            self.words = sealed.Words(self.call_id, "caller" if role == "call" else "callee", *sides)

    def exchange(self, message):
        """What the other side says for the words; the caller's nonce follows the answer."""
        if not self.words:
            return
        self.words.heard(message)
        if message["type"] == "answer" and self.words.words:
            if self.options.break_commitment:
                self.words.nonce = secrets.token_bytes(16)
            self.say("nonce")
        if self.words.words and message["type"] != "offer":
            tell("words", words=self.words.words)

    async def dial(self):
        self.call_id = secrets.token_hex(16)
        self.compare("call")
        self.add_media()
        await self.connection.setLocalDescription(await self.connection.createOffer())
        # It may overtake the offer, and is said before the call stands in any case.
        self.said += 1
        self.say("media", revision=self.said, audio=False, video=True, hold=False)
        self.say("offer", **self.local())

    def add_media(self):
        for track in self.tracks:
            self.connection.addTrack(track)

    async def keep_path(self):
        self.path = Path(self.connection.getTransceivers()[0].receiver.transport.transport)

    async def held(self, holds):
        """On hold nothing is sent."""
        for sender, track in zip(self.connection.getSenders(), self.tracks):
            sender.replaceTrack(None if holds else track)

    async def describe(self, message, kind):
        await self.connection.setRemoteDescription(RTCSessionDescription(message["sdp"], kind))
        self.described = True
        early, self.early = self.early, []
        await self.candidates(message.get("candidates", []) + early)

    async def candidates(self, candidates):
        if not self.described:
            self.early += candidates
            return
        for told in candidates:
            if not told["candidate"]:
                continue
            candidate = candidate_from_sdp(told["candidate"].removeprefix("candidate:"))
            candidate.sdpMLineIndex = told.get("mline", told.get("sdpMLineIndex", 0))
            await self.connection.addIceCandidate(candidate)

    def local(self):
        """Our description; candidates beside it, under the names that browsers give them."""
        kept, candidates, section = [], [], -1
        for line in self.connection.localDescription.sdp.splitlines():
            section += line.startswith("m=")
            if line.startswith("a=candidate:") and section == 0:
                told = {"candidate": line.removeprefix("a="), "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "x"}
                candidates.append(told)
            elif not line.startswith(("a=candidate:", "a=end-of-candidates")):
                kept.append(line)
        sdp = "\r\n".join(kept) + "\r\n"
        assert sdp.count("a=fingerprint:sha-") >= 3, "aiortc writes three fingerprints"
        return {"sdp": sdp, "candidates": candidates}

    async def offer(self, restart):
        """As the caller: the next update."""
        if restart:
            await self.path.restart()
            self.generation += 1
        self.revision += 1
        self.offered = restart
        await self.connection.setLocalDescription(await self.connection.createOffer())
        self.say("update", revision=self.revision, generation=self.generation, **self.local())

    async def conclude(self, message):
        await self.describe(message, "answer")
        if self.offered:
            asyncio.ensure_future(self.path.connect(message["sdp"]))
        tell("agreed", revision=self.revision)

    async def updated(self, message):
        """As the callee: the caller's update, answered."""
        restart = message["generation"] > self.generation
        if restart:
            await self.path.restart()
        self.revision, self.generation = message["revision"], message["generation"]
        await self.describe(message, "offer")
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        if restart:
            asyncio.ensure_future(self.path.connect(message["sdp"]))
        self.say("updated", revision=self.revision, generation=self.generation, **self.local())
        tell("agreed", revision=self.revision)


def options(words=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["call", "answer"])
    parser.add_argument("--broker", required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--partner", required=True)
    parser.add_argument("--late", type=float, default=0, help="answer so many seconds after the first checks")
    parser.add_argument("--max-bundle", action="store_true")
    parser.add_argument("--seal", action="store_true", help="sealed messages, by a key of this run")
    parser.add_argument("--without-words", action="store_true", help="as an earlier program that seals")
    parser.add_argument("--break-commitment", action="store_true", help="tell another nonce than the one committed to")
    return parser.parse_args(words)


async def main():
    loop = asyncio.get_running_loop()

    def read():
        for line in sys.stdin:
            loop.call_soon_threadsafe(orders.put_nowait, json.loads(line))

    import threading

    threading.Thread(target=read, daemon=True).start()
    await Phone(options()).run_call()


if __name__ == "__main__":
    orders = asyncio.Queue()
    asyncio.run(main())
    sys.stdout.flush()
