"""From files, arrays and worlds to batches of tensors."""

from inkwash.data.dataset import Dataset
from inkwash.data.loader import Loader
from inkwash.data.open import open_held_out, open_source
from inkwash.data.source import Record, Source
from inkwash.data.view import Facts, View, facts

__all__ = ["Dataset", "Facts", "Loader", "Record", "Source", "View", "facts", "open_held_out", "open_source"]
