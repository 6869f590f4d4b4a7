"""One end of a call of aiortc, sound alone, from a file and into a file.

    peer.py HEARD [options]                       descriptions by standard input and output, as ../lines/peer.js
    peer.py HEARD --broker HOST:PORT [options]    calls the tring `bob`, by the protocol of docs/PROTOCOL.md

On standard input {"speak": FILE} plays raw sound (48 kHz, mono, s16le) from now on; it tells {"spoken": UNIX}.
{"finish": true} writes what was heard to HEARD, and tells {"heard": [[UNIX, samples so far], …]}.
"""

import argparse
import array
import asyncio
import ctypes
import fractions
import json
import os
import sys
import time

import aioice.ice

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
own_addresses = aioice.ice.get_host_addresses
sys.path += [f"{ROOT}/tests/foreign", f"{ROOT}/tests/apprtc"]
import phone  # noqa: E402

# What they import keeps to loopback.
aioice.ice.get_host_addresses = own_addresses

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription  # noqa: E402
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack  # noqa: E402
from av import AudioFrame, Packet  # noqa: E402

RATE = 48_000
TIME_BASE = fractions.Fraction(1, RATE)


def tell(**message):
    print(json.dumps(message), flush=True)


class Opus:
    """libopus, because aiortc's own encoder makes packets of 20 ms only."""

    SET_BITRATE, SET_DTX, SET_INBAND_FEC, SET_PACKET_LOSS = 4002, 4016, 4012, 4014

    def __init__(self, dtx):
        self.library = ctypes.CDLL("libopus.so.0")
        self.library.opus_encoder_create.restype = ctypes.c_void_p
        failed = ctypes.c_int()
        self.encoder = ctypes.c_void_p(self.library.opus_encoder_create(RATE, 1, 2048, ctypes.byref(failed)))
        if failed.value:
            raise OSError(f"libopus: error {failed.value}")
        for request, value in [(self.SET_BITRATE, 32_000), (self.SET_DTX, int(dtx))]:
            self.library.opus_encoder_ctl(self.encoder, request, ctypes.c_int(value))

    def encode(self, samples):
        out = ctypes.create_string_buffer(4000)
        size = self.library.opus_encode(self.encoder, samples, len(samples) // 2, out, len(out))
        if size < 0:
            raise OSError(f"libopus: error {size}")
        return out.raw[:size]


class Mouth(MediaStreamTrack):
    """What is spoken, in packets that leave when they are due by a clock that is `ppm` fast."""

    kind = "audio"

    def __init__(self, options):
        super().__init__()
        self.own = options.packet_ms is not None
        self.count, self.clock = RATE * (options.packet_ms or 20) // 1000, RATE * (1 + options.ppm / 1e6)
        self.opus = Opus(options.dtx) if self.own else None
        self.position, self.start = 0, None
        self.said, self.from_ = b"", 0

    def speak(self, path):
        with open(path, "rb") as file:
            self.said = file.read()
        self.from_ = self.position
        tell(spoken=self.start + self.from_ / self.clock)

    async def recv(self):
        while True:
            if self.readyState != "live":
                raise MediaStreamError
            self.start = self.start or time.time()
            at = self.position
            await asyncio.sleep(max(0, self.start + (at + self.count) / self.clock - time.time()))
            self.position += self.count
            offset = (at - self.from_) * 2
            samples = self.said[offset : offset + self.count * 2].ljust(self.count * 2, b"\0") if self.said else bytes(self.count * 2)
            if not self.own:
                frame = AudioFrame(format="s16", layout="mono", samples=self.count)
                frame.planes[0].update(samples)
                frame.pts, frame.sample_rate, frame.time_base = at, RATE, TIME_BASE
                return frame
            encoded = self.opus.encode(samples)
            # What DTX leaves out is not sent.
            if len(encoded) > 2:
                packet = Packet(encoded)
                packet.pts, packet.time_base = at, TIME_BASE
                return packet


class Ear:
    """What comes, where its time stamp puts it: aiortc plays nothing, and invents nothing."""

    def __init__(self, path):
        self.path, self.sound, self.first, self.chunks = path, bytearray(), None, []

    async def take(self, track):
        try:
            while track.kind == "audio":
                frame = await track.recv()
                channels = len(frame.layout.channels)
                samples = array.array("h", bytes(frame.planes[0])[: frame.samples * channels * 2])[::channels].tobytes()
                self.first = frame.pts if self.first is None else self.first
                at = (frame.pts - self.first) * 2
                if at < 0 or at > len(self.sound) + RATE * 20:
                    continue
                self.sound += bytes(max(0, at + len(samples) - len(self.sound)))
                self.sound[at : at + len(samples)] = samples
                self.chunks.append((time.time(), at // 2 + frame.samples))
        except MediaStreamError:
            pass

    def finish(self):
        with open(self.path, "wb") as file:
            file.write(self.sound)
        tell(heard=self.chunks)


class Call:
    def __init__(self, mouth, ear):
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.connection.on("track", lambda track: asyncio.ensure_future(ear.take(track)))
        self.connection.on("connectionstatechange", self.on_state)
        self.mouth = mouth

    def on_state(self):
        if self.connection.connectionState == "connected":
            tell(connected={})

    async def offer(self):
        self.connection.addTrack(self.mouth)
        await self.connection.setLocalDescription(await self.connection.createOffer())
        self.tell_description()

    def tell_description(self):
        local = self.connection.localDescription
        tell(description={"type": local.type, "sdp": local.sdp})

    async def take(self, description):
        await self.connection.setRemoteDescription(RTCSessionDescription(description["sdp"], description["type"]))
        if description["type"] == "offer":
            self.connection.addTrack(self.mouth)
            await self.connection.setLocalDescription(await self.connection.createAnswer())
            self.tell_description()


def phone_call(options, mouth, ear):
    """Calls bob; returns at once."""
    words = ["call", "--broker", options.broker, "--id", "alice", "--partner", "bob", "--max-bundle"]
    wanted = phone.options(words)
    phone.orders = asyncio.Queue()
    calling = phone.Phone(wanted)
    calling.tracks = [mouth]
    calling.connection.on("track", lambda track: asyncio.ensure_future(ear.take(track)))

    def on_state():
        if calling.connection.connectionState == "connected":
            tell(connected={})

    calling.connection.on("connectionstatechange", on_state)
    calling.call = asyncio.ensure_future(calling.run_call())
    return calling


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("heard")
    parser.add_argument("--broker")
    parser.add_argument("--packet-ms", type=int)
    parser.add_argument("--dtx", action="store_true")
    parser.add_argument("--ppm", type=float, default=0)
    options = parser.parse_args()
    mouth, ear = Mouth(options), Ear(options.heard)
    call = phone_call(options, mouth, ear) if options.broker else Call(mouth, ear)
    lines = asyncio.StreamReader(limit=2**20)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        message = json.loads(line)
        if "speak" in message:
            mouth.speak(message["speak"])
        elif message.get("finish"):
            ear.finish()
        elif message.get("offer"):
            await call.offer()
        elif "description" in message:
            await call.take(message["description"])
    if options.broker:
        phone.orders.put_nowait({"do": "bye"})
        await asyncio.wait([call.call], timeout=3)


asyncio.run(main())
