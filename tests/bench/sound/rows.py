"""Rows of what the line and the other side do to sound. Each is a function of (bench, program), and gives figures by name.

`FIGURES` of a row: name, how it is shown, its mark in words, and what holds where the mark is met.
"""

import time

import numpy

import speech
from bench import begin_of, judged, say
from calls import ForwardedLine, Line
from quality import delays, holes, jumps, lag_of, spread
from speech import RATE
from wire import Wire

LOSSES = {0: 4.1, 5: 3.9, 10: 3.7, 20: 3.3, 30: 2.8}
BURSTS = {(3, 5): 3.4, (4, 10): 3.0}
RAW = ["--voice", "raw"]
JITTER_MS = 60
# Within that of where it was, a delay is back.
BACK_MS = 15
IP_AND_UDP = 28


def at_least(value):
    return f">= {value:g}", lambda figure: figure >= value


def at_most(value):
    return f"<= {value:g}", lambda figure: figure <= value


NO_MARK = ("", None)


def counted(stats, name, first, last):
    """How much a figure of received sound grew between two moments, in Unix seconds."""
    values = [event["received"]["audio"].get(name) for event in stats if event["received"].get("audio") and first <= event["ts"] / 1000 <= last]
    values = [value for value in values if value is not None]
    return values[-1] - values[0] if values else None


def lossy(bench, program, line, before=lambda line: None):
    samples, places = bench.script()
    with bench.call(program, line, alice=RAW, bob=RAW) as call:
        before(line)
        start = time.time()
        say(call, samples)
        heard, stats = call.finish(), call.stats(1)
        copies = [event["plan"]["sound_copies"] for event in call.stats(0) if event.get("plan")]
    marks, late = judged(samples, places, heard)
    begin, alike = begin_of(samples, heard)
    found = {"pesq": numpy.mean(marks), "pesq_least": min(marks), "delay_ms": numpy.median(late), "microphone": alike}
    found["marks"] = marks
    found["concealed"] = counted(stats, "concealed", start, time.time())
    if copies:
        found["copies"] = numpy.mean(copies[len(copies) // 4 :])
    return found


def loss(share):
    def row(bench, program):
        return lossy(bench, program, Line(loss=share / 100))

    return {"run": row, "figures": pesq_figures(LOSSES[share])}


def burst(length, share):
    def row(bench, program):
        return lossy(bench, program, ForwardedLine(), lambda line: line.tell(burst=length, share=share / 100))

    return {"run": row, "figures": pesq_figures(BURSTS[length, share])}


def pesq_figures(least):
    return [
        ("pesq", "PESQ-WB", "{:.2f}", *at_least(least)),
        ("pesq_least", "of the worst text", "{:.2f}", *NO_MARK),
        ("delay_ms", "mouth to ear, ms", "{:.0f}", *NO_MARK),
        ("concealed", "steps concealed", "{:.0f}", *NO_MARK),
        ("copies", "copies in a packet", "{:.1f}", *NO_MARK),
        ("microphone", "said as in the file", "{:.3f}", *NO_MARK),
    ]


# ---- delay ----


def mouth_to_ear(bench, program):
    samples = bench.looped(16)
    with bench.call(program, Line()) as call:
        say(call, samples)
        heard = call.finish()
    late = [ms for at, ms, _ in delays(heard.said, heard.heard, RATE) if at > 3]
    return {"delay_ms": numpy.median(late), "spread_ms": spread(late)}


def mouth_to_ear_in_jitter(bench, program):
    samples = bench.looped(26)
    line = ForwardedLine()
    with bench.call(program, line) as call:
        line.tell(jitter_ms=JITTER_MS)
        say(call, samples)
        heard = call.finish()
    late = [ms for at, ms, _ in delays(heard.said, heard.heard, RATE) if at > 10]
    return {"delay_ms": numpy.median(late), "spread_ms": spread(late)}


def burst_of_jitter(bench, program):
    samples, line = bench.looped(36), ForwardedLine()
    with bench.call(program, line, alice=RAW, bob=RAW) as call:
        playing = call.speak(samples)
        time.sleep(12)
        line.tell(jitter_ms=JITTER_MS)
        first = time.time()
        time.sleep(5)
        line.tell(jitter_ms=0)
        last = time.time()
        time.sleep(len(samples) / RATE - 17)
        if playing:
            playing.wait(30)
        heard, stats = call.finish(), call.stats(1)
    late = [(at + heard.base, ms) for at, ms, _ in delays(heard.said, heard.heard, RATE, hop_s=0.25)]
    of = lambda a, b: [ms for at, ms in late if a <= at < b]
    usual = numpy.median(of(first - 8, first - 1))
    # A window is of 1 s, and counts at its end.
    off = [at + 1 for at, ms in late if at > last and abs(ms - usual) > BACK_MS]
    found = {"before_ms": usual, "most_ms": max(of(first, last + 1)), "back_s": max(0, max(off, default=last) - last)}
    told = [(event["ts"] / 1000, (event["received"]["audio"] or {}).get("buffer_ms")) for event in stats]
    told = [each for each in told if each[1] is not None]
    before = [ms for at, ms in told if first - 8 <= at < first - 1]
    if before:
        change = lambda at, ms: (ms - numpy.median(before)) - (near(late, at - 0.5) - usual)
        found["told_off_in_ms"] = numpy.median([change(*each) for each in told if first + 1 < each[0] < last])
        found["told_off_after_ms"] = max((change(*each) for each in told if last + 5 < each[0] < late[-1][0]), key=abs)
    return found


def near(late, at):
    return min(late, key=lambda each: abs(each[0] - at))[1]


# ---- another sender ----


def packets(options):
    def row(bench, program):
        lead, judged_s = 8, 14
        samples, places = bench.script(2)
        with bench.call(program, Line(), sender=options, bob=RAW) as call:
            begin = time.time()
            call.speak(samples)
            time.sleep(lead)
            first = time.time()
            time.sleep(judged_s)
            last = time.time()
            time.sleep(max(0, begin + len(samples) / RATE + 1.5 - last))
            heard, stats = call.finish(), call.stats(1)
        marks, late = judged(samples, places, heard)
        found = {"concealed": counted(stats, "concealed", first, last), "late_holes": counted(stats, "holes", first, last)}
        return found | {"pesq": numpy.mean(marks), "delay_ms": numpy.median(late)}

    figures = [
        ("concealed", "steps concealed in 14 s", "{:.0f}", *at_most(0)),
        ("late_holes", "holes told", "{:.0f}", *NO_MARK),
        ("pesq", "PESQ-WB", "{:.2f}", *NO_MARK),
        ("delay_ms", "mouth to ear, ms", "{:.0f}", *NO_MARK),
    ]
    return {"run": row, "figures": figures}


def clock(ppm):
    def row(bench, program):
        samples = bench.looped(bench.seconds)
        with bench.call(program, Line(), sender=["--packet-ms", 20, "--ppm", ppm], bob=RAW) as call:
            start = time.time()
            call.speak(samples)
            time.sleep(bench.seconds + 1.5)
            heard, stats = call.finish(ppm), call.stats(1)
        late = [(at, ms) for at, ms, _ in delays(heard.said, heard.heard, RATE) if at > 8]
        usual = numpy.median([ms for _, ms in late])
        first = [ms for at, ms in late if at < late[0][0] + 10]
        last = [ms for at, ms in late if at > late[-1][0] - 10]
        after = int(8 * RATE)
        found = {"delay_ms": usual, "spread_ms": spread([ms for _, ms in late])}
        found |= {"drift_ms": numpy.median(last) - numpy.median(first)}
        found["holes"] = len(holes(heard.said[after:], heard.heard[after:], RATE, usual))
        found["concealed"] = counted(stats, "concealed", start + 8, time.time())
        found["late_holes"] = counted(stats, "holes", start + 8, time.time())
        return found

    figures = [
        ("delay_ms", "mouth to ear, ms", "{:.0f}", *NO_MARK),
        ("spread_ms", "its spread, ms (95 - 5 %)", "{:.0f}", *at_most(10)),
        ("drift_ms", "its change from begin to end, ms", "{:.0f}", "within 5", lambda figure: abs(figure) <= 5),
        ("holes", "holes that are heard", "{}", *at_most(0)),
        ("concealed", "steps concealed", "{:.0f}", *at_most(0)),
        ("late_holes", "holes told", "{:.0f}", *NO_MARK),
    ]
    return {"run": row, "figures": figures}


# ---- silence, tone, lips ----


def silence(bench, program):
    with bench.call(program, Line(), video="none") as call:
        say(call, bench.looped(4))
        time.sleep(2)
        wire = Wire(call.line.namespaces[1])
        time.sleep(20)
        passed = wire.stop()
    rtp = passed.get("rtp", (0, 0))
    without = rtp[1] - rtp[0] * IP_AND_UDP * 8 / 1000
    return {"kbit": rtp[1], "rtp_kbit": without, "packets": rtp[0], "all_kbit": sum(kbit for _, kbit in passed.values())}


def tone(bench, program):
    hertz, seconds = 440, 12
    samples = speech.tone(hertz, seconds)
    with bench.call(program, Line(), alice=RAW, bob=RAW) as call:
        say(call, samples)
        heard = call.finish()
    begin, _ = lag_of(samples[: 2 * RATE], heard.said[: 20 * RATE])
    found = {}
    for name, sound in (("jumps_said", heard.said), ("jumps", heard.heard)):
        found[name] = len(jumps(sound[begin + 3 * RATE : begin + (seconds - 1) * RATE], RATE, hertz))
    return found


ROWS = {
    **{f"loss-{share}": loss(share) for share in LOSSES},
    **{f"burst-{length}-at-{share}": burst(length, share) for length, share in BURSTS},
    "mouth-to-ear": {
        "run": mouth_to_ear,
        "figures": [
            ("delay_ms", "mouth to ear, ms", "{:.0f}", *at_most(80)), ("spread_ms", "its spread, ms", "{:.0f}", *NO_MARK),
        ],
    },
    "mouth-to-ear-jitter": {
        "run": mouth_to_ear_in_jitter,
        "figures": [
            ("delay_ms", "mouth to ear, ms", "{:.0f}", *at_most(140)), ("spread_ms", "its spread, ms", "{:.0f}", *NO_MARK),
        ],
    },
    "burst-of-jitter": {
        "run": burst_of_jitter,
        "figures": [
            ("before_ms", "mouth to ear before, ms", "{:.0f}", *NO_MARK),
            ("most_ms", "most of it, ms", "{:.0f}", *NO_MARK),
            ("back_s", "back after, s", "{:.1f}", *at_most(5)),
            ("told_off_in_ms", "change told less change heard, ms", "{:+.0f}", *NO_MARK),
            ("told_off_after_ms", "the same afterwards, worst", "{:+.0f}", "within 15", lambda figure: abs(figure) <= 15),
        ],
    },
    **{f"packets-{ms}": packets(["--packet-ms", ms]) for ms in (10, 20, 40, 60)},
    "packets-dtx": packets(["--packet-ms", 20, "--dtx"]),
    **{f"clock-{ppm}": clock(ppm) for ppm in (200, 1000)},
    "silence": {
        "run": silence,
        "figures": [
            ("rtp_kbit", "RTP, kbit/s", "{:.1f}", *at_most(3)),
            ("kbit", "with IP and UDP, kbit/s", "{:.1f}", *NO_MARK),
            ("packets", "packets of it a second", "{:.1f}", *NO_MARK),
            ("all_kbit", "all of UDP, kbit/s", "{:.1f}", *NO_MARK),
        ],
    },
    "tone": {
        "run": tone,
        "figures": [("jumps", "jumps heard in 8 s", "{}", *at_most(0)), ("jumps_said", "at the microphone", "{}", *NO_MARK)],
    },
}
