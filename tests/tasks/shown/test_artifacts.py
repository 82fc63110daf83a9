"""What a run shows in the Prefect UI, and that showing it never costs a stage."""

import contextlib
import uuid
from collections.abc import Iterator

import pytest
from prefect.client.schemas.actions import ArtifactUpdate

from fer import errors
from tasks.runs import events
from tasks.shown import artifacts


class Server:
    """Stands in for Prefect's artifacts: notes what is asked of it, and fails while it is `down`."""

    def __init__(self):
        self.down = False
        self.asked: list[str] = []
        self.logged: list[str] = []
        self.now = 1000.0

    def _answer(self, text: str) -> uuid.UUID:
        self.asked.append(text)
        if self.down:
            raise ConnectionError("nobody there")
        return uuid.UUID(int=1)

    def create_progress_artifact(self, progress: float, key: str, description: str) -> uuid.UUID:
        return self._answer(key)

    def update_progress_artifact(self, artifact_id: uuid.UUID, progress: float, description: str) -> uuid.UUID:
        return self._answer(f"{progress:.0f} %")

    def create_markdown_artifact(self, text: str, key: str, description: str) -> uuid.UUID:
        return self._answer(key)

    def update_artifact(self, artifact_id: uuid.UUID, artifact: ArtifactUpdate) -> None:
        self._answer(str(artifact.data))

    def delete_artifact(self, artifact_id: uuid.UUID) -> None:
        self._answer("gone")

    @contextlib.contextmanager
    def get_client(self, *, sync_client: bool) -> "Iterator[Server]":
        yield self

    def create_table_artifact(self, rows: list, key: str, description: str) -> uuid.UUID:
        return self._answer(key)

    def info(self, text: str) -> None:
        self.logged.append(text)

    def warning(self, text: str, *values: object) -> None:
        self.logged.append(f"warning: {text % values}")

    @property
    def warnings(self) -> list[str]:
        return [text for text in self.logged if text.startswith("warning")]


@pytest.fixture
def server(monkeypatch):
    fake = Server()
    monkeypatch.setattr(artifacts, "artifacts", fake)
    monkeypatch.setattr(artifacts, "get_run_logger", lambda: fake)
    monkeypatch.setattr(artifacts, "get_client", fake.get_client)
    monkeypatch.setattr(artifacts.time, "monotonic", lambda: fake.now)
    return fake


@pytest.fixture
def heard():
    happened: list[events.Event] = []
    with events.heard_by(happened.append):
        yield happened


def test_a_bar_is_updated_once_a_second_while_a_stage_works_and_is_gone_at_its_end(server, heard):
    with artifacts.progress_bar("train") as progress:
        for done in range(1, 13):
            server.now += 0.5
            progress(done, 12)
        assert server.asked == ["train-progress", "67 %", "83 %", "100 %"]
        assert heard[0] == events.Started("train")
        assert heard[-1] == events.Progressed("train", 12, 12, "")
        assert len(heard) == 13
        assert server.logged == []  # the result is the stage's summary
    assert server.asked[-1] == "gone"


def test_a_stage_that_is_quick_shows_no_bar(server):
    with artifacts.progress_bar("register") as progress:
        server.now += 2
        progress(1, 1)
    assert server.asked == []


def test_the_bar_of_a_stage_that_fails_is_gone_too(server):
    def fail():
        with artifacts.progress_bar("train") as progress:
            server.now += 4
            progress(1, 4)
            raise errors.TrainingError("It failed.")

    with pytest.raises(errors.TrainingError):
        fail()
    assert server.asked == ["train-progress", "gone"]


def test_a_stage_that_takes_long_says_how_far_it_is_in_the_log_now_and_then(server):
    with artifacts.progress_bar("train") as progress:
        for done in range(1, 26):
            server.now += 1
            progress(done, 25, "epochs")
        assert server.logged == ["train: 10 of 25 epochs", "train: 20 of 25 epochs"]


def test_a_note_of_nothing_counted_is_kept_in_the_log_and_told_at_once(server, heard):
    with artifacts.progress_bar("train") as progress:
        progress.note("about 1.2 GB of memory")
        assert heard[-1] == events.Noted("train", "about 1.2 GB of memory")
        assert server.logged == ["train: about 1.2 GB of memory"]
        assert server.asked == []


def test_a_server_that_fails_during_a_stage_costs_one_warning_a_minute_and_not_the_stage(server, heard):
    with artifacts.progress_bar("train") as progress:
        server.down = True
        for done in range(62):
            server.now += 1
            progress(done, 1000)
        assert len(server.asked) == 1
        assert len(server.warnings) == 1
        assert "ConnectionError" in server.warnings[0]
        server.down = False
        for done in range(62, 68):
            server.now += 1
            progress(done, 1000)
        assert server.asked[1:4] == ["train-progress", "6 %", "6 %"]
        assert len(server.warnings) == 1
        assert heard[-1] == events.Progressed("train", 67, 1000, "")
        server.down = True
    assert server.asked[-1] == "gone"
    assert len(server.warnings) == 2


def test_a_living_page_is_one_artifact_that_is_written_anew_now_and_then_and_at_the_end(server):
    page = artifacts.living_page("learning-curves")
    for epoch in range(1, 31):
        page(lambda epoch=epoch: f"epoch {epoch}")
        server.now += 1
    page(lambda: "the end", last=True)
    assert server.asked == ["learning-curves", "epoch 11", "epoch 21", "the end"]
    assert server.logged == []


def test_a_living_page_that_cannot_be_drawn_or_shown_costs_a_warning_a_minute_and_not_the_stage(server):
    page = artifacts.living_page("learning-curves")
    page(lambda: str(1 / 0))
    server.down = True
    for _ in range(90):
        server.now += 1
        page(lambda: "curves")
    assert len(server.warnings) == 2
    assert "ZeroDivisionError" in server.warnings[0]
    assert "ConnectionError" in server.warnings[1]
    server.down = False
    server.now += 60
    page(lambda: "curves")
    page(lambda: "the end", last=True)
    assert server.asked[-2:] == ["learning-curves", "the end"]


def test_reports_and_tables_that_cannot_be_shown_are_a_warning(server):
    server.down = True
    with artifacts.noted() as pages:
        artifacts.markdown("verdict", "# passed")
        artifacts.table("trials", [{"class": "happy", "gets": 2}], "Images")
    assert server.asked == ["verdict", "trials"]
    assert len(server.warnings) == 2
    assert pages == {}


def test_the_pages_of_a_run_are_noted_for_its_summary(server):
    with artifacts.noted() as pages:
        artifacts.markdown("verdict", "# passed")
        artifacts.table("trials", [{"class": "happy", "gets": 2}], "Images")
        artifacts.living_page("curves")(lambda: "text")
        with artifacts.progress_bar("train") as progress:
            server.now += 9
            progress(1, 2)
    assert list(pages) == ["verdict", "trials", "curves"]


def test_a_picture_is_told_by_its_first_bytes():
    assert artifacts.picture(b"\x89PNG...", "a").startswith("![a](data:image/png;base64,")
    assert artifacts.picture(b"<svg/>", "b").startswith("![b](data:image/svg+xml;base64,")
