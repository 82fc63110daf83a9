"""The rules of `data_contracts`, checked by Great Expectations over named frames.

Out: `contract.json` and `data_docs/index.html`, each the same for the same data.
"""

import dataclasses
import functools
import html
import json
import logging
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from data_contracts import files
from data_contracts.rules import Rule, Severity
from fer import errors, plain_text
from fer.engine import data_docs, disk
from fer.engine.records import Record
from fer.progress import Progress, silent

_EXAMPLES = 5
_SAMPLED = 20  # values that break a rule, in the Data Docs
_LEVELS = {"stop": "critical", "quarantine": "warning", "warn": "info"}  # ours -> Great Expectations'

Name = Callable[[dict[str, Any]], str]  # what to call a row of a frame in an example


class Frame(NamedTuple):
    """Rows to check, and how one of them is named in an example."""

    rows: pa.Table
    name: Name


class Outcome(Record):
    """The outcome of a rule. `examples` are names of rows that break it, or what was observed."""

    dataset: str
    id: str
    frame: str
    expectation: str
    arguments: dict[str, Any]
    severity: Severity
    finding: str
    why: str
    passed: bool
    n_checked: int  # rows
    n_broken: int
    examples: tuple[str, ...] = ()

    def line(self) -> str:
        """For people: what is wrong, in how many rows, for example which."""
        rows = f"{self.n_broken:,} of {self.n_checked:,}, e.g. " if self.n_broken and self.n_checked > 1 else ""
        return f"{self.finding}: {rows}{', '.join(self.examples)}"


def check(out: Path, dataset: str, frames: Mapping[str, Frame], rules: Sequence[Rule]) -> None:
    """Check `rules` on `frames` and write `contract.json` and `data_docs/` to `out`.

    Raises ContractViolation, after that, if a rule of severity `stop` is broken.
    """
    checks = Checks(dataset, rules)
    for name, frame in frames.items():
        checks.run(name, *frame)
    checks.build_docs(out / files.DOCS)
    record = {"dataset": dataset, "rules": checks.records()}
    disk.write(out / files.CONTRACT, json.dumps(record, indent=1).encode())
    checks.stop_if_broken("look into the sources and this stage's settings, then run the same command again")


def read(folder: Path) -> tuple[Outcome, ...]:
    """What `check` wrote to `folder`."""
    record = json.loads((folder / files.CONTRACT).read_bytes())
    return tuple(Outcome.model_validate(rule) for rule in record["rules"])


class Checks:
    """The rules as Great Expectations suites, one per frame, and their outcomes.

    In the process of the stage only: the import takes 4 to 10 s and 200 MB.
    """

    def __init__(self, dataset: str, rules: Sequence[Rule], progress: Progress = silent):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # `sre_parse`, on import
            import great_expectations as gx
            from great_expectations.data_context.types import base

        logging.getLogger(base.__name__).setLevel(logging.WARNING)  # it sets itself to INFO, whatever the root says

        self.outcomes: list[Outcome] = []
        self._dataset = dataset
        self._rules = rules
        self._frames = tuple(dict.fromkeys(rule.frame for rule in rules))
        self._taken_out: dict[str, pa.Array] = {}
        self._progress = progress
        self._gx = gx
        context: Any = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = base.ProgressBarsConfig(globally=False, metric_calculations=False)
        context.variables.save = lambda: None  # in memory too it makes YAML of all, at each change: 6 ms
        self._context = context
        self._checked: dict[str, tuple[Any, Any]] = {}  # frame -> its suite, and the suite's result

    def run(self, frame: str, rows: pa.Table, name: Name) -> None:
        """Check the frame's rules on its rows; Great Expectations is given the columns that they name."""
        self._progress(self._frames.index(frame), len(self._frames), f"parts of the contract checked, now {frame}")
        from great_expectations.expectations.metadata_types import FailureSeverity
        from great_expectations.expectations.registry import get_expectation_impl

        rules = [rule for rule in self._rules if rule.frame == frame]
        expectations = [
            get_expectation_impl(rule.expectation)(
                **rule.arguments,
                severity=FailureSeverity(_LEVELS[rule.severity]),
                notes=plain_text.in_markdown(f"{rule.severity}: {rule.finding}. Why: {rule.why}."),
                meta={"id": rule.id},
            )
            for rule in rules
        ]
        suite = self._gx.ExpectationSuite(name=frame, expectations=expectations)
        batch = self._context.data_sources.add_pandas(frame).read_dataframe(_named_by(rules, rows).to_pandas())
        complete = any(rule.severity == "quarantine" for rule in rules)  # all rows that break it, not twenty
        result = batch.validate(
            suite,
            result_format={
                "result_format": "COMPLETE" if complete else "SUMMARY",
                "partial_unexpected_count": _SAMPLED,
                "return_unexpected_index_query": False,  # it lists every row: 15 MB of Data Docs for a million
            },
        )
        self._context.data_sources.delete(frame)  # it would keep the rows
        results = {
            (checked.expectation_config.meta or {})["id"]: checked
            for checked in result.results
            if checked.expectation_config
        }
        self.outcomes += [self._outcome(rule, rows, name, results[rule.id]) for rule in rules]
        self._taken_out[frame] = _first_findings(rules, results, rows.num_rows)
        self._checked[frame] = (suite, result)

    def quarantined(self, frame: str) -> pa.Array:
        """For each row of the frame the first finding that takes it out; null if it stays."""
        return self._taken_out[frame]

    def lines(self, severity: Severity) -> tuple[str, ...]:
        """A line for each broken rule of this severity."""
        return tuple(outcome.line() for outcome in self.outcomes if not outcome.passed and outcome.severity == severity)

    def records(self) -> list[dict[str, Any]]:
        """The outcomes as JSON."""
        return [outcome.model_dump(mode="json") for outcome in self.outcomes]

    def stop_if_broken(self, todo: str) -> None:
        """Raise ContractViolation if a rule of severity `stop` is broken."""
        failures = self.lines("stop")
        if failures:
            raise errors.ContractViolation(
                f"The contract of the {self._dataset} must be kept.", received="; ".join(failures), todo=todo
            )

    def build_docs(self, folder: Path) -> None:
        """Write the Data Docs of all that was run, in place of what is in `folder`."""
        built = {frame: _built(suite, result) for frame, (suite, result) in self._checked.items()}
        page = data_docs.page(self._dataset, {frame: self._verdict(frame) for frame in self._frames}, built)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        disk.write(folder / data_docs.PAGE, page.encode())
        self._progress(len(self._frames), len(self._frames), "parts of the contract checked")

    def _verdict(self, frame: str) -> data_docs.Verdict:
        outcomes = [outcome for outcome in self.outcomes if outcome.frame == frame]
        return data_docs.Verdict(n_rules=len(outcomes), n_broken=sum(not outcome.passed for outcome in outcomes))

    def _outcome(self, rule: Rule, rows: pa.Table, name: Name, result: Any) -> Outcome:
        """The outcome of a rule from its `result`. A rule that can't be checked must not let anything through."""
        broken, examples = 0, []
        if not result.success and not result.result:
            rule = dataclasses.replace(rule, severity="stop", finding=f"the rule {rule.id} could not be checked")
            messages = [info["exception_message"] for info in result.exception_info.values() if isinstance(info, dict)]
            examples = sorted(set(messages))
        elif not result.success and "unexpected_count" in result.result:
            broken = result.result["unexpected_count"]
            shown = result.result["partial_unexpected_index_list"][:_EXAMPLES]
            examples = [name(row) for row in rows.take(pa.array(shown, pa.int64())).to_pylist()]
        elif not result.success:
            examples = [str(result.result.get("observed_value"))]
        return Outcome(
            dataset=self._dataset,
            **dataclasses.asdict(rule),
            passed=bool(result.success),
            n_checked=rows.num_rows,
            n_broken=broken,
            examples=tuple(examples),
        )


def _built(suite: Any, result: Any) -> data_docs.Built:
    """The pages of a suite and of its result, with plain text made of what the data says.

    Great Expectations sets values into its pages as they are, and so it does with the traces of exceptions, which also
    name this machine's files.
    """
    results_renderer, suite_renderer, view = _renderers()
    for checked in result.results:
        checked.result = _escaped(checked.to_json_dict()["result"])
        checked.exception_info = _without_traces(checked.exception_info)
    return data_docs.Built(view.render(results_renderer.render(result)), view.render(suite_renderer.render(suite)))


@functools.cache
def _renderers() -> tuple[Any, Any, Any]:
    """Of a result, of a suite, and what makes HTML of both: kept, as its templates take half a second to compile."""
    from great_expectations.render.renderer import ExpectationSuitePageRenderer, ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    return ValidationResultsPageRenderer(), ExpectationSuitePageRenderer(), DefaultJinjaPageView()


def _named_by(rules: Sequence[Rule], rows: pa.Table) -> pa.Table:
    """Of `rows` the columns that the rules name; all of them if a rule looks at the table."""
    if any(rule.expectation.startswith("expect_table_") for rule in rules):
        return rows
    named = {column for rule in rules for column in rule.columns}
    return rows.select([column for column in rows.column_names if column in named])


def _first_findings(rules: Sequence[Rule], results: Mapping[str, Any], n_rows: int) -> pa.Array:
    """For each row the finding of the first rule of severity `quarantine` that it breaks; else null."""
    first = np.full(n_rows, -1, np.int32)
    for number, rule in enumerate(rules):
        if rule.severity == "quarantine":
            broken = np.array(results[rule.id].result.get("unexpected_index_list") or [], np.int64)
            first[broken[first[broken] < 0]] = number
    return pa.array([rule.finding for rule in rules], pa.string()).take(pa.array(first, mask=first < 0))


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return html.escape(plain_text.visible(value))
    if isinstance(value, dict):
        return {name: _escaped(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return value


def _without_traces(info: Any) -> Any:
    if not isinstance(info, dict):
        return info
    return {name: "" if name == "exception_traceback" else _without_traces(value) for name, value in info.items()}
