"""The second implementation against the vectors, byte by byte; and the attacks, which it makes and refuses.

    python3 -m unittest discover -s tests/foreign
    python3 tests/foreign/test_sealed.py --write    writes tests/vectors/attacks.json anew
"""

import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sealed  # noqa: E402
from sealed import ChaCha20Poly1305, Identity, Refused, content, context, derive_key_pair, exchange, key_of, raw, tag  # noqa: E402

VECTORS = pathlib.Path(__file__).parents[1] / "vectors"
SEAL = json.loads((VECTORS / "seal.json").read_text())
PEERS = {peer["id"]: Identity(bytes.fromhex(peer["secret"])) for peer in SEAL["identities"]}
RUN_A, RUN_B, RANDOM = "00000000000000aa-0", "00000000000000bb-0", b"\x5e" * 32


def ringing(sender="alice", receiver="bob", ts=1700000000000):
    said = {"v": 1, "id": "00000000000000aa-1", "from": sender, "to": receiver, "ts": ts}
    said |= {"call": "0123456789abcdef0123456789abcdef", "type": "ringing"}
    return json.dumps(said, separators=(",", ":")).encode()


def make(plain, dh=None, sender="alice", keys=None):
    """A box for bob with whatever is in `plain`, made by `keys`, or by whoever can make `dh`."""
    keys, bob = keys or PEERS["alice"], PEERS["bob"]
    public = keys if isinstance(keys, bytes) else keys.keys
    ephemeral = derive_key_pair(RANDOM)
    enc, clear = raw(ephemeral.public_key()), b"\x01" + public + tag(bob.keys, RUN_B)
    info = context(sender, "bob", RUN_B, public, bob.keys)
    static = dh or exchange(keys.sealing, bob.keys[32:])
    key, nonce = key_of(exchange(ephemeral, bob.keys[32:]) + static, enc, bob.keys[32:], public[32:], info)
    return clear + enc + ChaCha20Poly1305(key).encrypt(nonce, plain(info), clear)


def attacks():
    """What an attacker makes: a name, what she makes, and why it is refused."""
    alice, bob, mallory = PEERS["alice"], PEERS["bob"], PEERS["mallory"]
    genuine = sealed.seal(alice, RUN_A, bob.keys, RUN_B, ringing(), RANDOM)
    by_alice = lambda envelope: lambda info: content(info, RUN_A, envelope, alice.signing.sign)
    unsigned = lambda info: content(info, RUN_A, ringing(), mallory.signing.sign)
    bob_to_alice = sealed.seal(bob, RUN_B, alice.keys, RUN_A, ringing("bob", "alice"), RANDOM)
    yield "changed on the way", genuine[:200] + bytes([genuine[200] ^ 1]) + genuine[201:], "Forged"
    yield "cut on the way", genuine[:-1024], "Length"
    yield "plain", ringing(), "Form"
    yield "a later form", b"\x02" + genuine[1:], "Form"
    yield "sent back", bob_to_alice, "Reflected"
    yield "of an earlier run of the receiver", sealed.seal(alice, RUN_A, bob.keys, RUN_A, ringing(), RANDOM), "NotForUs"
    yield "for an earlier key of the receiver", sealed.seal(alice, RUN_A, mallory.keys, RUN_B, ringing(), RANDOM), "NotForUs"
    yield "of another peer, on alice's topic", sealed.seal(mallory, RUN_A, bob.keys, RUN_B, ringing("mallory"), RANDOM), "Forged"
    wrong_name = sealed.seal(mallory, RUN_A, bob.keys, RUN_B, ringing(), RANDOM)
    yield "with the keys of another", b"\x01" + alice.keys + wrong_name[65:], "Forged"
    # DH(bob's secret, alice's public key) is what alice has from her secret and bob's public key.
    stolen = exchange(bob.sealing, alice.keys[32:])
    yield "with the stolen secrets of the receiver", make(unsigned, dh=stolen, keys=alice.keys), "Signature"
    yield "signed for another message", make(lambda info: by_alice(ringing())(info + b"x")), "Signature"
    yield "another receiver inside", make(by_alice(ringing("alice", "carol"))), "Mixed"
    yield "another sender inside", make(by_alice(ringing("mallory"))), "Mixed"
    yield "without a date", make(by_alice(ringing(ts=0))), "Undated"
    yield "nothing inside", make(by_alice(b"{}")), "Unreadable"
    yield "something after the end", make(lambda info: by_alice(ringing())(info)[:-1] + b"x"), "Content"
    yield "no content", make(lambda info: b"\xff" * 1024), "Content"


def as_json():
    common = {"from": "alice", "to": "bob", "to_run": RUN_B}
    made = [{"name": n, **common, "sealed": data.hex(), "error": error} for n, data, error in attacks()]
    return json.dumps(made, indent=2) + "\n"


class Vectors(unittest.TestCase):
    def test_identities(self):
        for peer in SEAL["identities"]:
            keys = PEERS[peer["id"]].keys
            self.assertEqual(sealed.text_of(keys), peer["keys"])
            self.assertEqual(sealed.data_of(peer["keys"], 64), keys)
            self.assertEqual(sealed.fingerprint(keys).hex(), peer["fingerprint"])
            self.assertEqual(sealed.as_words(sealed.fingerprint(keys), 12), peer["words"])

    def test_messages(self):
        for message in SEAL["messages"]:
            me, other = PEERS[message["from"]], PEERS[message["to"]]
            envelope, data = message["envelope"].encode(), bytes.fromhex(message["sealed"])
            random = bytes.fromhex(message["random"])
            made = sealed.seal(me, message["from_run"], other.keys, message["to_run"], envelope, random)
            self.assertEqual(made, data)
            opened = sealed.open_sealed(other, message["to"], message["to_run"], message["from"], data)
            self.assertEqual((opened.envelope, opened.keys, opened.run), (envelope, me.keys, message["from_run"]))

    def test_presences(self):
        for kept in SEAL["presences"]:
            presence, keys = sealed.read_presence(kept["id"], kept["presence"])
            me, seal = PEERS[kept["id"]], presence["seal"]
            self.assertEqual(keys, me.keys)
            made = sealed.sign_presence(me, kept["id"], presence["state"], presence["run"], seal["since"], seal["ts"])
            self.assertEqual(made, kept["presence"])
            with self.assertRaisesRegex(Refused, "ForgedPresence"):
                sealed.read_presence("mallory", kept["presence"])
            with self.assertRaisesRegex(Refused, "ForgedPresence"):
                sealed.read_presence(kept["id"], kept["presence"].replace(presence["state"], "busy"))

    def test_short_authentication_strings(self):
        for kept in SEAL["short_authentication_strings"]:
            nonces = [bytes.fromhex(kept[f"{side}_nonce"]) for side in ("caller", "callee")]
            sides = [(kept[side], PEERS[kept[side]].keys) for side in ("caller", "callee")]
            promised = sealed.commitment(nonces[0], kept["call"], sides[0][1])
            self.assertEqual(sealed.text_of(promised), kept["commitment"])
            words = sealed.words(kept["call"], *sides, kept["caller_sdp"], kept["callee_sdp"], *nonces)
            self.assertEqual(words, kept["words"])

    def test_handshakes(self):
        for kept in SEAL["handshakes"]:
            call, keys = kept["call"], [PEERS[kept[side]].keys for side in ("caller", "callee")]
            ids = [kept["caller"], kept["callee"]]
            caller = sealed.Words(call, "caller", *zip(ids, keys), nonce=b"\x0a" * 16)
            callee = sealed.Words(call, "callee", *zip(ids, keys), nonce=b"\x0b" * 16)
            for said in kept["said"]:
                message, mine = said["message"], (caller, callee)[said["from"] == kept["callee"]]
                bare = {k: v for k, v in message.items() if k not in ("commitment", "nonce")}
                self.assertEqual(mine.sent(bare), message)
                self.assertIsNone((caller, callee)[mine is caller].heard(message))
            self.assertEqual((caller.words, callee.words), (kept["words"], kept["words"]))

    def test_a_nonce_that_does_not_fit_is_refused(self):
        kept = SEAL["handshakes"][0]
        ids, keys = ("alice", "bob"), [PEERS[peer].keys for peer in ("alice", "bob")]
        callee = sealed.Words(kept["call"], "callee", *zip(ids, keys))
        callee.heard(kept["said"][0]["message"])
        callee.sent({"type": "answer", "sdp": "v=0\r\n"})
        with self.assertRaisesRegex(Refused, "Commitment"):
            callee.heard({"type": "nonce", "nonce": sealed.text_of(b"\x0c" * 16)})
        self.assertIsNone(callee.words)


class Attacks(unittest.TestCase):
    def test_each_is_refused_for_its_reason(self):
        for name, data, error in attacks():
            with self.subTest(name), self.assertRaisesRegex(Refused, f"^{error}$"):
                sealed.open_sealed(PEERS["bob"], "bob", RUN_B, "alice", data)

    def test_half_of_the_keys_of_another_are_another_identity(self):
        alice, bob, mallory = PEERS["alice"], PEERS["bob"], PEERS["mallory"]
        half = mallory.keys[:32] + alice.keys[32:]
        stolen = exchange(bob.sealing, alice.keys[32:])
        data = make(lambda info: content(info, RUN_A, ringing(), mallory.signing.sign), dh=stolen, keys=half)
        opened = sealed.open_sealed(bob, "bob", RUN_B, "alice", data)
        self.assertNotEqual(sealed.fingerprint(opened.keys), sealed.fingerprint(alice.keys))

    def test_they_are_those_that_the_program_is_tested_with(self):
        self.assertEqual((VECTORS / "attacks.json").read_text(), as_json())


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        (VECTORS / "attacks.json").write_text(as_json())
    else:
        unittest.main()
