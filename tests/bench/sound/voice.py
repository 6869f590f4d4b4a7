"""Rows of what is done at both ends: echo, noise, lips, processor. Of tring alone: the programs beside it have neither a
sound device nor voice processing here. See rows.py for the form."""

import time

import numpy

import speech
from bench import say
from calls import AFTER_S, Line
from network import Meter
from quality import SPEECH_DB, alike, delays, lag_of, level_db, levels_db, loss_db, noise_lowered_db, placed, spread, steps_ms
from rows import NO_MARK, RAW, at_least, at_most
from speech import RATE

ECHO_DB = -6
NOISE_DB = 10
# What mouth to ear adds to the delay of what comes back, about.
OWN_MS = 100
# An echo that is not that much lower is heard.
FOUND_DB = 40
LIPS_S = 25
TONES, STEP_MS = [400, 600, 800, 1000, 1200, 1400, 1600, 1800], 500


class Echo:
    """Bob's speaker into bob's microphone, for the time of the context."""

    def __init__(self, bench, delay_ms):
        self.sound, self.index = bench.sound, None
        self.change(delay_ms)

    def __enter__(self):
        return self

    def change(self, delay_ms):
        self.__exit__()
        self.index = self.sound.loop("b_spk", "b_voice", delay_ms, ECHO_DB)

    def __exit__(self, *_):
        if self.index:
            self.sound.unloop(self.index)


def echo_call(bench, delay_ms, said, voice=(), during=lambda call, echo: None):
    """What bob's speaker played, what bob's microphone heard and what alice heard, on one time base (Unix seconds); and
    what `during` gave, which is called when alice begins to speak."""
    with bench.call("tring", Line(), alice=RAW, bob=voice) as call, Echo(bench, delay_ms) as echo:
        call.record(microphone="b_mic", returned="a_spk.monitor")
        time.sleep(1)
        playing = call.speak(said)
        given = during(call, echo)
        playing.wait(len(said) / RATE + 30)
        time.sleep(AFTER_S)
        heard = call.finish()
        returned, microphone = (call.finish_recording(name, heard.base, len(heard.heard)) for name in ("returned", "microphone"))
        voices = [event["voice"] for event in call.stats(1) if event.get("voice")]
    if path_ms(heard.heard, microphone) is None:
        raise OSError("there was no echo: the sound system was too slow")
    return heard, microphone, returned, given, voices


def begin_s(samples):
    """When it becomes loud."""
    return float(numpy.flatnonzero(levels_db(samples, RATE) > SPEECH_DB + 10)[0]) / 100


def echo(delay_ms):
    def row(bench, _program):
        said = bench.looped(12)
        heard, microphone, returned, _, voices = echo_call(bench, delay_ms, said)
        found = {"echo_ms": path_ms(heard.heard, microphone), "return_db": returned_db(heard, returned, delay_ms)}
        found["found_s"] = found_s(heard.heard, returned, delay_ms + OWN_MS, begin_s(heard.heard))
        found["told_db"] = next((voice["echo_return_loss_sent_db"] for voice in reversed(voices)), None)
        if delay_ms == 100:
            heard, _, returned, _, _ = echo_call(bench, delay_ms, said[: 6 * RATE], RAW)
            found["raw_db"] = returned_db(heard, returned, delay_ms)
        return found

    figures = [
        ("return_db", "echo return loss after 1 s, dB", "{:.0f}", *at_least(40)),
        ("found_s", "last quarter of a second below 40 dB, s", "{:.2f}", *at_most(1)),
        ("told_db", "told by bob, dB", "{:.0f}", *NO_MARK),
        ("echo_ms", "echo that was made, ms", "{:.0f}", *NO_MARK),
        ("raw_db", "with --voice raw, dB", "{:.0f}", *NO_MARK),
    ]
    return {"run": row, "figures": figures, "alone": True}


def path_ms(played, microphone):
    found = delays(played, microphone, RATE)
    return float(numpy.median([ms for _, ms, _ in found])) if found else None


def returned_db(heard, returned, delay_ms):
    """Of what bob's speaker plays and alice hears again, from 1 s after it began."""
    # What comes back has the delay of the echo and that of mouth to ear; where nothing comes back, nobody can find it.
    late = path_ms(heard.heard, returned) or delay_ms + OWN_MS
    return loss_db(heard.heard, returned, RATE, late, begin_s(heard.heard) + 1)


def found_s(played, returned, late_ms, at):
    """How long after `at` the echo is last heard: the end of the last quarter of a second in which it is not 40 dB lower."""
    found = [0]
    for part in numpy.arange(at, len(played) / RATE - 1, 0.25):
        loss = loss_db(played, returned, RATE, late_ms, part, part + 0.25)
        if loss is not None and loss < FOUND_DB:
            found.append(part + 0.25 - at)
    return max(found)


def echo_that_moves(bench, _program):
    said = bench.looped(18)

    def during(_call, echo):
        time.sleep(8)
        echo.change(250)
        return time.time()

    heard, microphone, returned, changed, _ = echo_call(bench, 100, said, during=during)
    at = changed - heard.base
    before = path_ms(*(sound[: int(at * RATE)] for sound in (heard.heard, microphone)))
    after = path_ms(*(sound[int((at + 1) * RATE) :] for sound in (heard.heard, microphone)))
    late = (after or 250) + OWN_MS
    whole = loss_db(heard.heard, returned, RATE, late, at + 2, at + 8)
    return {"found_s": found_s(heard.heard, returned, late, at), "after_db": whole, "from_ms": before, "to_ms": after}


def double_talk(bench, _program):
    """Alice speaks all the time; bob begins after 5 s. Then bob alone, which is what there is to compare with."""
    names = list(bench.texts)
    near, _ = speech.script(names[1:2] + names[-1:], bench.texts)
    said = bench.looped(6 + len(near) / RATE)

    def during(call, _echo):
        times = []
        time.sleep(5)
        for after in (3, 0):
            times.append(time.time())
            call.speak(near, "b").wait(60)
            time.sleep(after)
        return times

    heard, microphone, returned, times, _ = echo_call(bench, 100, said, during=during)
    places = []
    for at in times:
        first = int((at - heard.base) * RATE)
        places.append(first + lag_of(near, microphone[first : first + len(near) + 3 * RATE])[0])
    both, alone = (alike(near, returned[at : at + len(near) + RATE], RATE) for at in places)
    # Beside what is sent without an echo, which has been through the same processing and encoder.
    with_echo, without = (returned[at : at + len(near) + RATE] for at in (places[0], places[1] - RATE // 2))
    end = places[0] + len(near)
    far_at_near = level_db(heard.heard[places[0] : end]) + ECHO_DB - level_db(near)
    sent = alike(with_echo[: len(near)], without, RATE)
    return {"sent": sent, "alike": both, "alike_alone": alone, "echo_db": far_at_near}


def noise(bench, _program):
    clean = numpy.concatenate([numpy.zeros(2 * RATE), bench.looped(16)])
    loud = clean[levels_mask(clean)]
    noisy = clean + speech.noise(len(clean) / RATE, level_db(loud) - NOISE_DB)[: len(clean)]
    found = {}
    for name, voice in (("lowered_db", ["--voice", "full"]), ("raw_db", RAW)):
        with bench.call("tring", Line(), alice=voice, bob=RAW) as call:
            say(call, noisy)
            heard = call.finish()
        begin, _ = lag_of(noisy, heard.said)
        late = delays(clean, heard.heard[begin:], RATE)
        # The first seconds are left to it, to know the noise.
        first = 6 * RATE
        parts = (clean[first:], noisy[first:]), heard.heard[begin + first :]
        found[name] = noise_lowered_db(*parts, RATE, numpy.median([ms for _, ms, _ in late]))
    return found


def levels_mask(samples):
    flags = numpy.repeat(levels_db(samples, RATE) > SPEECH_DB, RATE // 100)
    return numpy.concatenate([flags, numpy.zeros(len(samples) - len(flags), bool)])


def lips(bench, _program):
    told = ["--audio", "tone"]
    with bench.call("tring", Line(), alice=told, bob=told) as call:
        time.sleep(LIPS_S)
        recording = call.recordings.pop("heard")
        sound, start = recording.end()
        stats = call.stats(1)
    told = [event["received"]["sync_ms"] for event in stats if event["received"].get("sync_ms") is not None][8:]
    late = steps_ms(sound, RATE, start, TONES, STEP_MS)
    pictures = [(event["ts"] / 1000, numpy.median(event["received"]["video"]["latencies_ms"])) for event in stats if (event["received"].get("video") or {}).get("latencies_ms")]
    outside = [ms - min(pictures, key=lambda picture: abs(picture[0] - at))[1] for at, ms in late[6:]]
    found = {"told_ms": numpy.median(told), "told_spread_ms": spread(told)} if told else {}
    return found | {"outside_ms": numpy.median(outside), "outside_spread_ms": spread(outside)} if outside else found


def cores(bench, _program):
    samples, found = bench.looped(20), {}
    for name, voice in (("full", ["--voice", "full"]), ("raw", RAW)):
        with bench.call("tring", Line(), alice=voice, bob=voice) as call:
            playing = [call.speak(samples, end) for end in "ab"]
            time.sleep(3)
            meter = Meter(call.line, call.pids)
            meter.start()
            time.sleep(15)
            found[name] = numpy.mean(meter.stop())
            for each in playing:
                each.wait(30)
    return found | {"more": found["full"] - found["raw"]}


VOICE_ROWS = {
    "lips": {
        "run": lips, "alone": True,
        "figures": [
            ("told_ms", "received.sync_ms", "{:+.0f}", "within 40", lambda figure: abs(figure) <= 40),
            ("told_spread_ms", "its spread, ms", "{:.0f}", *NO_MARK),
            ("outside_ms", "speaker's tone less pictures' latency, ms", "{:+.0f}", "within 40", lambda figure: abs(figure) <= 40),
            ("outside_spread_ms", "its spread, ms", "{:.0f}", *NO_MARK),
        ],
    },
    **{f"echo-{ms}": echo(ms) for ms in (50, 100, 200, 300)},
    "echo-moves": {
        "run": echo_that_moves, "alone": True,
        "figures": [
            ("found_s", "last 250 ms below 40 dB after the change, s", "{:.2f}", *at_most(2)),
            ("after_db", "echo return loss from 2 s after it, dB", "{:.0f}", *at_least(FOUND_DB)),
            ("from_ms", "echo before, ms", "{:.0f}", *NO_MARK),
            ("to_ms", "echo after, ms", "{:.0f}", *NO_MARK),
        ],
    },
    "double-talk": {
        "run": double_talk, "alone": True,
        "figures": [
            ("sent", "correlation with what is sent without echo", "{:.2f}", *at_least(0.9)),
            ("alike", "with the near end", "{:.2f}", *NO_MARK),
            ("alike_alone", "the same without echo", "{:.2f}", *NO_MARK),
            ("echo_db", "echo over the near end, dB", "{:+.0f}", *NO_MARK),
        ],
    },
    "noise": {
        "run": noise, "alone": True,
        "figures": [
            ("lowered_db", "speech stands out more by, dB", "{:.0f}", *at_least(12)),
            ("raw_db", "with --voice raw, dB", "{:.0f}", *NO_MARK),
        ],
    },
    "cores": {
        "run": cores, "alone": True,
        "figures": [
            ("full", "cores a peer", "{:.2f}", *NO_MARK), ("raw", "with --voice raw", "{:.2f}", *NO_MARK),
            ("more", "difference", "{:+.2f}", *NO_MARK),
        ],
    },
}  # fmt: skip
