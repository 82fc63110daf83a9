"""The runs that an installation's end interrupts: the server is told of them, or each would be Running for ever."""

import contextlib
import datetime
from typing import Any

import httpx
import psutil

from flows.operating import services
from flows.operating.installation import Installation

_RUN_ID = "PREFECT__FLOW_RUN_ID"  # in the environment of a run's process
_TIMEOUT_S = 30.0
_GONE = "Its process has ended with the installation. Run it again to go on: finished stages are kept."
_ENDS = {
    "RUNNING": ("CRASHED", _GONE),
    "CANCELLING": ("CANCELLED", "Its process has ended."),
    "PENDING": ("SCHEDULED", "The worker ended before it had begun."),
}


def at_work(asked: Installation) -> set[str]:
    """The IDs of the runs whose processes the installation's workers have started, and that are there."""
    found = set()
    for process in services.marked(asked.token):
        with contextlib.suppress(psutil.Error, OSError):  # it has ended
            run_id = process.environ().get(_RUN_ID)
            found |= {run_id} if run_id else set()
    return found


def settle(asked: Installation, http: httpx.Client, ended: set[str], *, is_whole: bool = True) -> list[str]:
    """Give an end to the runs without a process, and return their names: those of the installation's pool.

    Where workers work for it – another machine's, or our own unless all are gone (`is_whole`) – only those of the IDs
    `ended`. What had not begun is to begin again.
    """
    alive = at_work(asked)
    chosen = {"id": {"any_": sorted(ended)}} if not is_whole or _is_served(asked, http) else {}
    if not ended and chosen:
        return []
    of_pool = {} if chosen else {"work_pools": {"name": {"any_": [asked.pool]}}}
    runs = _runs(http, {"flow_runs": {**chosen, "state": {"type": {"any_": list(_ENDS)}}}, **of_pool})
    gone = [run for run in runs if run["id"] not in alive and _set(http, run, *_ENDS[run["state_type"]])]
    return [run["name"] for run in gone if run["state_type"] != "PENDING"]


def _runs(http: httpx.Client, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    answer = http.post("flow_runs/filter", json=chosen, timeout=_TIMEOUT_S)
    return answer.json() if answer.is_success else []


def _set(http: httpx.Client, run: dict[str, Any], kind: str, message: str) -> bool:
    state: dict[str, Any] = {"type": kind, "message": message}
    if kind == "SCHEDULED":
        state["state_details"] = {"scheduled_time": datetime.datetime.now(datetime.UTC).isoformat()}
    answer = http.post(f"flow_runs/{run['id']}/set_state", json={"state": state}, timeout=_TIMEOUT_S)
    return answer.is_success and answer.json().get("status") == "ACCEPT"


def _is_served(asked: Installation, http: httpx.Client) -> bool:
    """Whether other workers than this machine's were ever seen at the pool: one may be back, with its runs."""
    own = services.worker_name("worker-")
    answer = http.post(f"work_pools/{asked.pool}/workers/filter", json={}, timeout=_TIMEOUT_S)
    workers = answer.json() if answer.is_success else []
    return any(not worker["name"].startswith(own) for worker in workers)
