"""Layouts: boxes from a text."""

import math
from dataclasses import replace

import pytest
import torch

from inkwash.core.batch import Batch, Condition
from inkwash.core.boxes import Box, parse_boxes
from inkwash.core.errors import ConfigError
from inkwash.inference.draw import draw, image_rng
from inkwash.methods.diffusion import DenoisingConfig, DiffusionConfig
from inkwash.methods.layout import LayoutConfig, NextBoxConfig, outlined
from inkwash.nn.grounding import GroundingConfig
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import END, PAD, TokenizerConfig
from inkwash.nn.unet import UNetConfig
from inkwash.nn.writers import TransformerWriterConfig
from inkwash.recipes import find
from tiny import batch_of, facts_of, run_config, step_of, stir_, write_npz

SHAPE = (1, 8, 8)
READER = TextConfig(width=8, blocks=1, head=8, tokenizer=TokenizerConfig(length=24))
BOXES = (Box("red dot", 0.26, 0.7, 0.3, 0.4, 0.6), Box("点", 0.0, 1.0, 0.05, 0.99))


def layout(**more):
    model = LayoutConfig(shape=SHAPE, text=READER, writer=TransformerWriterConfig(width=8, blocks=1, head=8), parts=8, **more).build()
    stir_(model, 0.5)
    return model.eval()


def arranged():
    config = DiffusionConfig(
        shape=SHAPE,
        text=READER,
        net=UNetConfig(width=8, mults=(1,), fold=1),
        plan=layout().config,
        grounding=GroundingConfig(width=8, head=8),
    )
    model = config.build()
    stir_(model, 0.1)
    return model.eval()


def rows(batch, boxes):
    return Batch(batch.image, batch.cond, batch.index, [("a dot", "一个点")] * len(batch), boxes=boxes)


def test_boxes_become_tokens_and_come_back_within_half_a_part():
    model = layout()
    back = model.read(model.written(BOXES))
    assert [b.name for b in back] == ["red dot", "点"]
    assert all(abs(x - y) <= 1 / 16 + 1e-9 for a, b in zip(BOXES, back) for x, y in zip(a[1:], b[1:]))
    assert model.read(model.written(BOXES * 9)) == (back * 9)[: len(model.read(model.written(BOXES * 9)))]  # what does not fit is left out
    assert len(model.written(BOXES * 9)) <= model.config.length and model.written(())[-1] == END
    assert model.read([*model.written(BOXES[:1])[:-1], 70, 71]) == back[:1]  # a name without a place is no box


@torch.no_grad()
def test_probabilities_of_what_may_come_next_are_those_of_training():
    """Every token that sampling could choose has the probability that `scores` gives it, among those that make sense."""
    model, tokens = layout(), layout().text.tokens(["a dot"])
    written = torch.tensor([model.written(BOXES)])
    scores = model.scores(tokens, written)
    state, token = model.writer.begin(model.text(tokens)[0]), torch.tensor([model.begin])
    for t, wanted in enumerate(written[0]):
        step, _, state = model.writer.step(token, state)
        torch.testing.assert_close(step, scores[:, t], atol=1e-5, rtol=0)
        token = wanted[None]


@torch.no_grad()
def test_what_is_written_is_whole_boxes_whatever_the_weights_say():
    model = layout(length=30)
    tokens = model.text.tokens([f"text {i % 3}" for i in range(40)])
    u = image_rng(range(40)).uniform(30)
    for row in model._arranged(tokens, u).tolist():
        row = row[: row.index(END)] if END in row else row[: row.index(PAD)] if PAD in row else row
        kinds = "".join("x" if token >= model.first else "n" for token in row)
        assert all(len(run) == 5 for run in kinds.replace("n", " ").split()[:-1]) and not kinds.startswith("x")
        assert END not in row and model.begin not in row


def test_a_row_depends_on_its_own_key_and_text_alone():
    model, texts = layout(), ["a", "a longer text", "中文", "a"]
    together = model.arrange(image_rng(range(4)), model.text.tokens(texts))
    alone = [model.arrange(image_rng([i]), model.text.tokens([text]))[0] for i, text in enumerate(texts)]
    assert together == alone and together[0] != together[3]


def test_a_layout_is_drawn_as_often_as_the_model_says():
    """Against enumeration: how often a first coordinate comes, 4000 draws."""
    model, n = layout(), 4000
    tokens = model.text.tokens(["a dot"])
    with torch.no_grad():
        first = model.scores(tokens, torch.full((1, 1), END))[0, 0]
        p = model._allowed(first[None], torch.tensor([False]), torch.tensor([0])).softmax(-1)[0]
    u = image_rng(range(n)).uniform(model.config.length)
    drawn = model._arranged(tokens.expand(n, -1), u)[:, 0]
    found = torch.bincount(drawn, minlength=len(p)) / n
    assert (found - p).abs().max() < 4 * math.sqrt(0.25 / n)


def test_the_loss_is_the_cross_entropy_of_all_tokens_of_a_layout():
    model = layout()
    objective = NextBoxConfig().build(model)
    batch = rows(batch_of(torch.zeros(3, *SHAPE)), [BOXES, (), BOXES[:1]])
    loss, parts = objective.loss("main", batch, step_of(3))
    texts = step_of(3).texts(batch.text)
    wanted = 0.0
    for text, boxes in zip(texts, batch.boxes):
        written = torch.tensor([model.written(boxes)])
        says = model.scores(model.text.tokens([text]), written).log_softmax(-1)
        wanted -= says.gather(2, written[..., None]).sum().item() / 3
    assert loss.item() == pytest.approx(wanted, rel=1e-5) and 0 < parts["places"] < 10
    with pytest.raises(ConfigError, match="where things are"):
        objective.refuse(rows(batch, None))
    left, right = objective.preview(batch, step_of(3))
    assert left.shape == right.shape == (3, *SHAPE)


def test_forgotten_words_are_hidden_from_what_is_written_after_them():
    """Names only, and in training only."""
    model = layout()
    written = torch.tensor([model.written(BOXES)])
    tokens, none = model.text.tokens(["a dot"]), torch.zeros_like(written, dtype=torch.bool)
    with torch.no_grad():
        plain = model.scores(tokens, written)
        assert torch.equal(model.scores(tokens, written, none), plain)
        first = none.clone()
        first[0, 0] = True  # a word of a name: what stands before it does not change, nor does the first score
        hidden = model.scores(tokens, written, first)
        place = int((written[0] >= model.first).nonzero()[0])
        coordinate = none.clone()
        coordinate[0, place] = True
        assert torch.equal(hidden[:, :1], plain[:, :1]) and not torch.allclose(hidden[:, 1:], plain[:, 1:])
        assert torch.equal(model.scores(tokens, written, coordinate), plain), "a place stays seen"

    batch = rows(batch_of(torch.zeros(3, *SHAPE)), [BOXES, (), BOXES[:1]])
    forgets = NextBoxConfig(forget=0.5).build(model)
    usual = NextBoxConfig().build(model).loss("main", batch, step_of(3))[0]
    assert forgets.loss("main", batch, step_of(3))[0] != usual
    assert forgets.validate(batch, step_of(3, held_out=True))["loss"] == usual, "held-out layouts are read as they are"


def test_boxes_are_outlined_where_they_are():
    out = outlined(torch.zeros(1, 9, 9), [Box("a", 0.5, 0.5, 0.5, 0.5), Box("b", 1.5, 0.5, 5.0, 0.1)])
    assert out[0, 2, 2:7].eq(-1).all() and out[0, 2:7, 6].eq(-1).all() and out[0, 3, 3] != -1 and out[0, 0, 0] != -1


def test_a_picture_is_drawn_after_a_layout_of_its_text_and_learns_from_true_ones():
    model = arranged()
    x = draw(model, range(3), model.Options(steps=2), cond=Condition(tokens=model.tokens(["a dot"]).expand(3, -1)))
    boxes = model.plan.arrange(image_rng(range(3)).fork("plan"), model.tokens(["a dot"]).expand(3, -1))
    with torch.no_grad():
        plan = model.ground(boxes, SHAPE[1:])
        given = Condition(tokens=model.tokens(["a dot"]).expand(3, -1), plan=plan)
    assert torch.equal(draw(model, range(3), model.Options(steps=2), cond=given), x)
    other = Condition(tokens=given.tokens, plan=torch.zeros_like(plan))
    assert not torch.allclose(draw(model, range(3), model.Options(steps=2), cond=other), x)

    objective, batch = DenoisingConfig().build(model), batch_of(torch.rand(4, *SHAPE))
    losses = [objective.loss("main", rows(batch, boxes), step_of(4))[0].item() for boxes in ([BOXES] * 4, [()] * 4, None)]
    assert losses[0] != losses[1] and all(map(math.isfinite, losses))


def test_boxes_may_be_asked_for():
    model = arranged()
    cond = Condition(tokens=model.tokens(["a dot"]))
    asked = model.Options(steps=2, boxes="red dot 0.25 .7 .3 0.4; 点 .9 .9 .1 .1")
    boxes = (Box("red dot", 0.25, 0.7, 0.3, 0.4, 0.0), Box("点", 0.9, 0.9, 0.1, 0.1, 0.5))
    assert parse_boxes(asked.boxes) == boxes
    with torch.no_grad():
        given = replace(cond, plan=model.ground([boxes], SHAPE[1:]))
    assert torch.equal(draw(model, [4], asked, cond=cond), draw(model, [4], model.Options(steps=2), cond=given))
    for text in ("red dot 1 2", "0.1 0.2 0.3 0.4", "dot .5 .5 .2 two", "dot .5 .5 0 .2", "dot 5 5 2 2", "a .5 .5 .1 .1; b"):
        with pytest.raises(ConfigError, match="NAME X Y"):
            draw(model, [4], model.Options(boxes=text), cond=cond)
    for more in (Condition(), replace(cond, image=torch.zeros(1, *SHAPE))):
        with pytest.raises(ConfigError, match="boxes"):
            draw(model, [4], asked, cond=more)
    blind = model.config.model_copy(update={"plan": None, "grounding": None}).build()
    with pytest.raises(ConfigError, match="does not draw after a layout"):
        draw(blind, [4], asked, cond=cond)


def test_with_boxes_dropped_for_all_rows_nothing_is_seen():
    model, batch = arranged(), rows(batch_of(torch.zeros(8, *SHAPE)), [BOXES] * 8)
    with torch.no_grad():
        none, all_of = (model.learns(batch, step_of(8), 0.0)._replace(plan=None), model.learns(batch, step_of(8), 0.0))
        dropped = model.grounded(batch.boxes, all_of, step_of(8), 1.0)
        torch.testing.assert_close(dropped, model.ground([()] * 8, SHAPE[1:]))
    assert none.plan is None and not torch.allclose(all_of.plan, dropped)


def test_without_boxes_it_sees_what_it_saw_so_in_training():
    """What no boxes look like is learnt, and not zero: neither guidance nor an edit may show it another nothing."""
    model = arranged()
    with torch.no_grad():
        for p in model.grounding.out.parameters():
            p.add_(0.5)
        none = model.ground([()], SHAPE[1:])
    assert none.abs().min() > 0
    tokens = model.tokens(["a dot"])
    seen = []
    real = model.predict
    model.predict = lambda x, t, told: seen.append(told.plan) or real(x, t, told)
    for options, cond in (
        (model.Options(steps=1, guidance=2.0), Condition(tokens=tokens)),
        (model.Options(steps=1, strength=0.5), Condition(tokens=tokens, image=torch.zeros(1, *SHAPE))),
        (model.Options(steps=1), Condition()),
    ):
        seen.clear()
        draw(model, [4], options, cond=cond)
        plan = seen[-1]
        assert plan is not None and len(plan) == (2 if options.guidance != 1 and cond.image is None and cond.tokens is not None else 1)
        torch.testing.assert_close(plan[-1:], none)


def test_more_boxes_than_it_has_ranks_for_are_refused():
    many = "; ".join(["a .5 .5 .1 .1"] * 17)
    with pytest.raises(ConfigError, match="at most 16 boxes, not 17"):
        parse_boxes(many)


def test_weights_of_a_model_without_a_layout_begin_one_with_it_and_the_other_way_round():
    model = arranged()
    blind = model.config.model_copy(update={"plan": None, "grounding": None}).build()
    stir_(blind, 0.2)
    seeing = model.config.build()
    seeing.load_state_dict(seeing.adopted(blind.state_dict()))
    tokens = model.tokens(["a dot"]).expand(2, -1)
    told = lambda m: m.told(Condition(tokens=tokens), 2)  # noqa: E731
    x, t = torch.randn(2, *SHAPE), torch.tensor([0.3, 0.9])
    with torch.no_grad():
        shown = told(seeing)._replace(plan=seeing.ground([BOXES] * 2, SHAPE[1:]))
        torch.testing.assert_close(seeing.estimate(x, t, shown)[0], blind.estimate(x, t, told(blind))[0])
        blind.load_state_dict(blind.adopted(model.state_dict()))
        torch.testing.assert_close(blind.estimate(x, t, told(blind))[0], model.estimate(x, t, told(model))[0])
    assert torch.equal(model.adopted(model.state_dict())["net.door.weight"], model.state_dict()["net.door.weight"])


def test_a_model_goes_on_without_its_layout_on_pictures_that_tell_of_no_boxes(tmp_path):
    config = run_config("arranged", write_npz(tmp_path / "a.npz"))
    boxed = facts_of(config.data.source)
    assert config.model.grounding and boxed.boxed and config.objective.planning == 0
    further = find("text")(config.data.source, boxed, start=config.model)
    assert further.model.plan == config.model.plan and further.objective.planning == 0
    assert further.objective.mean == -0.5  # after boxes there is little to learn where noise is strong
    further = find("text")(config.data.source, replace(boxed, boxed=False), start=config.model)
    assert further.model.plan is None and further.model.grounding is None and further.model.text.width == config.model.text.width


def test_a_layout_reads_as_the_model_does_that_it_begins_from_or_as_its_plan():
    model, own = arranged(), layout()
    stir_(model, 0.3)
    blind = {name: value for name, value in model.state_dict().items() if not name.startswith("plan.")}
    for tensors, reader in ((model.state_dict(), model.plan.text), (blind, model.text)):
        begun = own.adopted(tensors)
        assert begun.keys() == own.state_dict().keys() and torch.equal(begun["text.into.weight"], reader.into.weight)
        assert torch.equal(begun["writer.into.weight"], own.state_dict()["writer.into.weight"])
    other = layout().state_dict()
    assert own.adopted(other) is other


def test_a_layout_and_how_it_is_seen_come_together():
    config = arranged().config
    for update in ({"grounding": None}, {"plan": None}, {"plan": config.model_copy(update={"plan": None, "grounding": None})}):
        with pytest.raises(ConfigError, match="both or none"):
            config.model_copy(update=update).build()
    with pytest.raises(ConfigError, match="learnt by itself"):
        DenoisingConfig(planning=1.0).build(arranged())
