"""C2PA by c2pa-python, with a chain of certificates made here; without the library, one clear sentence."""

import datetime
import importlib.util
import io
import json

import pytest
from PIL import Image

from annex_e import first_label_of, label_of
from inkwash.core.errors import ConfigError, DataError
from inkwash.inference.provenance.read import read
from inkwash.inference.provenance.sign import CHAIN, KEY, checked, signer
from inkwash.inference.provenance.write import Provenance, encode

HERE = importlib.util.find_spec("c2pa") is not None and importlib.util.find_spec("cryptography") is not None
with_library = pytest.mark.skipif(not HERE, reason="c2pa-python and cryptography are not installed")
FACTS = {"prompt": "SECRET prompt", "model": "m", "seed": 1, "size": "48x32"}
NOT_TRUSTED = "signingCredential.untrusted"  # nobody knows the authority that we made up: the one thing that may be wrong


@pytest.fixture(scope="module", params=["p256", "p384", "ed25519", "rsa"])
def keys(request, tmp_path_factory):
    """A folder with a key and its chain: an authority of our own and a certificate for signing."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    make = {
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
    }[request.param]
    authority, own = ec.generate_private_key(ec.SECP256R1()), make()
    now = datetime.datetime.now(datetime.UTC)

    def named(name: str) -> x509.Name:
        return x509.Name(
            [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Inkwash tests"), x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]
        )

    def certificate(name: str, key, is_authority: bool) -> bytes:
        for_data = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only")
        usage = dict.fromkeys(("digital_signature", "key_cert_sign", "crl_sign", *for_data), False)
        usage |= {"key_cert_sign": True, "crl_sign": True} if is_authority else {"digital_signature": True}
        builder = x509.CertificateBuilder(named("authority"), named(name), key.public_key(), x509.random_serial_number(),
                                          now - datetime.timedelta(days=1), now + datetime.timedelta(days=9))  # fmt: skip
        builder = builder.add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        if not is_authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    folder = tmp_path_factory.mktemp(request.param)
    (folder / CHAIN).write_bytes(certificate("signer", own, False) + certificate("authority", authority, True))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / KEY).write_bytes(own.private_bytes(*plain))
    return folder


def told(data: bytes, mime: str) -> dict:
    import c2pa

    return json.loads(c2pa.Reader(mime, io.BytesIO(data)).json())


def picture(colour: str = "teal") -> Image.Image:
    return Image.new("RGB", (48, 32), colour)


@with_library
@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_a_signed_picture_says_who_made_it_and_holds(format, keys):
    mime = f"image/{format}"
    data = encode(picture(), FACTS, format, Provenance(label="cn", producer="ABC", visible=True, sign=str(keys)))
    record = told(data, mime)
    assert record["validation_state"] == "Valid" and {s["code"] for s in record["validation_status"]} == {NOT_TRUSTED}
    manifest = record["manifests"][record["active_manifest"]]
    (action,) = next(a["data"]["actions"] for a in manifest["assertions"] if a["label"].startswith("c2pa.actions"))
    assert action["action"] == "c2pa.created" and action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert "thumbnail" not in manifest and "title" not in manifest and b"SECRET" not in json.dumps(record).encode()
    traces = read(data)
    assert traces.signed and traces.facts == FACTS and first_label_of(data) == traces.label, "signed last, all else is there"
    assert checked(data, mime) == {"state": "Valid", "by": "Inkwash tests"}
    if format == "png":  # one byte of the text that says who made it
        assert checked(data.replace(b"SECRET prompt", b"SECRET pr0mpt"), mime)["state"] == "Invalid"


@with_library
def test_an_edit_opens_the_picture_it_was_made_of(keys):
    given = Provenance(label="cn", producer="ABC", sign=str(keys))
    once = encode(picture(), FACTS, "png", given)
    edit = {"model": "m", "edit": "inpaint", "of": "SECRET.png"}
    data = encode(picture("red"), edit, "jpeg", given.model_copy(update={"personal": False}), original=read(once))
    record = told(data, "image/jpeg")
    assert record["validation_state"] == "Valid" and len(record["manifests"]) == 2, "the first one's manifest is inside"
    manifest = record["manifests"][record["active_manifest"]]
    actions = next(a["data"]["actions"] for a in manifest["assertions"] if a["label"].startswith("c2pa.actions"))
    assert [a["action"] for a in actions] == ["c2pa.opened", "c2pa.edited"]
    assert [i["relationship"] for i in manifest["ingredients"]] == ["parentOf"]
    assert label_of(data)["ProduceID"] == label_of(once)["ProduceID"] and b"SECRET" not in data
    unsigned = encode(picture("red"), edit, "png", original=read(once))
    assert not read(unsigned).signed, "a manifest that no longer holds is not carried along"


@with_library
def test_keys_of_no_use_are_refused_before_anything_is_made(tmp_path, keys):
    with pytest.raises(ConfigError, match=r"no chain\.pem"):
        Provenance(sign=str(tmp_path)).check()
    (tmp_path / CHAIN).write_bytes((keys / CHAIN).read_bytes())
    with pytest.raises(ConfigError, match=r"no key\.pem"):
        signer(str(tmp_path))
    for text, message in (
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n", "is encrypted"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key that C2PA knows"),
        ("-----BEGIN PRIVATE KEY-----\nA!\n-----END PRIVATE KEY-----\n", "no private key that C2PA knows"),
        ("hello", "no private key that C2PA knows"),
    ):
        (tmp_path / KEY).write_text(text)
        with pytest.raises(ConfigError, match=message):
            signer(str(tmp_path))
    (tmp_path / KEY).write_bytes((keys / KEY).read_bytes())
    (tmp_path / CHAIN).write_text("no certificate")
    with pytest.raises(ConfigError, match="cannot be signed"):
        encode(picture(), FACTS, "png", Provenance(sign=str(tmp_path)))


@with_library
def test_a_manifest_that_is_damaged_is_one_sentence(keys):
    data = encode(picture(), FACTS, "png", Provenance(sign=str(keys)))
    start = data.index(b"caBX") + 30
    with pytest.raises(DataError, match="C2PA manifest that cannot be read"):
        checked(data[:start] + bytes(60) + data[start + 60 :], "image/png")


def test_without_the_library_there_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "c2pa", None)
    with pytest.raises(ConfigError, match=r"pip install 'inkwash\[c2pa\]'"):
        Provenance(sign=str(tmp_path)).check()
    with pytest.raises(ConfigError, match=r"pip install 'inkwash\[c2pa\]'"):
        encode(picture(), FACTS, "png", Provenance(sign=str(tmp_path)))
    assert checked(encode(picture(), FACTS, "png"), "image/png") is None
