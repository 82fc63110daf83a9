"""A task takes what its stage takes."""

import pytest

from fer.engine.refs import Ref
from fer.engine.stage import stage
from tasks import stages


@stage("twice")
def twice(out, number: int, *, workspace, progress) -> Ref:
    raise NotImplementedError


def test_a_task_without_one_of_its_stages_inputs_is_refused_when_it_is_declared():
    with pytest.raises(TypeError, match="'number'"):

        @stages.task(twice)
        def run(figure: int) -> Ref:
            raise NotImplementedError
