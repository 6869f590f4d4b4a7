"""One end of a call of aiortc; what it reads and tells: see peer.js beside it."""

import array
import asyncio
import fractions
import json
import math
import random
import sys
import time

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame

WIDTH, HEIGHT, FPS, RATE, BITS, ROW, STEP_MS = 640, 480, 30, 48_000, 64, 32, 500
TONES = [400, 600, 800, 1000, 1200, 1400, 1600, 1800]


def tell(**message):
    print(json.dumps(message), flush=True)


def now():
    return time.time() * 1000


# ---- what is sent ----


def crc8(data):
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 7 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def grain():
    """A grainy picture, like the test pattern of tring."""
    rows = (random.choices(range(36 + 110 * y // HEIGHT, 44 + 110 * y // HEIGHT), k=WIDTH) for y in range(HEIGHT))
    return bytearray(b"".join(map(bytes, rows)))


GRAINS = [grain() for _ in range(8)]


class Pattern(MediaStreamTrack):
    """Pictures that carry their number and the time they were drawn, with a square that moves."""

    kind = "video"

    def __init__(self):
        super().__init__()
        self.start, self.number = now(), -1

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        # Pictures that were due meanwhile are left out.
        self.number = max(self.number + 1, int((now() - self.start) * FPS / 1000))
        await asyncio.sleep(max(0, self.start / 1000 + self.number / FPS - time.time()))
        luma = random.choice(GRAINS).copy()
        left = round(260 + 190 * math.sin(self.number / 600 * math.tau))
        for y in range(220, 340):
            luma[y * WIDTH + left : y * WIDTH + left + 120] = b"\xde" * 120
        stamp = (self.number % 2**24).to_bytes(3, "big") + (int(now()) % 2**32).to_bytes(4, "big")
        stamp += bytes([crc8(stamp)])
        block = WIDTH // ROW
        for top in range(BITS // ROW):
            bits = (stamp[n // 8] >> (7 - n % 8) & 1 for n in range(top * ROW, (top + 1) * ROW))
            row = b"".join((b"\xeb" if bit else b"\x10") * block for bit in bits)
            luma[top * block * WIDTH : (top + 1) * block * WIDTH] = row * block
        frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        for plane, content in zip(frame.planes, (luma, b"\x80" * (WIDTH * HEIGHT // 4), b"\x80" * (WIDTH * HEIGHT // 4))):
            plane.update(bytes(content))
        frame.pts, frame.time_base = self.number * 90_000 // FPS, fractions.Fraction(1, 90_000)
        return frame


class Sweep(MediaStreamTrack):
    """A tone that follows the wall clock, in packets of 20 ms that leave when they are due."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.first = self.number = int(now() / 20)

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(max(0, ((self.number + 1) * 20 - now()) / 1000))
        at, count = self.number * 20, RATE // 50
        step = math.tau * TONES[at // STEP_MS % len(TONES)] / RATE
        offset = at % STEP_MS * RATE // 1000
        frame = AudioFrame(format="s16", layout="mono", samples=count)
        frame.planes[0].update(array.array("h", (int(8000 * math.sin(step * (offset + n))) for n in range(count))).tobytes())
        frame.pts, frame.sample_rate, frame.time_base = (self.number - self.first) * count, RATE, fractions.Fraction(1, RATE)
        self.number += 1
        return frame


# ---- what is received ----


def sent_ms(frame):
    plane, width = memoryview(frame.planes[0]), frame.width
    stride, block, value = frame.planes[0].line_size, width // ROW, 0
    for n in range(BITS):
        left, right = n % ROW * width // ROW, (n % ROW + 1) * width // ROW
        quarter = (right - left) // 4
        at = (n // ROW * block + block // 2) * stride
        inner = plane[at + left + quarter : at + right - quarter]
        mean = sum(inner) / len(inner)
        if 80 < mean < 170:
            return None
        value = value << 1 | (mean >= 170)
    stamp = value.to_bytes(8, "big")
    return int.from_bytes(stamp[3:7], "big") if crc8(stamp[:7]) == stamp[7] else None


def tone_of(samples, rate):
    """The step of the tone in some ms of sound, or nothing."""
    ups = [n - samples[n] / (samples[n] - samples[n - 1]) for n in range(1, len(samples)) if samples[n - 1] < 0 <= samples[n]]
    if len(ups) < 3:
        return None
    hertz = (len(ups) - 1) * rate / (ups[-1] - ups[0])
    return next((n for n, tone in enumerate(TONES) if abs(tone - hertz) < 60), None)


class Receiver:
    def __init__(self):
        self.pictures, self.steps, self.width, self.tone = [], [], 0, None
        self.first, self.sounds = None, 0

    async def take(self, track):
        try:
            while True:
                frame = await track.recv()
                if track.kind == "video":
                    sent = sent_ms(frame)
                    self.width = frame.width
                    self.pictures.append((now(), None if sent is None else (int(now()) - sent) % 2**32))
                else:
                    self.hear(frame)
        except MediaStreamError:
            pass

    def hear(self, frame):
        self.first = self.first or now()
        self.sounds += frame.samples / frame.sample_rate
        channels = len(frame.layout.channels)
        samples = array.array("h", bytes(frame.planes[0])[: frame.samples * channels * 2])[::channels]
        ten = frame.sample_rate // 100
        for part in range(len(samples) // ten):
            tone = tone_of(samples[part * ten : (part + 1) * ten], frame.sample_rate)
            # A step counts where it follows the one before it; what both sound in has neither tone.
            if tone is not None and self.tone is not None and tone == (self.tone + 1) % len(TONES):
                cycle, at = STEP_MS * len(TONES), now() - len(samples) / ten * 10 + part * 10
                late = (at - tone * STEP_MS) % cycle
                self.steps.append((now(), late - cycle if late > 3000 else late))
            self.tone = self.tone if tone is None else tone

    def report(self):
        # aiortc invents no sound: what did not come is missing.
        invented = (now() - self.first) / 1000 - self.sounds if self.first else 0
        tell(t=now(), pictures=self.pictures, steps=self.steps, width=self.width, invented_s=max(0, invented))
        self.pictures, self.steps = [], []


# ---- the call ----


class Call:
    def __init__(self):
        # Without servers of its own aiortc would ask one on the internet.
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.receiver, self.path = Receiver(), None
        self.connection.on("track", lambda track: asyncio.ensure_future(self.receiver.take(track)))
        self.connection.on("iceconnectionstatechange", self.on_path)
        self.connection.on("connectionstatechange", self.on_state)
        self.reports = asyncio.ensure_future(self.report())

    def on_path(self):
        if self.connection.iceConnectionState in ("connected", "completed"):
            self.path = self.path or now()

    def on_state(self):
        if self.connection.connectionState == "connected":
            self.path = self.path or now()
            tell(connected={"ice_ms": self.path - self.described, "dtls_ms": now() - self.path})

    async def report(self):
        while True:
            await asyncio.sleep(0.25)
            self.receiver.report()

    def add_media(self):
        self.connection.addTrack(Sweep())
        self.connection.addTrack(Pattern())

    def tell_description(self):
        local = self.connection.localDescription
        tell(description={"type": local.type, "sdp": local.sdp})
        self.described = now()

    async def offer(self):
        self.add_media()
        await self.connection.setLocalDescription(await self.connection.createOffer())
        self.tell_description()

    async def take(self, description):
        await self.connection.setRemoteDescription(RTCSessionDescription(description["sdp"], description["type"]))
        self.described = now()
        if description["type"] == "offer":
            self.add_media()
            # It starts its path within, and so before the answer left.
            await self.connection.setLocalDescription(await self.connection.createAnswer())
            tell(description={"type": "answer", "sdp": self.connection.localDescription.sdp})

    async def close(self):
        self.reports.cancel()
        await self.connection.close()


async def main():
    call = None
    lines = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        message = json.loads(line)
        if message.get("offer") or message["description"]["type"] == "offer":
            if call:
                await call.close()
            call = Call()
        await (call.offer() if message.get("offer") else call.take(message["description"]))


asyncio.run(main())
