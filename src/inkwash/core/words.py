"""What language a text is in."""

import re

_CHINESE = re.compile(r"[\u3400-\u9fff]")


def is_chinese(text: str) -> bool:
    """Whether it has a Chinese character."""
    return bool(_CHINESE.search(text))
