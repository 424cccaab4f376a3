"""C2PA: a signed manifest of who made a picture, and how, bound to every byte of the file. It comes last, by the extra `c2pa`.

A folder holds the key: key.pem (PKCS#8 or SEC1, not encrypted) and chain.pem, its certificate and those above it. Nothing is sent
anywhere: no time stamp is fetched and no revocation asked for. The picture's name and thumbnails stay out of the manifest.
"""

import base64
import binascii
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from inkwash import __version__
from inkwash.core.errors import ConfigError, DataError
from inkwash.core.extras import library, reason

KEY, CHAIN, EXTRA = "key.pem", "chain.pem", "c2pa"
# What a key is for is told by the object identifier in it (RFC 5480, 8410, 8017), in DER; the algorithms are those of C2PA 2.x, 13.2.
_KINDS = {"06082a8648ce3d030107": "es256", "06052b81040022": "es384", "06052b81040023": "es512", "06032b6570": "ed25519"}
_KINDS |= {"06092a864886f70d010101": "ps256"}
_QUIET = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}


@dataclass(frozen=True)
class Signer:
    """A key with its certificates, as text, and the algorithm it signs by."""

    kind: str
    chain: str
    key: str = field(repr=False)


def signer(folder: str) -> Signer:
    """The key in a folder. Raises ConfigError where there is none of a kind that C2PA knows, or the extra is missing."""
    library("c2pa", EXTRA)
    texts = []
    for name in (CHAIN, KEY):
        try:
            texts.append((Path(folder) / name).read_text(encoding="ascii"))
        except (OSError, UnicodeError) as error:
            raise ConfigError(f"There is no {name} in PEM to sign with in {folder}: {reason(error)}.") from None
    return Signer(_kind(texts[1], folder), *texts)


def _kind(pem: str, folder: str) -> str:
    lines = [line.strip() for line in pem.splitlines()]
    if "ENCRYPTED" in pem:
        raise ConfigError(f"{folder}/{KEY} is encrypted: give it without a password, readable by you alone.")
    begins = [i for i, line in enumerate(lines) if line.startswith("-----BEGIN") and line.endswith("PRIVATE KEY-----")]
    try:
        (begin,) = begins
        body = lines[begin + 1 : next(i for i, line in enumerate(lines) if i > begin and line.startswith("-----END"))]
        der = base64.b64decode("".join(body), validate=True).hex()
        return "ps256" if "RSA PRIVATE" in lines[begin] else next(kind for mark, kind in _KINDS.items() if mark in der)
    except (ValueError, StopIteration, binascii.Error):
        raise ConfigError(
            f"{folder}/{KEY} is no private key that C2PA knows: it wants P-256, P-384, P-521, Ed25519 or RSA, in PEM."
        ) from None


def signed(data: bytes, mime: str, by: Signer, source: str | None, original: tuple[str, bytes] | None = None) -> bytes:
    """A finished file with a manifest in it. source: the IPTC type, as a URI. original: MIME type and bytes of what was edited.

    Raises ConfigError where the extra is missing or the key is refused.
    """
    c2pa = library("c2pa", EXTRA)
    try:
        made = _signed(c2pa, data, mime, by, source, original)
    except c2pa.C2paError as error:
        raise ConfigError(f"The picture cannot be signed: {reason(error)}.") from None
    return made


def _signed(c2pa: ModuleType, data: bytes, mime: str, by: Signer, source: str | None, original: tuple[str, bytes] | None) -> bytes:
    agent = {"name": "Inkwash", "version": __version__}
    told: dict[str, Any] = {"softwareAgent": agent, **({"digitalSourceType": source} if source else {})}
    actions = [{"action": "c2pa.created", **told}]
    if original is not None:
        actions = [{"action": "c2pa.opened", "parameters": {"ingredientIds": ["original"]}}, {"action": "c2pa.edited", **told}]
    manifest = {"claim_generator_info": [agent], "format": mime}
    manifest["assertions"] = [{"label": "c2pa.actions.v2", "data": {"actions": actions}}]
    builder = c2pa.Builder(manifest, c2pa.Context(settings=c2pa.Settings.from_dict(_QUIET)))
    if original is not None:
        builder.add_ingredient({"relationship": "parentOf", "label": "original"}, original[0], io.BytesIO(original[1]))
    info = c2pa.C2paSignerInfo(alg=by.kind, sign_cert=by.chain.encode(), private_key=by.key.encode(), ta_url=None)
    out = io.BytesIO()
    builder.sign(c2pa.Signer.from_info(info), mime, io.BytesIO(data), out)
    return out.getvalue()


def checked(data: bytes, mime: str) -> dict[str, Any] | None:
    """What a manifest's signature is worth: state (Valid, Trusted or Invalid) and who signed. None where the extra is missing.

    Raises DataError for a manifest that cannot be read.
    """
    try:
        c2pa = library("c2pa", EXTRA)
    except ConfigError:  # whoever has not installed it learns that a manifest is there, not more
        return None
    try:
        reader = c2pa.Reader(mime, io.BytesIO(data), None, c2pa.Context(settings=c2pa.Settings.from_dict(_QUIET)))
        told = json.loads(reader.json())
    except (c2pa.C2paError, ValueError) as error:
        raise DataError(f"has a C2PA manifest that cannot be read ({reason(error)})") from None
    active = told.get("manifests", {}).get(told.get("active_manifest"), {})
    return {"state": told.get("validation_state"), "by": active.get("signature_info", {}).get("issuer")}
