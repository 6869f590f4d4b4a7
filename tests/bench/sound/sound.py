"""Sound of whole calls, measured from outside, beside libwebrtc and aiortc; `./dev bench sound` starts it. See docs/TESTING.md."""

import fcntl
import json
import os
import signal
import sys
import tempfile
import time

import report
import speech
from bench import PROGRAMS, Bench, NotInstalled, installed, sound_system
from calls import ROOT
from command import Rows, say
from programs import tring_program
from rows import ROWS
from voice import VOICE_ROWS

ALL = ROWS | VOICE_ROWS


def options():
    parser = Rows("sound", __doc__, ALL)
    parser.add_argument("--alone", action="store_true", help="tring, without libwebrtc and aiortc beside it")
    parser.add_argument("--minutes", type=float, default=1, metavar="N", help="how long the rows clock-… are (1)")
    parser.add_argument("--texts", type=int, metavar="N", help="say the first N texts only, where PESQ is taken")
    parser.add_argument("--ahead", action="store_true", help="run the calls before what else the machine does (SCHED_RR)")
    parser.add_argument("--json", default=f"{ROOT}/target/sound.json", metavar="FILE", help="the figures")
    return parser.chosen()


def measured(bench, row, program):
    try:
        return {"figures": ALL[row]["run"](bench, program)}
    except NotInstalled as missing:
        return {"failed": str(missing)}
    except (OSError, ValueError, IndexError) as error:
        # A figure that nothing can be made of: sound that did not come through, say.
        return {"failed": f"{type(error).__name__}: {error}"}


def main():
    chosen = options()
    # Ended from outside, it takes its programs along too; SIGINT is ignored in the background of a shell.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    lock = open(f"{tempfile.gettempdir()}/tring-bench-sound.lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit("another ./dev bench sound runs: both would measure each other") from None
    programs = PROGRAMS[:1] if chosen.alone else PROGRAMS
    there, results = {program: installed(program) for program in programs}, []
    with tempfile.TemporaryDirectory(prefix="speech-") as folder, sound_system(chosen.ahead) as system:
        texts = speech.texts(folder)
        if "announcements" not in texts:
            say("alsa-utils is not installed: no text of a person's voice")
        texts = dict(list(texts.items())[: chosen.texts])
        bench = Bench(tring_program(), texts, system, chosen.minutes * 60, chosen.ahead)
        for row in chosen.rows:
            # The programs follow each other in each row, so that what else the machine does falls on all of them.
            for program in programs[:1] if ALL[row].get("alone") else programs:
                say(f"{row}: {program}")
                result = {"row": row, "program": program, "load": os.getloadavg()[0]}
                result |= measured(bench, row, program) if there[program] else {"failed": "not installed"}
                result["at"] = time.time()
                say(f"  {result.get('figures', result.get('failed'))}")
                results.append(result)
                with open(chosen.json, "w") as file:
                    json.dump({"at": int(time.time()), "results": results}, file, default=float)
    print(report.table({row: ALL[row] for row in ALL}, results, programs))
    for miss in report.misses(ALL, results):
        say(f"below its mark: {miss}")
    sys.exit(1 if any(result.get("failed", "not installed") != "not installed" for result in results) else 0)


if __name__ == "__main__":
    main()
