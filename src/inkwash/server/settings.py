"""What the owner of a server decides."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from inkwash.core.config import Config
from inkwash.core.errors import ConfigError, FileError
from inkwash.inference.provenance.write import Provenance

LOOPBACK = ("127.0.0.1", "::1", "localhost")
SHORTEST_KEY = 16  # characters


class Limits(Config):
    """Of one request: bytes of its body, pixels of a picture, images, steps, characters of a prompt. queue: jobs that may wait.
    seconds: that a request waits for its job."""

    body: int = Field(50 << 20, ge=1 << 10)
    pixels: int = Field(16_777_216, ge=1)
    images: int = Field(10, ge=1)
    steps: int = Field(200, ge=1)
    prompt: int = Field(4000, ge=1)
    queue: int = Field(100, ge=1)
    seconds: float = Field(600.0, gt=0)


class ServerConfig(Config):
    """models: names, runs or folders; the first is meant where a request names none. folder: the queue and all pictures.

    sizes: of a picture of a size that no model makes, "scale" it or "refuse" it. keep: hours that pictures stay, None for as long as
    nobody removes them; at least one. hosts: names that a request may call this server by. training: whether requests may start
    training. data: folders that training may read. provenance: what pictures say of their making.
    """

    models: tuple[str, ...] = Field(min_length=1)
    folder: Path
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    hosts: tuple[str, ...] = ()
    sizes: Literal["scale", "refuse"] = "scale"
    keep: float | None = Field(None, ge=1)
    device: str = "auto"
    precision: str = "auto"
    training: bool = True
    data: tuple[Path, ...] = ()
    limits: Limits = Limits()
    provenance: Provenance = Provenance()

    @property
    def loopback(self) -> bool:
        return self.host in LOOPBACK


def read_key(path: str | None, given: str | None, config: ServerConfig) -> str | None:
    """The key of a file, or else the one given by the environment; None where there is none and none is needed.

    Raises ConfigError for a server that others can reach without a key and for a short one, FileError for a file that cannot be read.
    """
    key = given
    if path is not None:
        try:
            key = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise FileError(f"The key file {path} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}.") from None
    if key is not None and (len(key) < SHORTEST_KEY or not key.isascii() or not key.isprintable() or " " in key):
        raise ConfigError(f"A key has at least {SHORTEST_KEY} printable characters and no spaces: openssl rand -hex 24 makes one.")
    if key is None and not config.loopback:
        raise ConfigError(f"A server on {config.host} can be reached by others: give it a key, --api-key-file FILE or INKWASH_API_KEY.")
    return key
