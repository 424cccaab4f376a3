"""A map that is made of the text before the picture."""

import pytest
import torch

from inkwash.core.batch import Batch, Condition
from inkwash.core.errors import ConfigError
from inkwash.methods.captioner import CaptionerConfig
from inkwash.methods.diffusion import DenoisingConfig, DiffusionConfig
from inkwash.methods.planning import PlanningConfig
from inkwash.nn.grid_coder import GridConfig
from inkwash.nn.plan import PlanConfig
from inkwash.nn.text import TextConfig
from inkwash.nn.tokenizer import TokenizerConfig
from inkwash.nn.unet import UNetConfig
from inkwash.nn.writers import TransformerWriterConfig
from tiny import batch_of, step_of, stir_

WORDS = TokenizerConfig(length=24)
MODEL = DiffusionConfig(
    shape=(3, 8, 8), net=UNetConfig(width=8, mults=(1,), blocks=1, fold=2), text=TextConfig(width=32, blocks=2, head=16, tokenizer=WORDS)
)
PLANNED = MODEL.model_copy(update={"plan": PlanConfig(width=32, blocks=2, head=16, stride=4)})
TEACHER = CaptionerConfig(
    shape=(3, 8, 8), eye=GridConfig(stride=4, width=8), d=8, writer=TransformerWriterConfig(width=8, blocks=1, head=8), tokenizer=WORDS
)
PROMPTS = ["red left of blue", "blue left of red"]


def built(config=PLANNED, stir=0.1):
    torch.manual_seed(0)
    model = config.build()
    stir_(model, stir)
    return model


def heard(model, x, t, texts):
    return model.estimate(x, t, model.told(Condition(tokens=model.tokens(texts)), len(x)))[0]


@torch.no_grad()
def test_a_model_that_begins_from_one_without_a_plan_draws_as_that_one_does():
    plain, planned = built(MODEL), PLANNED.build()
    planned.load_state_dict(planned.adopted(plain.state_dict()))
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([0.3, 0.9])
    torch.testing.assert_close(heard(planned, x, t, PROMPTS), heard(plain, x, t, PROMPTS))
    assert planned.adopted(planned.state_dict()).keys() == planned.state_dict().keys()  # one that has a plan keeps its own


@torch.no_grad()
def test_the_net_sees_the_plan_and_guidance_keeps_each_rows_own():
    model, x, t = built(), torch.randn(2, 3, 8, 8), torch.tensor([0.5, 0.5])
    told = model.told(Condition(tokens=model.tokens(PROMPTS)), 2)
    assert told.plan.shape == (2, 32, 2, 2)
    without = told._replace(plan=torch.zeros_like(told.plan))
    assert not torch.allclose(model.estimate(x, t, told)[0], model.estimate(x, t, without)[0])
    both = told.beside(model.nothing(2))
    alone = model.estimate(x, t, model.nothing(2))[0]
    out = model.estimate(torch.cat([x, x]), torch.cat([t, t]), both)[0]
    torch.testing.assert_close(out[:2], model.estimate(x, t, told)[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(out[2:], alone, atol=1e-5, rtol=1e-5)
    assert model.estimate(torch.randn(2, 3, 12, 16), t, told)[0].shape == (2, 3, 12, 16)  # spread over another size


def test_the_plan_learns_which_of_two_things_is_on_which_side():
    model = built(stir=0.0)
    objective = PlanningConfig(teacher=TEACHER, label_dropout=0.0).build(model)
    image = torch.zeros(2, 3, 8, 8)
    image[0, 0, :, :4], image[0, 2, :, 4:], image[1, 2, :, :4], image[1, 0, :, 4:] = 1, 1, 1, 1
    plain = batch_of(image)
    batch = Batch(plain.image, plain.cond, plain.index, [(p,) for p in PROMPTS])
    before = {name: p.clone() for name, p in [*model.net.named_parameters(), *objective.teacher.named_parameters()]}
    optimizer = torch.optim.Adam(list(objective.phases()[0].parameters()), lr=3e-3)
    for _ in range(150):
        loss = objective.loss("main", batch, step_of(2))[0]
        optimizer.zero_grad(), loss.backward(), optimizer.step()
    swapped = Batch(plain.image, plain.cond, plain.index, [(p,) for p in reversed(PROMPTS)])
    with torch.no_grad():
        assert loss < 0.2 * objective.loss("main", swapped, step_of(2))[0]
    for name, p in [*model.net.named_parameters(), *objective.teacher.named_parameters()]:
        assert torch.equal(p, before[name])


def test_the_plan_stays_as_it_is_while_pictures_are_learnt():
    model = built()
    plain = batch_of(torch.randn(2, 3, 8, 8).clamp(-1, 1))
    batch = Batch(plain.image, plain.cond, plain.index, [(p,) for p in PROMPTS])
    objective = DenoisingConfig(label_dropout=0.0).build(model)
    objective.loss("main", batch, step_of(2))[0].backward()
    assert all(p.grad is None for p in model.plan.parameters())
    assert not {id(p) for p in model.plan.parameters()} & {id(p) for p in objective.phases()[0].parameters()}


@pytest.mark.parametrize(
    ("config", "teacher", "said"),
    [
        (MODEL, TEACHER, "has none"),
        (PLANNED, MODEL, "does not tell what it sees"),
        (PLANNED, TEACHER.model_copy(update={"shape": (3, 16, 16)}), "sees pictures of"),
    ],
)
def test_what_cannot_be_taught_is_refused(config, teacher, said):
    with pytest.raises(ConfigError, match=said):
        PlanningConfig(teacher=teacher).build(config.build())


def test_a_plan_needs_a_text():
    with pytest.raises(ConfigError, match="reads none"):
        PLANNED.model_copy(update={"text": None}).build()
