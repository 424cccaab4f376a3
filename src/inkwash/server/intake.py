"""Pictures that come with a request: checked, stripped of all but their pixels and their label, and kept for the worker."""

import asyncio
from typing import Any, NamedTuple

from PIL import Image

from inkwash.core.errors import DataError
from inkwash.inference.provenance.read import salvaged
from inkwash.server.errors import invalid
from inkwash.server.store import Store, as_png, read_picture


class Upload(NamedTuple):
    """A picture and the name of its file. source: the IPTC type where a model had made it or worked on it, else None."""

    picture: Image.Image
    file: str
    source: str | None


class Intake:
    """store: where uploads are kept. most: pixels of one."""

    def __init__(self, store: Store, most: int):
        self.store, self.most = store, most

    async def picture(self, data: bytes | None, what: str) -> Upload:
        """Raises ApiError for what is no picture, too large, or not there."""
        return await asyncio.to_thread(self._picture, data, what)  # seconds, where it is large: others do not wait for it

    async def mask(self, data: bytes, size: tuple[int, int]) -> str:
        """The file of a mask, white where the one sent is transparent, or, where it has no transparency, white. Raises ApiError."""
        return await asyncio.to_thread(self._mask, data, size)

    async def hole(self, picture: Image.Image, facts: dict[str, Any]) -> str | None:
        """The file of a mask of where the picture itself is transparent, the older dialect's way; None for models that draw such places."""
        return await asyncio.to_thread(self._hole, picture, facts)

    def _picture(self, data: bytes | None, what: str) -> Upload:
        picture = self._read(data, what)
        try:
            traces = salvaged(data, f"The {what}")
            return Upload(picture, self.store.put(as_png(picture, traces), "png"), traces.generated)
        except DataError as error:
            raise invalid(str(error), what, "invalid_image") from None

    def _mask(self, data: bytes, size: tuple[int, int]) -> str:
        mask = self._read(data, "mask")
        if mask.size != size:
            said = f"The mask is {mask.width}x{mask.height} and the picture {size[0]}x{size[1]}: they need the same size."
            raise invalid(said, "mask", "invalid_mask")
        if mask.mode == "RGBA" and mask.getchannel("A").getextrema()[0] < 255:
            white = mask.getchannel("A").point(lambda a: 255 - a)
        else:
            white = mask.convert("L")
        if white.getextrema()[1] <= 127:
            said = "The mask leaves nothing to be made: it is transparent, or white, where something new is wanted."
            raise invalid(said, "mask", "invalid_mask")
        return self.store.put(as_png(white), "png")

    def _hole(self, picture: Image.Image, facts: dict[str, Any]) -> str | None:
        if picture.mode != "RGBA" or facts["shape"][0] == 4 or picture.getchannel("A").getextrema()[0] > 127:
            return None
        return self.store.put(as_png(picture.getchannel("A").point(lambda a: 255 - a)), "png")

    def _read(self, data: bytes | None, what: str) -> Image.Image:
        if not data:
            raise invalid(f"There is no picture: send it as {what!r}.", what, "missing_required_parameter")
        try:
            return read_picture(data, self.most, what)
        except DataError as error:
            raise invalid(str(error), what, "invalid_image") from None
