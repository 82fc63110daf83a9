from fer.ingest.demo import expressions
from fer.ingest.demo import faces as demo_faces


def test_every_unit_of_an_emotion_moves_something():
    for core, optional in expressions.PROTOTYPES.values():
        for unit in core + optional:
            assert any(expressions.ACTION_UNITS[unit].values())


def test_no_two_emotions_share_their_action_units():
    cores = [frozenset(core) for core, _ in expressions.PROTOTYPES.values()]
    assert len(set(cores)) == len(demo_faces.CLASSES)
