"""What a scene shows, in English and Chinese, in words that vary from scene to scene and are always true of it."""

from collections.abc import Callable

from inkwash.core.errors import ConfigError
from inkwash.data.scenes.sampler import Draws
from inkwash.data.scenes.world import Object, Scene, alike

WORDS = {
    "en": {
        "circle": ("circle", "disc"), "square": ("square",), "triangle": ("triangle",), "star": ("star", "five-pointed star"),
        "heart": ("heart",), "ring": ("ring", "hoop"), "cross": ("cross", "plus sign"), "crescent": ("crescent", "crescent moon"),
        "red": ("red",), "orange": ("orange",), "yellow": ("yellow",), "green": ("green",),
        "cyan": ("cyan", "turquoise"), "blue": ("blue",), "purple": ("purple", "violet"), "pink": ("pink",),
        "small": ("small", "little", "tiny"), "medium": ("medium-sized", "mid-sized"), "large": ("large", "big"),
        "plain": ("plain", "smooth"), "striped": ("striped",), "dotted": ("dotted", "spotted"), "checked": ("checked", "chequered"),
        "left of": ("to the left of", "left of", "on the left side of"),
        "right of": ("to the right of", "right of", "on the right side of"),
        "above": ("above", "higher than"), "below": ("below", "beneath", "lower than"),
        "in front of": ("in front of", "partly covering"), "behind": ("behind", "partly covered by"),
    },
    "zh": {
        "circle": ("圆形", "圆", "圆片"), "square": ("正方形", "方块", "方形"), "triangle": ("三角形",), "star": ("五角星", "星星"),
        "heart": ("爱心", "心形"), "ring": ("圆环", "环"), "cross": ("十字", "十字形"), "crescent": ("月牙", "新月"),
        "red": ("红色", "红"), "orange": ("橙色", "橘色"), "yellow": ("黄色", "黄"), "green": ("绿色", "绿"),
        "cyan": ("青色",), "blue": ("蓝色", "蓝"), "purple": ("紫色", "紫"), "pink": ("粉色", "粉红色"),
        "small": ("小", "小小的"), "medium": ("中等大小的", "不大不小的"), "large": ("大", "大大的"),
        "plain": ("素面", "纯色"), "striped": ("条纹",), "dotted": ("圆点", "波点"), "checked": ("格子", "方格"),
        "left of": ("左边", "左侧"), "right of": ("右边", "右侧"), "above": ("上方", "上面"), "below": ("下方", "下面"),
        "in front of": ("前面", "前方"), "behind": ("后面", "后方"),
    },
}  # fmt: skip

GROUNDS = {
    "en": {
        "plain": ("on a {tone} ground", "on plain {tone} paper"), "paper": ("on rough {tone} paper", "on {tone} handmade paper"),
        "wash": ("on a {tone} wash of ink", "on a soft {tone} gradient"), "mist": ("in {tone} mist", "among {tone} clouds"),
        "hills": ("before {tone} hills", "before {tone} misty mountains"), "floor": ("in a bare {tone} room", "on an empty {tone} stage"),
    },
    "zh": {
        "plain": ("{tone}的背景上", "{tone}的素纸上"), "paper": ("粗糙的{tone}纸上", "{tone}的手工纸上"),
        "wash": ("{tone}的渐变底色上", "一片{tone}的墨晕上"), "mist": ("{tone}的薄雾里", "{tone}的云雾中"),
        "hills": ("{tone}的远山前", "{tone}的群山前"), "floor": ("{tone}的空屋里", "{tone}的空台上"),
    },
}  # fmt: skip

ASIDE = ("left of", "right of")
COUNTERS, USUAL = {"star": "颗", "heart": "颗", "crescent": "弯"}, "个"  # others take the usual one
NUMBERS = {
    "en": {2: ("two", "2"), 3: ("three", "3"), 4: ("four", "4")},
    "zh": {2: ("两", "2"), 3: ("三", "3"), 4: ("四", "4")},
}
DIGITS = 0.2  # share of numbers that are written so


def _number(language: str, n: int, draws: Draws) -> str:
    word, digit = NUMBERS[language][n]
    return digit if draws.uniform() < DIGITS else word


def _describe_en(group: tuple[Object, ...], draws: Draws, article: bool) -> str:
    o, n = group[0], len(group)
    word = lambda key: draws.pick(WORDS["en"][key])  # noqa: E731
    words = [word(o.size)] if draws.uniform() < 0.6 else []
    if draws.uniform() < (0.2 if o.texture == "plain" else 0.7):
        words.append(word(o.texture))
    words += [word(o.colour), word(o.shape)]
    if n > 1:
        plural = "es" if words[-1].endswith("s") else "s"
        return " ".join([_number("en", n, draws), *words]) + plural
    if article:
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    return " ".join(words)


def _describe_zh(group: tuple[Object, ...], draws: Draws, article: bool) -> str:
    o, n = group[0], len(group)
    word = lambda key: draws.pick(WORDS["zh"][key])  # noqa: E731
    size = word(o.size) if draws.uniform() < 0.6 else ""
    texture = word(o.texture) if draws.uniform() < (0.2 if o.texture == "plain" else 0.7) else ""
    colour, shape = word(o.colour), word(o.shape)
    of = "的" if colour.endswith("色") and draws.uniform() < 0.3 else ""
    # A bare 大 or 小 sits right before the shape, longer forms come first: 一个红色的大圆形, 一个大大的红色圆形.
    body = f"{colour}{of}{texture}{size}{shape}" if len(size) == 1 else f"{size}{colour}{of}{texture}{shape}"
    number = "一" if n == 1 else _number("zh", n, draws)
    return f"{number}{COUNTERS.get(o.shape, USUAL)}{body}" if article or n > 1 else body


def _english(scene: Scene, draws: Draws, loose: bool) -> str:
    article = draws.uniform() < 0.85
    groups = alike(scene)
    things = [_describe_en(group, draws, article) for group in groups]
    if len(things) > 1 and (loose or scene.relation is None):
        text = _listed_en(things, scene.relation, draws)
    else:
        text, rest = things[0], things[2:]
        if len(things) > 1:
            text += f" {draws.pick(WORDS['en'][scene.relation])} {things[1]}"
        if rest:
            text += draws.pick((", with ", ", and also ", ", beside them ")) + " and ".join(rest)
    if draws.uniform() < 0.4:
        tone = "pale" if sum(scene.background.near) > 384 else "dark"
        text += " " + draws.pick(GROUNDS["en"][scene.background.kind]).format(tone=tone)
    there = "there is {}" if len(groups[0]) == 1 else "there are {}"
    return draws.pick(("{}", "{}", there, "a picture of {}", "{}, in soft light")).format(text)


def _chinese(scene: Scene, draws: Draws, loose: bool) -> str:
    article = draws.uniform() < 0.8
    things = [_describe_zh(group, draws, article) for group in alike(scene)]
    if len(things) > 1 and (loose or scene.relation is None):
        text = _listed_zh(things, scene.relation, draws)
    else:
        text, rest = things[0], things[2:]
        if len(things) > 1:
            where = draws.pick(WORDS["zh"][scene.relation])
            form = draws.pick(("{a}在{b}的{where}", "{a}在{b}{where}", "{b}的{where}有{a}", "{b}{where}有{a}", "{b}的{where}是{a}"))
            text = form.format(a=things[0], b=things[1], where=where)
        if rest:
            text += draws.pick(("，还有", "，另有")) + "和".join(rest)
    if draws.uniform() < 0.4:
        tone = "浅色" if sum(scene.background.near) > 384 else "深色"
        text = draws.pick(GROUNDS["zh"][scene.background.kind]).format(tone=tone) + "，" + text
    return draws.pick(("{}", "{}", "画面里，{}", "图中，{}")).format(text)


def _listed_en(things: list[str], relation: str | None, draws: Draws) -> str:
    """Things, but not how they stand."""
    *most, last = things
    if len(things) == 2 and relation in ASIDE and draws.uniform() < 0.4:
        return draws.pick(("{} beside {}", "{} next to {}")).format(*things)
    form = draws.pick(("{} and {}", "{} and {}", "{}, {}", "{} with {}"))
    return form.format(", ".join(most), last)


def _listed_zh(things: list[str], relation: str | None, draws: Draws) -> str:
    *most, last = things
    if len(things) == 2 and relation in ASIDE and draws.uniform() < 0.4:
        return draws.pick(("{}在{}旁边", "{}旁边有{}")).format(*things)
    return draws.pick(("{}和{}", "{}和{}", "{}、{}", "{}与{}")).format("、".join(most), last)


LANGUAGES: dict[str, Callable[[Scene, Draws, bool], str]] = {"en": _english, "zh": _chinese}


def captions(scene: Scene, languages: tuple[str, ...] = ("en", "zh"), each: int = 1, loose: float = 0.0) -> tuple[str, ...]:
    """`each` captions in every language: the first object, its relation to the second, the others, and now and then the ground. Those that
    are alike are told at once, with their number.

    loose: share of captions that name the objects and no relation.

    The wording is drawn from the scene's own seed, so equal scenes get equal words. Raises ConfigError for an unknown language.
    """
    for language in languages:
        if language not in LANGUAGES:
            raise ConfigError(f"scenes speak {' and '.join(LANGUAGES)}, not {language!r}.")
    at = {language: list(LANGUAGES).index(language) for language in languages}
    seed = scene.background.seed
    return tuple(
        LANGUAGES[k](scene, Draws(seed, n, 100 + at[k]), loose > 0 and Draws(seed, n, 200 + at[k]).uniform() < loose)
        for k in languages
        for n in range(each)
    )
