"""A WebRTC client of another make: it speaks "Dialect apprtc" of docs/PROTOCOL.md, by aiortc and paho-mqtt.

    peer.py --broker HOST:PORT --id phone --partner alice call|answer|decline|ignore [options]

It sends the test pattern and the test tone of part 2 of that page, judges what comes by the same, and tells what happens
as one JSON object a line. It hangs up after --talk seconds, or waits for the other side to.
"""

import argparse
import array
import asyncio
import fractions
import json
import math
import sys
import time

import aioice.ice
import paho.mqtt.client as mqtt
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.rtcconfiguration import RTCBundlePolicy
from aiortc.sdp import candidate_from_sdp
from av import AudioFrame, VideoFrame

from ear import RATE, TONES, Ear

WIDTH, HEIGHT, FPS = 320, 240, 15
BITS, ROW = 64, 32

# Both sides are on this machine, and nothing is to leave it.
aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]


def tell(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


# ---- what is sent ----


def crc8(data):
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1) ^ 0x07 if crc & 0x80 else crc << 1
        crc &= 0xFF
    return crc


class Pattern(MediaStreamTrack):
    """Pictures that carry their number and the time they were drawn."""

    kind = "video"

    def __init__(self):
        super().__init__()
        self.number, self.start = 0, None

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        self.start = self.start or time.time()
        await asyncio.sleep(max(0, self.start + self.number / FPS - time.time()))
        now = int(time.time() * 1000) % 2**32
        stamp = (self.number % 2**24).to_bytes(3, "big") + now.to_bytes(4, "big")
        stamp += bytes([crc8(stamp)])
        bits = [stamp[n // 8] >> (7 - n % 8) & 1 for n in range(BITS)]
        block = WIDTH // ROW
        rows = [b"".join((b"\xeb" if bit else b"\x10") * block for bit in bits[at : at + ROW]) for at in range(0, BITS, ROW)]
        # Below the stamp something that moves.
        grey = bytes([80 + self.number * 3 % 96]) * WIDTH
        luma = [rows[y // block] if y < len(rows) * block else grey for y in range(HEIGHT)]
        frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        fill(frame.planes[0], luma)
        for plane in frame.planes[1:]:
            fill(plane, [b"\x80" * (WIDTH // 2)] * (HEIGHT // 2))
        frame.pts, frame.time_base = self.number * 90_000 // FPS, fractions.Fraction(1, 90_000)
        self.number += 1
        return frame


def fill(plane, rows):
    plane.update(b"".join(row.ljust(plane.line_size, b"\0") for row in rows))


class Sweep(MediaStreamTrack):
    """Tones that follow each other, half a second each."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.position, self.phase, self.start = 0, 0.0, None

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        self.start = self.start or time.time()
        await asyncio.sleep(max(0, self.start + self.position / RATE - time.time()))
        count = RATE // 50
        samples = array.array("h")
        for n in range(self.position, self.position + count):
            samples.append(int(8000 * math.sin(self.phase)))
            self.phase += math.tau * TONES[n // (RATE // 2) % len(TONES)] / RATE
        frame = AudioFrame(format="s16", layout="mono", samples=count)
        frame.planes[0].update(samples.tobytes())
        frame.pts, frame.sample_rate, frame.time_base = self.position, RATE, fractions.Fraction(1, RATE)
        self.position += count
        return frame


# ---- what is received ----


class Seen:
    """Counts pictures, reads their stamps, and tells tones."""

    def __init__(self):
        self.frames = self.read = self.in_order = self.sounds = 0
        self.size, self.last, self.ear, self.due = [0, 0], None, Ear(), None

    async def watch(self, track):
        try:
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    self.picture(frame)
                else:
                    self.sound(frame)
        except MediaStreamError:
            pass

    def picture(self, frame):
        if self.frames == 0:
            tell("first_frame")
        self.frames += 1
        self.size = [frame.width, frame.height]
        number = stamp_of(frame)
        if number is not None:
            self.read += 1
            self.in_order += self.last is None or number > self.last
            self.last = number

    def sound(self, frame):
        if self.sounds == 0:
            tell("first_audio")
        self.sounds += 1
        channels = len(frame.layout.channels)
        # aiortc makes nothing up: what did not come is left out, and the time stamps go on.
        if self.due is not None and frame.pts > self.due:
            self.ear.missing((frame.pts - self.due) * 1000 / frame.sample_rate)
        self.due = frame.pts + frame.samples
        self.ear.hear(array.array("h", bytes(frame.planes[0])[: frame.samples * channels * 2])[::channels])

    def figures(self):
        video = {"frames": self.frames, "read": self.read, "in_order": self.in_order, "size": self.size}
        return {"video": video, "audio": {"frames": self.sounds, **self.ear.figures()}}


def stamp_of(frame):
    """The number of the picture, or nothing when it has no stamp."""
    plane = bytes(frame.planes[0])
    stride, width = frame.planes[0].line_size, frame.width
    block = width // ROW
    value = 0
    for n in range(BITS):
        left, right = n % ROW * width // ROW, (n % ROW + 1) * width // ROW
        quarter = (right - left) // 4
        y = n // ROW * block + block // 2
        inner = plane[y * stride + left + quarter : y * stride + right - quarter]
        mean = sum(inner) / len(inner)
        if 80 < mean < 170:
            return None
        value = value << 1 | (mean >= 170)
    stamp = value.to_bytes(8, "big")
    return int.from_bytes(stamp[:3], "big") if crc8(stamp[:7]) == stamp[7] else None


# ---- the call ----


class Peer:
    def __init__(self, options):
        self.options, self.seen = options, Seen()
        self.loop, self.inbox = asyncio.get_running_loop(), asyncio.Queue()
        policy = RTCBundlePolicy.MAX_BUNDLE if options.max_bundle else RTCBundlePolicy.BALANCED
        # Without servers of its own aiortc would ask one on the internet.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=policy))
        self.connection.on("track", lambda track: asyncio.ensure_future(self.seen.watch(track)))
        self.connection.on("connectionstatechange", lambda: tell("state", state=self.connection.connectionState))
        self.early, self.described, self.online = [], False, asyncio.Event()

    def connect(self):
        host, port = self.options.broker.rsplit(":", 1)
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=self.options.id)
        if self.options.user:
            self.client.username_pw_set(self.options.user, self.options.password)
        online = lambda *_: self.loop.call_soon_threadsafe(self.online.set)
        heard = lambda _client, _data, message: self.loop.call_soon_threadsafe(self.inbox.put_nowait, message.payload)
        self.client.on_subscribe, self.client.on_message = online, heard
        topic = self.topic(self.options.partner, self.options.id)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.connect(host, int(port))
        self.client.loop_start()

    def topic(self, speaker, listener):
        return self.options.topic.replace("{from}", speaker).replace("{to}", listener)

    def say(self, **message):
        topic = self.topic(self.options.id, self.options.partner)
        return self.client.publish(topic, json.dumps(message), qos=1)

    async def run(self):
        self.connect()
        await self.online.wait()
        tell("online")
        if self.options.role == "call":
            await self.call()
        by = await self.converse()
        if by == "local":
            self.say(type="bye").wait_for_publish(5)
        await self.connection.close()
        tell("ended", by=by, **self.seen.figures())
        self.client.disconnect()
        self.client.loop_stop()

    async def converse(self):
        """Until somebody says bye; who."""
        until = time.time() + self.options.patience if self.options.patience else None
        while True:
            if until is None and self.connection.connectionState == "connected" and self.options.talk:
                until = time.time() + self.options.talk
            if until is not None and time.time() >= until:
                return "local"
            try:
                payload = await asyncio.wait_for(self.inbox.get(), 0.1)
            except asyncio.TimeoutError:
                continue
            message = json.loads(payload)
            tell("heard", type=message["type"])
            if await self.take(message):
                return "remote" if message["type"] == "bye" else "local"

    async def take(self, message):
        """Acts on a message; true when the call is over."""
        match message["type"]:
            case "bye":
                return True
            case "offer":
                tell("incoming", candidates=message["sdp"].count("a=candidate:"))
                if self.options.role == "decline":
                    return True
                if self.options.role == "answer":
                    await asyncio.sleep(self.options.think)
                    await self.answer(message["sdp"])
            case "answer":
                await self.describe(RTCSessionDescription(message["sdp"], "answer"))
            case "candidate":
                assert isinstance(message["label"], int) and isinstance(message["id"], str), message
                await self.candidate(message)
        return False

    async def candidate(self, message):
        if not self.described:
            self.early.append(message)
            return
        candidate = candidate_from_sdp(message["candidate"].removeprefix("candidate:"))
        candidate.sdpMLineIndex, candidate.sdpMid = message["label"], message["id"]
        await self.connection.addIceCandidate(candidate)

    async def describe(self, description):
        await self.connection.setRemoteDescription(description)
        self.described = True
        for message in self.early:
            await self.candidate(message)

    async def call(self):
        self.add_media()
        await self.connection.setLocalDescription(await self.connection.createOffer())
        self.publish("offer")

    async def answer(self, sdp):
        await self.describe(RTCSessionDescription(sdp, "offer"))
        self.add_media()
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        self.publish("answer")

    def add_media(self):
        self.connection.addTrack(Sweep())
        if not self.options.sound_only:
            self.connection.addTrack(Pattern())
        if self.options.codec:
            wanted = [f"video/{self.options.codec}", "video/rtx"]
            codecs = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType in wanted]
            for transceiver in self.connection.getTransceivers():
                if transceiver.kind == "video":
                    transceiver.setCodecPreferences(codecs)

    def publish(self, kind):
        """aiortc gathers everything before it has a description; told one by one, candidates follow it."""
        sdp = self.connection.localDescription.sdp
        if not self.options.trickle:
            self.say(type=kind, sdp=sdp)
            return
        rest, candidates, section, mid = [], [], -1, None
        for line in sdp.splitlines():
            section += line.startswith("m=")
            mid = line.removeprefix("a=mid:") if line.startswith("a=mid:") else mid
            if line.startswith("a=candidate:"):
                candidates.append((section, line.removeprefix("a=")))
            elif line != "a=end-of-candidates":
                rest.append(line)
        mids = [line.removeprefix("a=mid:") for line in rest if line.startswith("a=mid:")]
        self.say(type=kind, sdp="\r\n".join(rest) + "\r\n")
        for section, candidate in candidates:
            place = {"sdpMLineIndex": section, "sdpMid": mids[section]}
            self.say(type="candidate", candidate=candidate, **place)


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["call", "answer", "decline", "ignore"])
    parser.add_argument("--broker", required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--partner", required=True)
    parser.add_argument("--topic", default="{from}")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--think", type=float, default=0, help="answer after so many seconds")
    parser.add_argument("--talk", type=float, help="hang up after so many seconds of call")
    parser.add_argument("--patience", type=float, help="give up after so many seconds without an answer")
    parser.add_argument("--trickle", action="store_true", help="candidates one by one, in the other spelling")
    parser.add_argument("--sound-only", action="store_true")
    parser.add_argument("--max-bundle", action="store_true")
    parser.add_argument("--codec", choices=["VP8", "H264"])
    return parser.parse_args()


async def main():
    await Peer(options()).run()


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
