"""Boxes as a map."""

import torch

from inkwash.core.boxes import Box
from inkwash.nn.grounding import MOST, GroundingConfig
from tiny import stir_


def encode(name):
    return [3 + ord(c) for c in name]


def grounding(blocks=1):
    net = GroundingConfig(width=8, blocks=blocks, head=8).build(200)
    stir_(net, 0.1)
    return net.eval()


def mapped(net, *rows, size=(8, 8)):
    with torch.no_grad():
        return net(net.gathered(rows, encode), size)


LEFT, RIGHT = Box("a", 0.2, 0.5, 0.2, 0.3), Box("bcd", 0.8, 0.5, 0.2, 0.3)


def test_offsets_are_in_half_sides_from_the_centre_of_a_box():
    offset = grounding().offsets(torch.tensor([[[0.25, 0.75, 0.5, 0.25]]]), (4, 2))  # places at y .125 .375 .625 .875, x .25 .75
    assert offset.shape == (1, 1, 8, 2)
    torch.testing.assert_close(offset[0, 0, 0], torch.tensor([0.0, (0.125 - 0.75) / 0.125]))
    torch.testing.assert_close(offset[0, 0, 7], torch.tensor([2.0, 1.0]))


def test_a_row_depends_on_its_own_boxes_alone_however_many_the_others_have_and_however_long_their_names():
    net = grounding()
    together = mapped(net, (LEFT,), (RIGHT, LEFT, RIGHT), ())
    torch.testing.assert_close(together[:1], mapped(net, (LEFT,)), atol=1e-6, rtol=0)
    torch.testing.assert_close(together[2:], mapped(net, ()), atol=1e-6, rtol=0)
    assert together[2].std((1, 2)).max() < 1e-6  # nothing is anywhere


def test_what_is_told_lies_near_the_box_and_moves_with_it():
    net = grounding()
    nothing, left, right = (mapped(net, row)[0] for row in ((), (LEFT,), (LEFT._replace(x=0.7),)))
    power = (left - nothing).square().sum((0, 1))  # by column
    assert power[:4].sum() > 20 * power[4:].sum()
    alone = grounding(blocks=0)  # without its place in its own vector, the map is the same elsewhere
    torch.nn.init.zeros_(alone.place.weight)
    nothing, left, right = (mapped(alone, row)[0] for row in ((), (LEFT,), (LEFT._replace(x=0.7),)))
    torch.testing.assert_close((left - nothing)[..., :4], (right - nothing)[..., 4:], atol=1e-5, rtol=0)


def test_depth_and_names_matter_and_boxes_look_at_each_other():
    net = grounding()
    near, far = mapped(net, (LEFT, RIGHT._replace(depth=0.5))), mapped(net, (LEFT._replace(depth=0.5), RIGHT))
    assert not torch.allclose(near, far) and torch.equal(near, mapped(net, (RIGHT._replace(depth=0.5), LEFT)))
    assert not torch.allclose(mapped(net, (LEFT,)), mapped(net, (LEFT._replace(name="b"),)))
    far = (mapped(net, (LEFT, RIGHT)) - mapped(net, (LEFT, RIGHT._replace(name="b"))))[..., :3]  # where only the left one is near
    assert far.abs().max() > 1e-4


def test_more_boxes_than_it_knows_ranks_for_are_cut():
    net = grounding()
    assert torch.equal(mapped(net, (LEFT,) * (MOST + 3)), mapped(net, (LEFT,) * MOST))


def test_what_is_nearer_hides_what_is_behind_it_and_nothing_else():
    over, alone = Box("a", 0.5, 0.5, 0.9, 0.9), Box("bcd", 0.5, 0.5, 0.3, 0.3)
    net = grounding(blocks=0)  # boxes do not know of each other: what is hidden is hidden where they are laid over each other
    torch.nn.init.zeros_(net.hide.weight)

    def told_of_the_small_one(logit, **behind):
        torch.nn.init.constant_(net.hide.bias, logit)
        one, other = (mapped(net, (over._replace(depth=0.2), alone._replace(name=name, **behind))) for name in ("bcd", "b"))
        return (one - other)[0].norm(dim=0).amax()  # where it shows most

    assert told_of_the_small_one(20.0, depth=0.5) < 0.2 * told_of_the_small_one(-20.0, depth=0.5)
    torch.testing.assert_close(told_of_the_small_one(20.0), told_of_the_small_one(-20.0))
