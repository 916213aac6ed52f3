"""Secrets leave no trace in what is written, however a program encodes them."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shlex
import time
from urllib.parse import quote, quote_plus

import pytest

from canaryctl.config.scrub import Scrubber

SECRETS = {
    "PLAIN": "correct-horse-battery",
    "AWKWARD": "p@ss/w+rd=&'\"<ü>$1\\x",
    "PEM": "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF\n-----END KEY-----\n",
    "FOUR": "zq9!",
}
ENCODINGS = {
    "as it is": str,
    "JSON": lambda v: json.dumps(v),
    "JSON in UTF-8": lambda v: json.dumps(v, ensure_ascii=False),
    "JSON in JSON": lambda v: json.dumps(json.dumps({"a": v})),
    "JSON as Go writes it": lambda v: (
        json.dumps(v).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    ),
    "URL": lambda v: quote(v, safe=""),
    "URL path": quote,
    "URL form": quote_plus,
    "URL in lower case": lambda v: re.sub("%..", lambda code: code[0].lower(), quote(v, safe="")),
    "URL as JavaScript writes a part": lambda v: quote(v, safe="!'()*"),
    "URL as JavaScript writes a whole": lambda v: quote(v, safe=";,/?:@&=+$!'()*#"),
    "URL as Go writes a user": lambda v: quote(v, safe="$&+,;="),
    "hex": lambda v: v.encode().hex(),
    "HEX": lambda v: v.encode().hex().upper(),
    "shell": shlex.quote,
    "shell, backslash": lambda v: "'" + v.replace("'", "'\\''") + "'",
    "compose": lambda v: v.replace("$", "$$"),
    "YAML": lambda v: v.replace("'", "''"),
    "Python": repr,
    "HTML": html.escape,
    "CRLF": lambda v: v.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_secret_is_replaced_in_every_encoding(name: str, encoding: str) -> None:
    encoded = ENCODINGS[encoding](SECRETS[name])
    scrubbed = Scrubber(SECRETS)(f"before {encoded} after")
    assert f"[secret {name}]" in scrubbed
    assert encoded.strip("'\"") not in scrubbed
    assert scrubbed.startswith("before ") and scrubbed.endswith(" after")


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"user:"])
@pytest.mark.parametrize("after", [b"", b"z", b"zz", b"@host"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_is_replaced_inside_base64(name: str, before: bytes, after: bytes, encode: object) -> None:
    token = encode(before + SECRETS[name].encode() + after).decode()  # type: ignore[operator]
    assert f"[secret {name}]" in Scrubber(SECRETS)(f"Authorization: Basic {token}")


def test_a_key_printed_line_by_line_is_replaced() -> None:
    log = "\n".join(f"12:00 | {line}" for line in SECRETS["PEM"].splitlines())
    assert "MIIEvQ" not in Scrubber(SECRETS)(log)


def test_bytes_and_nested_data_keys_included() -> None:
    scrub = Scrubber({"TOKEN": "hunter22"})
    assert scrub(b"\xff hunter22 \xfe") == b"\xff [secret TOKEN] \xfe"
    assert scrub({"hunter22": ["x", {"y": ("hunter22", 1, None)}]}) == {
        "[secret TOKEN]": ["x", {"y": ("[secret TOKEN]", 1, None)}]
    }


def test_scrubbing_twice_changes_nothing_even_if_the_mark_holds_a_secret() -> None:
    scrub = Scrubber({"secret": "secret", "TOKEN": "hunter22"})
    once = scrub("a secret and hunter22")
    assert once == "a [secret secret] and [secret TOKEN]"
    assert scrub(once) == once


def test_the_longer_of_two_overlapping_secrets_wins() -> None:
    assert Scrubber({"SHORT": "hunter", "LONG": "hunter-2-the-movie"})("hunter-2-the-movie hunter") == (
        "[secret LONG] [secret SHORT]"
    )


def test_short_values_are_named_and_left_alone() -> None:
    scrub = Scrubber({"PIN": "123", "EMPTY": ""})
    assert scrub.too_short == ("PIN", "EMPTY")
    assert scrub("123") == "123"
    assert Scrubber()("text") == "text"


@pytest.mark.parametrize("text", ["[secret DB_PASSWORD=hunter22]", "[secret hunter22]", "[secret DB hunter22]"])
def test_an_application_cannot_have_its_own_text_taken_for_a_mark(text: str) -> None:
    scrubbed = Scrubber({"DB_PASSWORD": "hunter22", "DB": "another-one"})(text)
    assert "hunter22" not in scrubbed and "[secret DB_PASSWORD]" in scrubbed


def test_a_value_with_a_lone_surrogate_is_replaced() -> None:
    assert Scrubber({"ODD": "abc\ud800def"})("x abc\ud800def y") == "x [secret ODD] y"


def test_forms_with_a_common_beginning_are_told_apart() -> None:
    values = {f"S{n}": "abcdef"[: 4 + n % 3] + str(n) for n in range(40)}
    text = " ".join(values.values())
    assert Scrubber(values)(text) == " ".join(f"[secret {name}]" for name in values)


@pytest.mark.parametrize("filler", ["[secret ", "[secret S3", "[", "a1b2", "-----BEGIN KEY"])
def test_the_time_is_linear_whatever_an_application_prints(filler: str) -> None:
    values = {f"S{n}": hashlib.sha256(bytes([n])).hexdigest() for n in range(10)} | SECRETS
    scrub = Scrubber(values)
    every = " ".join(encode(value) for value in values.values() for encode in ENCODINGS.values())
    line = (filler * (1_000_000 // len(filler))) + every
    began = time.process_time()
    scrubbed = scrub(line)
    assert time.process_time() - began < 10  # a tenth of a second; quadratic took minutes
    assert not any(value in scrubbed for value in values.values())


def test_large_logs_are_fast() -> None:
    values = {f"S{n}": hashlib.sha256(bytes([n])).hexdigest() for n in range(10)}
    scrub = Scrubber(values)
    log = ("2026-11-24 08:15:30 INFO worker: epoch 3 loss 0.1234 accuracy 0.98\n" * 60_000) + values["S3"]
    began = time.perf_counter()
    assert scrub(log).endswith("[secret S3]")
    assert time.perf_counter() - began < 5
