from __future__ import annotations

import base64

import pytest

from archiver.message import Message, parse
from tests.message.test_body import multipart, part

_PLAIN = part("text/plain", b"plain")
_SIGNATURE = part("application/pgp-signature")
_SIGNED = multipart("signed", _PLAIN, _SIGNATURE)
_VERSION = part("application/pgp-encrypted", b"Version: 1")
_ENCRYPTED = part("application/octet-stream; name=encrypted.asc", b"-----BEGIN PGP MESSAGE-----")
_PGP_MIME = multipart("encrypted", _VERSION, _ENCRYPTED)
_CLEAR = b"""Hello,
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA512

text
-----BEGIN PGP SIGNATURE-----

iQ==
-----END PGP SIGNATURE-----
"""
_ARMOUR = b"-----BEGIN PGP MESSAGE-----\n\nhQ==\n-----END PGP MESSAGE-----\n"
_HTML = b"<html><pre>" + _ARMOUR + b"</pre></html>"

# The beginning of CMS data of a type: SEQUENCE, here of indefinite length, then the type.
_CMS_SIGNED = bytes.fromhex("308006092a864886f70d010702a080")
_CMS_ENVELOPED = bytes.fromhex("308202a006092a864886f70d010703a08202")
_CMS_AUTH_ENVELOPED = bytes.fromhex("3080060b2a864886f70d0109100117a080")
_CMS_COMPRESSED = bytes.fromhex("3080060b2a864886f70d0109100109a080")


def pkcs7(parameters: str, data: bytes = b"", type_: str = "application/pkcs7-mime") -> bytes:
    return part(type_ + parameters, base64.encodebytes(data), "Content-Transfer-Encoding: base64")


def said(message: Message) -> str:
    return " ".join(name for name in ("encrypted", "signed") if getattr(message, name))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (_PLAIN, ""),
        (_SIGNED, "signed"),
        (multipart("mixed", _SIGNED, part("text/plain", b"a footer"), boundary=b"c"), "signed"),
        (multipart("signed", part("text/plain"), part("application/pkcs7-signature")), "signed"),
        (multipart("mixed", _PLAIN, _SIGNATURE), ""),
        (_PGP_MIME, "encrypted"),
        (multipart("mixed", part("text/plain", b""), _VERSION, _ENCRYPTED), "encrypted"),
        (multipart("signed", _PGP_MIME, _SIGNATURE, boundary=b"c"), "encrypted signed"),
        (pkcs7("; smime-type=enveloped-data"), "encrypted"),
        (pkcs7("; smime-type=authEnveloped-data; name=smime.p7m"), "encrypted"),
        (pkcs7("; smime-type=signed-data", type_="application/x-pkcs7-mime"), "signed"),
        (pkcs7("; smime-type=certs-only", _CMS_SIGNED), ""),
        (pkcs7("; name=smime.p7c", _CMS_SIGNED), ""),
        (pkcs7("", _CMS_SIGNED), "signed"),
        (pkcs7("", _CMS_ENVELOPED), "encrypted"),
        (pkcs7("", _CMS_AUTH_ENVELOPED), "encrypted"),
        (pkcs7("", _CMS_COMPRESSED), ""),
        (pkcs7("", b""), ""),
        (pkcs7("; name=smime.P7M", _CMS_ENVELOPED, "application/octet-stream"), "encrypted"),
        (pkcs7("; name=report.pdf", _CMS_ENVELOPED, "application/octet-stream"), ""),
        (part("text/plain", _CLEAR), "signed"),
        (part("text/plain", _ARMOUR), "encrypted"),
        (part("text/plain", _ARMOUR + _CLEAR), "encrypted signed"),
        (part("text/html", _HTML), "encrypted"),
        (part("application/pgp; x-action=sign", _CLEAR), "signed"),
        (part("text/plain", b"> " + _CLEAR.replace(b"\n", b"\n> ")), ""),
        (part("text/plain", _CLEAR.partition(b"-----END")[0]), ""),
        (part("text/plain", b"a line with -----BEGIN PGP MESSAGE----- and\n-----END PGP MESSAGE-----"), ""),
        (part("text/plain", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n-----END PGP PUBLIC KEY BLOCK-----"), ""),
        (multipart("mixed", _PLAIN, part("message/rfc822", _SIGNED), boundary=b"c"), ""),
        (multipart("mixed", _PLAIN, part("message/rfc822", part("text/plain", _ARMOUR))), ""),
    ],
)  # fmt: skip
def test_what_a_message_says_of_itself(raw: bytes, expected: str) -> None:
    assert said(parse(raw)) == expected


def test_text_of_old_pgp_mail_is_read() -> None:
    message = parse(part("application/pgp; format=text; x-action=sign", _CLEAR))
    assert message.text.startswith("Hello,") and message.attachments == ()
