"""A WebRTC client of a third make: GStreamer's webrtcbin. It speaks "Dialect apprtc" of docs/PROTOCOL.md.

    gstreamer.py --broker HOST:PORT --id phone --partner alice call|answer [options]

It sends a tone of 440 Hz and moving pictures in VP8 (not with --sound-only), says once a second what it hears (`sound`), and tells what happens
as one JSON object a line. It hangs up after --talk seconds, or waits for the other side to.

It runs by Debian's own Python, which has GStreamer's bindings.
"""

import argparse
import array
import json
import sys
import threading

from ear import RATE, Ear

PACKAGES = (
    "python3-gst-1.0 python3-paho-mqtt gir1.2-gst-plugins-bad-1.0 gstreamer1.0-plugins-bad gstreamer1.0-plugins-good "
    "gstreamer1.0-nice"
)
try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstSdp", "1.0")
    gi.require_version("GstWebRTC", "1.0")
    import paho.mqtt.client as mqtt
    from gi.repository import GLib, Gst, GstSdp, GstWebRTC
except (ImportError, ValueError) as error:
    sys.exit(f"{error}; install {PACKAGES}")

ELEMENTS = ["webrtcbin", "nicesrc", "dtlsdec", "srtpdec", "opusenc", "rtpopuspay", "vp8enc", "videotestsrc"]

HERTZ = 440
SEND_SOUND = f"""
    webrtcbin name=webrtc bundle-policy=max-bundle
    audiotestsrc is-live=true freq={HERTZ} volume=0.25 ! audio/x-raw,rate={RATE},channels=1
        ! opusenc ! rtpopuspay pt=111 ! queue ! webrtc.
"""
SEND_PICTURES = """
    videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=15/1
        ! vp8enc deadline=1 cpu-used=8 keyframe-max-dist=30 ! rtpvp8pay pt=96 picture-id-mode=15-bit ! queue ! webrtc.
"""
HEAR = f"""
    rtpopusdepay ! opusdec plc=true ! audioconvert ! audioresample
        ! audio/x-raw,format=S16LE,rate={RATE},channels=1,layout=interleaved ! appsink name=sink sync=false emit-signals=true
"""
SEE = "rtpvp8depay ! vp8dec ! fakesink name=sink sync=false signal-handoffs=true"


telling = threading.Lock()


def tell(event, **fields):
    # Threads of GStreamer tell too: a line is one write.
    with telling:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()


class Peer:
    def __init__(self, options):
        self.options, self.loop = options, GLib.MainLoop()
        self.ear, self.due, self.frames, self.over = Ear(), None, 0, False
        self.early, self.described = [], False
        self.pipeline = Gst.parse_launch(SEND_SOUND + ("" if options.sound_only else SEND_PICTURES))
        self.webrtc = self.pipeline.get_by_name("webrtc")
        # Kept: in GStreamer 1.22 it is a floating reference, so that it would go with the last one of Python.
        self.agent = self.webrtc.get_property("ice-agent")
        # Both sides are on this machine, and nothing is to leave it.
        self.agent.emit("add-local-ip-address", "127.0.0.1")
        self.agent.set_property("ice-tcp", False)
        self.webrtc.connect("on-ice-candidate", lambda _, line, candidate: self.gathered(line, candidate))
        self.webrtc.connect("pad-added", lambda _, pad: self.receive(pad))
        self.webrtc.connect("notify::connection-state", lambda *_: self.soon(self.changed))
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, message: self.fail(message.parse_error()))

    @staticmethod
    def soon(work, *args):
        """Does it in the main loop: signals of GStreamer and of MQTT come in threads of their own."""
        GLib.idle_add(lambda: work(*args) and False)

    def fail(self, cause):
        tell("error", text=str(cause))
        self.loop.quit()

    # ---- signalling ----

    def connect(self):
        host, port = self.options.broker.rsplit(":", 1)
        # Version 1 of paho has no versions of callbacks.
        versions = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []
        self.client = mqtt.Client(*versions, client_id=self.options.id)
        self.client.on_connect = lambda client, *_: client.subscribe(self.options.partner, qos=1)
        self.client.on_subscribe = lambda *_: self.soon(self.online)
        self.client.on_message = lambda _client, _data, message: self.soon(self.take, json.loads(message.payload))
        self.client.connect(host, int(port))
        self.client.loop_start()

    def say(self, **message):
        return self.client.publish(self.options.id, json.dumps(message), qos=1)

    def online(self):
        tell("online")
        if self.options.role == "call":
            self.pipeline.set_state(Gst.State.PLAYING)
            self.webrtc.connect("on-negotiation-needed", lambda _: self.soon(self.describe_ourselves, "offer"))

    def take(self, message):
        tell("heard", type=message["type"])
        match message["type"]:
            case "bye":
                self.end("remote")
            case "offer":
                # Only a pipeline that plays has the formats of what it sends.
                self.pipeline.set_state(Gst.State.PLAYING)
                self.describe_other("offer", message["sdp"], lambda: self.describe_ourselves("answer"))
            case "answer":
                self.describe_other("answer", message["sdp"], lambda: None)
            case "candidate":
                self.candidate(message["label"], message["candidate"])

    # ---- descriptions ----

    def describe_ourselves(self, kind):
        """Makes an offer or an answer, and says it; candidates follow."""

        def made(promise):
            # What it holds goes with it.
            reply = promise.get_reply()
            description = reply.get_value(kind)
            # Said before candidates are gathered: a candidate may not overtake its description.
            self.say(type=kind, sdp=description.sdp.as_text())
            self.webrtc.emit("set-local-description", description, Gst.Promise.new())

        self.webrtc.emit(f"create-{kind}", None, Gst.Promise.new_with_change_func(made))

    def describe_other(self, kind, sdp, then):
        _, message = GstSdp.SDPMessage.new_from_text(sdp)
        kinds = {"offer": GstWebRTC.WebRTCSDPType.OFFER, "answer": GstWebRTC.WebRTCSDPType.ANSWER}
        description = GstWebRTC.WebRTCSessionDescription.new(kinds[kind], message)

        def done():
            self.described = True
            for early in self.early:
                self.candidate(*early)
            then()

        promise = Gst.Promise.new_with_change_func(lambda _: self.soon(done))
        self.webrtc.emit("set-remote-description", description, promise)

    def candidate(self, line, candidate):
        if self.described:
            self.webrtc.emit("add-ice-candidate", line, candidate)
        else:
            self.early.append((line, candidate))

    def gathered(self, line, candidate):
        self.say(type="candidate", label=line, id="", candidate=candidate)

    def changed(self):
        state = self.webrtc.get_property("connection-state").value_nick
        tell("state", state=state)
        if state == "connected":
            GLib.timeout_add_seconds(1, self.report)
            if self.options.talk:
                GLib.timeout_add(int(self.options.talk * 1000), lambda: self.end("local"))

    # ---- what is received ----

    def receive(self, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        sound = pad.get_current_caps().get_structure(0).get_string("media") == "audio"
        bin = Gst.parse_bin_from_description(HEAR if sound else SEE, True)
        sink = bin.get_by_name("sink")
        if sound:
            sink.connect("new-sample", self.hear)
        else:
            sink.connect("handoff", self.see)
        self.pipeline.add(bin)
        bin.sync_state_with_parent()
        pad.link(bin.get_static_pad("sink"))

    def hear(self, sink):
        buffer = sink.emit("pull-sample").get_buffer()
        samples = array.array("h", buffer.extract_dup(0, buffer.get_size()))
        # Where the time stamp is later than the end of the sound before, there is none.
        if self.due is not None and buffer.pts - self.due > Gst.MSECOND:
            self.ear.missing((buffer.pts - self.due) / Gst.MSECOND)
        elif not self.ear.ms:
            tell("first_audio")
        self.due = buffer.pts + len(samples) * Gst.SECOND // RATE
        self.ear.hear(samples)
        return Gst.FlowReturn.OK

    def see(self, *_):
        if self.frames == 0:
            tell("first_frame")
        self.frames += 1

    def figures(self):
        return {"video": {"frames": self.frames}, "audio": self.ear.figures()}

    def report(self):
        tell("sound", **self.ear.figures())
        return not self.over

    def end(self, by):
        if self.over:
            return
        self.over = True
        if by == "local":
            self.say(type="bye").wait_for_publish(5)
        # The figures first: what comes while it closes is no part of the call.
        tell("ended", by=by, **self.figures())
        self.pipeline.set_state(Gst.State.NULL)
        self.client.disconnect()
        self.client.loop_stop()
        self.loop.quit()

    def run(self):
        self.connect()
        self.loop.run()


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["call", "answer"])
    parser.add_argument("--broker", required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--partner", required=True)
    parser.add_argument("--sound-only", action="store_true")
    parser.add_argument("--talk", type=float, help="hang up after so many seconds of call")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = options()
    Gst.init(None)
    missing = [name for name in ELEMENTS if Gst.ElementFactory.find(name) is None]
    if missing:
        sys.exit(f"GStreamer has no {', '.join(missing)}; install {PACKAGES}")
    Peer(arguments).run()
    sys.stdout.flush()
