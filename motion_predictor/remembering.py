"""What the node learns of its place: made, kept and described as the parameters say. No ROS."""

from __future__ import annotations

from motion_predictor.parameters import Settings
from motion_predictor.place import Place
from motion_predictor.predictor import Predictor


def make_place(predictor: Predictor, settings: Settings) -> Place | None:
    """
    Begin to learn a place.

    :returns: None where the weights say nothing of weighing, or the model is to be alone.
    :raises ConfigError: if the memory is too small to hold anything.
    """
    weighing = predictor.weighing
    if weighing is None or weighing.gate is None or not settings.flag('weighing.enabled'):
        return None
    return Place(
        predictor.window,
        predictor.skeleton,
        weighing,
        memory_mb=settings.number('memory.megabytes'),
        remember=settings.flag('memory.enabled'),
        follow=settings.text('moments.adapt'),
    )
