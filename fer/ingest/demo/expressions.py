"""What an emotion moves in a drawn face: the sum of its facial action units (AU), of random strengths.

A few units of speech or of another emotion leak in. Lengths are in units of half the head's height, y down.

Sources: action units from P. Ekman, W. V. Friesen, Facial Action Coding System, 1978; their combinations for each
emotion from the same manual's table 11-1 and EMFACS-7 (Friesen, Ekman, 1983), with what may come along from
D. Matsumoto, P. Ekman, Facial expression analysis, Scholarpedia 3(5):4237, 2008. The strengths of the effects are ours.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

# AU -> its effects at full strength. Lengths in face units; `fold`, `furrow`, `lines`, `wrinkle`, `cheek`,
# `boss` and `teeth` are depths of skin creases and visibilities, 0-1; `thick` is a share of the lips' thickness.
ACTION_UNITS: Mapping[int, Mapping[str, float]] = MappingProxyType(
    {
        1: {"brow_inner": -0.19, "brow_mid": -0.05, "lines": 0.5, "eye_upper": 0.01},  # inner brow raiser
        2: {"brow_outer": -0.13, "brow_mid": -0.10, "lines": 0.5},  # outer brow raiser
        4: {"brow_inner": 0.11, "brow_mid": 0.075, "brow_outer": -0.01, "brow_gap": -0.07, "furrow": 1},  # brow lowerer
        5: {"eye_upper": 0.075},  # upper lid raiser
        6: {"eye_lower": -0.035, "eye_upper": -0.015, "cheek": 1.0},  # cheek raiser
        7: {"eye_lower": -0.035, "eye_upper": -0.012},  # lid tightener
        9: {
            "wrinkle": 1.0, "brow_inner": 0.07, "brow_mid": 0.05, "nose": -0.05, "upper_lip": -0.07, "fold": 0.8,
            "eye_lower": -0.025, "eye_upper": -0.025,
        },  # nose wrinkler
        10: {"upper_lip": -0.08, "fold": 0.7, "teeth": 0.5},  # upper lip raiser
        12: {"corner_x": 0.11, "corner_y": -0.15, "fold": 0.9, "cheek": 0.4, "teeth": 1.0},  # lip corner puller
        15: {"corner_y": 0.13, "corner_x": -0.01},  # lip corner depressor
        16: {"lower_lip": 0.06},  # lower lip depressor
        17: {"mouth": -0.04, "boss": 1.0, "corner_y": 0.02},  # chin raiser
        20: {"corner_x": 0.14, "corner_y": 0.08, "thick": -0.25, "teeth": 0.4},  # lip stretcher
        23: {"corner_x": -0.06, "thick": -0.6},  # lip tightener
        25: {"gap": 0.05, "teeth": 0.3},  # lips part
        26: {"gap": 0.15, "jaw": 0.09},  # jaw drop
        27: {"gap": 0.28, "jaw": 0.16, "corner_x": -0.05},  # mouth stretch
    }
)  # fmt: skip

# Emotion -> (the units that make it, the units that may come along).
PROTOTYPES: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = MappingProxyType(
    {
        "angry": ((4, 5, 7, 23), (17,)),
        "disgust": ((9, 15, 16), (10, 17)),
        "fear": ((1, 2, 4, 5, 7, 20, 26), (25,)),
        "happy": ((6, 12), (25, 26)),
        "neutral": ((), ()),
        "sad": ((1, 4, 15), (17,)),
        "surprise": ((1, 2, 5, 26), (27,)),
    }
)
_LEAKS = (1, 2, 4, 7, 12, 15, 17, 20, 25)  # speech, habit and blends


def effects(label: str, rng: np.random.Generator) -> dict[str, float]:
    """Name of an effect -> its size, for the emotion `label`: the sum over the action units, plus the resting face."""
    core, optional = PROTOTYPES[label]
    strengths: dict[int, float] = {}
    overall = rng.uniform(0.65, 1.1)
    for unit in core:
        strengths[unit] = overall * rng.uniform(0.6, 1.15)
    if len(core) > 3 and rng.random() < 0.4:  # seldom does a face show all
        strengths[int(rng.choice(core))] *= 0.2
    for unit in optional:
        if rng.random() < 0.4:
            strengths[unit] = overall * rng.uniform(0.3, 1.0)
    for unit in rng.choice(_LEAKS, size=rng.integers(0, 3), replace=False).tolist():
        strengths[unit] = max(strengths.get(unit, 0.0), rng.uniform(0.05, 0.3))
    total = dict.fromkeys({name for unit_effects in ACTION_UNITS.values() for name in unit_effects}, 0.0)
    for unit, strength in strengths.items():
        for name, effect in ACTION_UNITS[unit].items():
            total[name] += strength * effect
    for name, spread in (("brow_inner", 0.02), ("brow_outer", 0.02), ("corner_y", 0.018), ("eye_upper", 0.008)):
        total[name] += rng.normal(0, spread)
    return total
