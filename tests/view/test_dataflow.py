"""The data flow that is drawn is the one that runs."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.path import Path
from torch import nn

from rflav_lib.fusion import FUSIONS
from rflav_lib.view import style
from rflav_lib.view.dataflow import DataFlow, draw

NAMES = ("video", "audio", "video_condition", "audio_condition")


def inputs():
    generator = torch.Generator().manual_seed(0)
    shapes = ((1, 3, 4, 24), (1, 3, 5, 24), (1, 3, 24), (1, 3, 24))
    return {name: torch.randn(s, generator=generator) for name, s in zip(NAMES, shapes, strict=True)}


def flow_of(name):
    return DataFlow(FUSIONS[name](24, num_heads=3), inputs())


def arrows(flow):
    return {(source.name, node.name) for node in flow.nodes for source in node.sources}


class Small(nn.Module):
    """video -> left -> × <- right <- audio; the second output is audio itself, twice."""

    def __init__(self):
        super().__init__()
        self.video_left, self.audio_right = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, video, audio):
        product = self.video_left(video) * self.audio_right(audio)
        return product.reshape(2, 2, 2).flatten(1), audio + audio


def test_boxes_and_arrows_of_a_module_known_by_heart():
    flow = DataFlow(Small(), {"video": torch.ones(2, 4), "audio": torch.ones(2, 4)})
    assert [(node.name, node.kind, [s.name for s in node.sources]) for node in flow.nodes] == [
        ("video", "input", []),
        ("audio", "input", []),
        ("video_left", "module", ["video"]),
        ("audio_right", "module", ["audio"]),
        ("×", "operation", ["video_left", "audio_right"]),
        ("video", "output", ["×"]),
        ("+", "operation", ["audio"]),
        ("audio", "output", ["+"]),
    ]
    assert not flow.find("audio", "output")[0].hears(flow.find("video", "input")[0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("joint_attention", {"video_condition"}),
        ("average", {"audio"}),
        ("conditioned_average", {"audio", "video_condition"}),
    ],
)
def test_what_modulates_the_video_in_each_fusion(name, expected):
    flow = flow_of(name)
    (modulation,) = flow.find("video_modulation")
    assert {i for i in NAMES if modulation.hears(flow.find(i, "input")[0])} == expected


def test_joint_attention_stands_between_concat_and_split():
    flow = flow_of("joint_attention")
    assert {("concat", "joint_attention"), ("joint_attention", "split"), ("split", "×")} <= arrows(flow)
    assert len(flow.find("norm")) == 4, "each call of a shared module is a box of its own"


def test_the_module_is_left_as_it_was():
    module = FUSIONS["conditioned_average"](24, num_heads=3)
    given = inputs()
    DataFlow(module, given)
    assert not any(child._forward_hooks for child in module.modules())
    assert not any(tensor.requires_grad for tensor in given.values())
    assert all(parameter.grad is None for parameter in module.parameters())


@pytest.mark.parametrize("name", list(FUSIONS))
def test_drawing_has_a_box_for_each_node_and_an_arrow_for_each_tensor(name):
    flow = flow_of(name)
    figure, axis = plt.subplots()
    draw(flow, axis, "title")
    texts = [text for text in axis.texts if text.get_text()]
    drawn = [text for text in axis.texts if not text.get_text()]
    assert len(texts) == len(flow.nodes) and len(drawn) == sum(len(node.sources) for node in flow.nodes)
    assert len({text.get_position() for text in texts}) == len(texts), "no two boxes in one place"
    grey = {text.get_text().replace("\n", "_") for text in texts if text.get_color() == "grey"}
    assert grey == ({"video_condition", "audio_condition"} if name == "average" else set())
    figure.canvas.draw()
    plt.close(figure)


@pytest.mark.parametrize("name", list(FUSIONS))
def test_no_arrow_runs_behind_a_box_that_it_has_nothing_to_do_with(name):
    with plt.rc_context():
        style.use()
        figure, axes = plt.subplots(1, 3, figsize=(12, 6))  # as notebook 04 draws
        draw(flow_of(name), axes[0], "title")
        figure.canvas.draw()
    boxes = [
        text.get_bbox_patch().get_window_extent().padded(-2) for text in axes[0].texts if text.get_text()
    ]
    for text in axes[0].texts:
        if not text.get_text():
            line, *_head = text.arrow_patch.get_path().to_polygons(closed_only=False)
            points = Path(line).interpolated(100).vertices
            behind = [box for box in boxes if any(box.contains(*point) for point in points)]
            assert not behind, f"an arrow from {points[0]} to {points[-1]} runs behind {behind}"
    plt.close(figure)
