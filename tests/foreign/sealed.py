"""Sealed messages of tring, a second time: written from docs/SECURITY.md and RFC 9180 alone, no code of tring's.

    open_sealed(me, "bob", run, "alice", payload) -> Opened
    seal(me, from_run, keys, to_run, envelope) -> bytes
    read_presence("alice", payload), sign_presence(...)
    commitment(...), words(...), and Words, one side's way to them in a call
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

WORDS = (pathlib.Path(__file__).parents[2] / "signalling/src/seal/words.txt").read_text().split()


class Refused(Exception):
    """Its text is the name of the reason, as docs/SECURITY.md has it."""


def text_of(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def data_of(text, length):
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(data) != length or text_of(data) != text:
        raise ValueError(f"not {length} bytes of base64url")
    return data


def lp(text):
    """A text with its length in one byte before it."""
    data = text.encode()
    return bytes([len(data)]) + data


def raw(public):
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


class Identity:
    def __init__(self, secret):
        self.signing = Ed25519PrivateKey.from_private_bytes(secret[:32])
        self.sealing = X25519PrivateKey.from_private_bytes(secret[32:])
        self.keys = raw(self.signing.public_key()) + raw(self.sealing.public_key())


def fingerprint(keys):
    return hashlib.sha256(b"tring identity 1\0" + keys).digest()


def as_words(data, count):
    bits = "".join(f"{byte:08b}" for byte in data)
    return " ".join(WORDS[int(bits[n * 11 : n * 11 + 11], 2)] for n in range(count))


# ---- HPKE, RFC 9180: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, mode auth ----

KEM_SUITE = b"KEM" + struct.pack(">H", 0x0020)
HPKE_SUITE = b"HPKE" + struct.pack(">HHH", 0x0020, 0x0001, 0x0003)


def extract(salt, ikm):
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def expand(prk, info, length):
    out, block, n = b"", b"", 0
    while len(out) < length:
        n += 1
        block = hmac.digest(prk, block + info + bytes([n]), "sha256")
        out += block
    return out[:length]


def labeled_extract(suite, salt, label, ikm):
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite, prk, label, info, length):
    return expand(prk, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)


def derive_key_pair(ikm):
    prk = labeled_extract(KEM_SUITE, b"", b"dkp_prk", ikm)
    return X25519PrivateKey.from_private_bytes(labeled_expand(KEM_SUITE, prk, b"sk", b"", 32))


def exchange(secret, public):
    return secret.exchange(X25519PublicKey.from_public_bytes(public))


def key_of(dh, enc, to_key, from_key, info):
    """Key and nonce of the one message of a box, from what both sides have in common."""
    prk = labeled_extract(KEM_SUITE, b"", b"eae_prk", dh)
    shared = labeled_expand(KEM_SUITE, prk, b"shared_secret", enc + to_key + from_key, 32)
    psk_id = labeled_extract(HPKE_SUITE, b"", b"psk_id_hash", b"")
    context = b"\x02" + psk_id + labeled_extract(HPKE_SUITE, b"", b"info_hash", info)
    secret = labeled_extract(HPKE_SUITE, shared, b"secret", b"")
    key = labeled_expand(HPKE_SUITE, secret, b"key", context, 32)
    return key, labeled_expand(HPKE_SUITE, secret, b"base_nonce", context, 12)


# ---- sealed messages ----


def tag(keys, run):
    return hashlib.sha256(b"tring receiver 1\0" + keys + lp(run)).digest()[:16]


def context(sender, receiver, to_run, from_keys, to_keys):
    return b"tring sealed message 1\0" + lp(sender) + lp(receiver) + lp(to_run) + from_keys + to_keys


def padded(length):
    if length <= 1024:
        return 1024
    if length <= 32768:
        return 1 << (length - 1).bit_length()
    return -(-length // 32768) * 32768


def content(info, from_run, envelope, sign):
    inner = lp(from_run) + struct.pack(">I", len(envelope)) + envelope
    signed = sign(b"tring signed message 1\0" + info + inner) + inner
    return signed.ljust(padded(len(signed)), b"\0")


def seal(me, from_run, to_keys, to_run, envelope, random=None):
    names = json.loads(envelope)
    info = context(names["from"], names["to"], to_run, me.keys, to_keys)
    clear = b"\x01" + me.keys + tag(to_keys, to_run)
    ephemeral = derive_key_pair(random or os.urandom(32))
    enc = raw(ephemeral.public_key())
    dh = exchange(ephemeral, to_keys[32:]) + exchange(me.sealing, to_keys[32:])
    key, nonce = key_of(dh, enc, to_keys[32:], me.keys[32:], info)
    plain = content(info, from_run, envelope, me.signing.sign)
    return clear + enc + ChaCha20Poly1305(key).encrypt(nonce, plain, clear)


@dataclass
class Opened:
    envelope: bytes
    keys: bytes
    run: str


def open_sealed(me, my_id, my_run, sender, payload):
    if payload[:1] != b"\x01":
        raise Refused("Form")
    length = len(payload) - 129
    if length < 1024 or padded(length) != length or length > 7 * 32768:
        raise Refused("Length")
    clear, keys, enc = payload[:81], payload[1:65], payload[81:113]
    if payload[65:81] != tag(me.keys, my_run):
        raise Refused("Reflected" if keys == me.keys else "NotForUs")
    info = context(sender, my_id, my_run, keys, me.keys)
    try:
        dh = exchange(me.sealing, enc) + exchange(me.sealing, keys[32:])
        key, nonce = key_of(dh, enc, me.keys[32:], keys[32:], info)
        plain = ChaCha20Poly1305(key).decrypt(nonce, payload[113:], clear)
    except (InvalidTag, ValueError):
        raise Refused("Forged") from None
    try:
        run_length = plain[64]
        run = plain[65 : 65 + run_length].decode()
        (envelope_length,) = struct.unpack_from(">I", plain, 65 + run_length)
        end = 69 + run_length + envelope_length
        envelope = plain[69 + run_length : end]
    except (UnicodeDecodeError, struct.error):
        raise Refused("Content") from None
    if end > len(plain) or any(plain[end:]):
        raise Refused("Content")
    try:
        Ed25519PublicKey.from_public_bytes(keys[:32]).verify(
            plain[:64], b"tring signed message 1\0" + info + plain[64:end]
        )
    except (InvalidSignature, ValueError):
        raise Refused("Signature") from None
    try:
        said = json.loads(envelope)
        if (said["from"], said["to"]) != (sender, my_id):
            raise Refused("Mixed")
        if not said.get("ts"):
            raise Refused("Undated")
    except (ValueError, KeyError, TypeError):
        raise Refused("Unreadable") from None
    return Opened(envelope, keys, run)


# ---- presence ----


def presence_signed(peer, presence):
    seal = presence["seal"]
    keys = data_of(seal["keys"], 64)
    dates = struct.pack(">QQ", seal["since"], seal["ts"])
    return keys, b"tring presence 1\0" + lp(peer) + lp(presence["state"]) + lp(presence["run"]) + keys + dates


def sign_presence(me, peer, state, run, since, ts):
    presence = {"v": 1, "state": state, "run": run}
    presence["seal"] = {"keys": text_of(me.keys), "since": since, "ts": ts}
    presence["seal"]["sig"] = text_of(me.signing.sign(presence_signed(peer, presence)[1]))
    return json.dumps(presence, separators=(",", ":"))


def read_presence(peer, payload):
    """The presence and the keys of its peer, None where it announces none."""
    presence = json.loads(payload)
    if presence.get("seal") is None:
        return presence, None
    keys, signed = presence_signed(peer, presence)
    try:
        Ed25519PublicKey.from_public_bytes(keys[:32]).verify(data_of(presence["seal"]["sig"], 64), signed)
    except InvalidSignature:
        raise Refused("ForgedPresence") from None
    return presence, keys


# ---- the short authentication string ----


def fingerprints(sdp):
    lines = (line.rstrip() for line in sdp.split("\n"))
    return sorted({line[14:].strip().lower() for line in lines if line.startswith("a=fingerprint:")})


def commitment(nonce, call, caller_keys):
    return hashlib.sha256(b"tring commitment 1\0" + lp(call) + caller_keys + nonce).digest()


def words(call, caller, callee, caller_sdp, callee_sdp, caller_nonce, callee_nonce):
    """`caller` and `callee` are pairs of ID and keys."""
    data = b"tring words 1\0" + lp(call)
    for peer, keys in (caller, callee):
        data += lp(peer) + keys
    for sdp in (caller_sdp, callee_sdp):
        text = "\n".join(fingerprints(sdp)).encode()
        data += struct.pack(">I", len(text)) + text
    return as_words(hashlib.sha256(data + caller_nonce + callee_nonce).digest(), 4)


class Words:
    """One side's way to the words of a call: `sent` adds to each message of ours what it carries, `heard` takes in what the
    other side says. `caller` and `callee` are pairs of ID and keys, `role` is which of them we are."""

    def __init__(self, call, role, caller, callee, nonce=None):
        self.call, self.role, self.caller, self.callee = call, role, caller, callee
        self.nonce, self.promised, self.theirs, self.words = nonce or os.urandom(16), None, None, None
        self.sdp = {}

    def sent(self, message):
        match message["type"]:
            case "offer":
                self.sdp["caller"] = message["sdp"]
                return message | {"commitment": text_of(commitment(self.nonce, self.call, self.caller[1]))}
            case "early-answer" | "answer" if self.promised:
                self.sdp.setdefault("callee", message["sdp"])
                return message | {"nonce": text_of(self.nonce)}
            case "nonce":
                return message | {"nonce": text_of(self.nonce)}
        return message

    def heard(self, message):
        match message["type"]:
            case "offer" if "commitment" in message:
                self.sdp["caller"], self.promised = message["sdp"], data_of(message["commitment"], 32)
            case "early-answer" | "answer" if "nonce" in message and self.words is None:
                self.sdp["callee"], self.theirs = message["sdp"], data_of(message["nonce"], 16)
                self.agree(self.nonce, self.theirs)
            case "nonce" if self.promised and self.words is None:
                told = data_of(message["nonce"], 16)
                if commitment(told, self.call, self.caller[1]) != self.promised:
                    raise Refused("Commitment")
                self.agree(told, self.nonce)

    def agree(self, of_caller, of_callee):
        sdp = self.sdp["caller"], self.sdp["callee"]
        self.words = words(self.call, self.caller, self.callee, *sdp, of_caller, of_callee)
