"""What language a text is in, and words that say nothing of a picture."""

import re

# A text that only lists things does not say how they stand: that is no mistake of the picture, whatever else could be said in their place.
JOINING = frozenset({"and", "with", "beside", "next", ",", "和", "与", "、", "旁"})
_CHINESE = re.compile(r"[\u3400-\u9fff]")


def is_chinese(text: str) -> bool:
    """Whether it has a Chinese character."""
    return bool(_CHINESE.search(text))
