"""How a task runs its stage: in the workspace, with a progress bar in the UI and the terminal."""

from typing import Any, TypeVar

from fer.engine.refs import Ref
from fer.engine.stage import Stage
from tasks import artifacts, caching

RefT = TypeVar("RefT", bound=Ref)


def run(stage: Stage[RefT], *inputs: Any, name: str | None = None, **options: Any) -> RefT:
    """The stage's output for these inputs; `name` is the task's, where it is not the stage's."""
    with artifacts.progress_bar(name or stage.name) as progress:
        return stage(*inputs, workspace=caching.workspace(), progress=progress, **options)
