"""The tables of the pages about text and images, as in figure_tables.py."""

OBEYED = {
    "two": {"en": "objects of two, %", "zh": "两个物体时的物体，%"},
    "counts": {"en": "counts, %", "zh": "数目，%"},
    "relations": {"en": "relations, %", "zh": "关系，%"},
    "unreadable": {"en": "unreadable, %", "zh": "读不出，%"},
}
RANKED = {"first": {"en": "first, %", "zh": "第一，%"}, "five": {"en": "among five, %", "zh": "前五，%"}}

TABLES = {
    "prompts": (
        {"en": "`scenes-64`, right of what was asked for", "zh": "`scenes-64`，按要求画对的比例"},
        OBEYED,
        {
            "prompts.real": {"en": "real pictures, read in the same way", "zh": "真实图像，同样读取"},
            "prompts.test.en": {"en": "held-out compositions, English", "zh": "留出的组合，英文"},
            "prompts.test.zh": {"en": "held-out compositions, Chinese", "zh": "留出的组合，中文"},
            "prompts.val.en": {"en": "known compositions, English", "zh": "见过的组合，英文"},
            "prompts.val.zh": {"en": "known compositions, Chinese", "zh": "见过的组合，中文"},
            "prompts.once.en": {"en": "held out, English, `--of 1`", "zh": "留出，英文，`--of 1`"},
            "prompts.once.zh": {"en": "held out, Chinese, `--of 1`", "zh": "留出，中文，`--of 1`"},
        },
    ),
    "designs": (
        {
            "en": "scenes of 32 pixels, ten minutes of one core each, held-out compositions",
            "zh": "32 像素的场景，各用一个核训练十分钟，留出的组合",
        },
        {
            **OBEYED,
            "images": {"en": "images seen", "zh": "看过的图像"},
            "seconds": {"en": "seconds an image", "zh": "每张秒数"},
        },
        {
            "designs.latent": {"en": "(a) diffusion among latents", "zh": "(a) 隐变量上的扩散"},
            "designs.pixel": {"en": "(a) diffusion on pixels", "zh": "(a) 像素上的扩散"},
            "designs.dalle": {"en": "(b) codes after words, `dalle`", "zh": "(b) 词之后的码，`dalle`"},
            "designs.lstm": {"en": "(c) `text-lstm`", "zh": "(c) `text-lstm`"},
        },
    ),
    "drawing": (
        {"en": "two cores", "zh": "两个核"},
        {"seconds": {"en": "seconds", "zh": "秒"}},
        {
            "drawing.cold": {"en": "`inkwash draw`, from the shell to the file", "zh": "`inkwash draw`，从命令到文件"},
            "drawing.warm": {"en": "a picture, model loaded", "zh": "一张图，模型已载入"},
            "drawing.step": {"en": "a network of the same size here, one picture", "zh": "同样大小的网络，这里，一张图"},
            "drawing.diffusers": {"en": "in a pipeline of diffusers, equal steps", "zh": "在 diffusers 的管线里，步数相同"},
            "drawing.ratio": {"en": "times as quick", "zh": "快的倍数"},
            "drawing.latents": {"en": "diffusers among such latents, no decoder", "zh": "diffusers 在这样的隐变量里，不解码"},
        },
    ),
    "captions": (
        {"en": "captions of held-out pictures", "zh": "留出图像的描述"},
        {
            "right": {"en": "all right, %", "zh": "全对，%"},
            "two": {"en": "at most two objects, %", "zh": "至多两个物体，%"},
            "bleu": {"en": "BLEU-4", "zh": "BLEU-4"},
            "cider": {"en": "CIDEr", "zh": "CIDEr"},
        },
        {
            "captions.scenes.en": {"en": "`caption-scenes`, English", "zh": "`caption-scenes`，英文"},
            "captions.scenes.zh": {"en": "`caption-scenes`, Chinese", "zh": "`caption-scenes`，中文"},
            "captions.copied.en": {"en": "caption of the nearest training scene, English", "zh": "最近的训练场景的描述，英文"},
            "captions.copied.zh": {"en": "the same, Chinese", "zh": "同上，中文"},
            "captions.emoji.en": {"en": "`caption-emoji`, English", "zh": "`caption-emoji`，英文"},
            "captions.emoji_copied.en": {"en": "the nearest training emoji's name", "zh": "最近的训练表情的名称"},
            "captions.flickr": {"en": "Flickr8k at 64 x 64, `caption`", "zh": "64 x 64 的 Flickr8k，`caption`"},
            "captions.flickr_lstm": {"en": "Flickr8k at 64 x 64, `caption-lstm`", "zh": "64 x 64 的 Flickr8k，`caption-lstm`"},
            "captions.flickr_copied": {"en": "Flickr8k, the nearest training picture's", "zh": "Flickr8k，最近的训练图像的描述"},
        },
    ),
    "retrieval": (
        {"en": "the right one of 100", "zh": "100 个里找对"},
        RANKED,
        {
            "retrieval.scenes": {"en": "caption of a held-out scene", "zh": "留出场景的描述"},
            "retrieval.emoji": {"en": "name of a held-out emoji", "zh": "留出表情的名字"},
            "retrieval.known": {"en": "prompt of a drawing by `emoji-64`, names of the set", "zh": "`emoji-64` 所画之图的提示，集内的名字"},
            "retrieval.new": {"en": "the same, new combinations", "zh": "同上，新的组合"},
        },
    ),
}  # fmt: skip
