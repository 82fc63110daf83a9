import contextlib
import socket

import pytest

from fer.engine.store import ports


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(ports, "_FREE_TIMEOUT_S", 0)


def busy(*numbers: int) -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    for number in numbers:
        stack.enter_context(socket.create_server(("127.0.0.1", number)))
    return stack


def changed(before: dict[str, int], after: dict[str, int]) -> set[str]:
    assert list(after) == list(ports.NAMES)
    assert len(set(after.values())) == len(ports.NAMES)
    return {name for name in before if after[name] != before[name]}


def test_free_ports_stay_what_they_were():
    recorded = ports.choose({})
    assert changed(recorded, ports.choose(recorded)) == set()


@pytest.mark.parametrize("name", ["volume.port", "filer.port.grpc", "s3.port"])
def test_only_a_busy_port_is_replaced(name):
    recorded = ports.choose({})
    with busy(recorded[name]):
        assert changed(recorded, ports.choose(recorded)) == {name}


@pytest.mark.parametrize("damage", [0, "8333", None, 70_000, -1])
def test_what_is_no_port_is_replaced(damage):
    recorded = ports.choose({})
    assert changed(recorded, ports.choose(recorded | {"admin.port": damage, "else": 1})) == {"admin.port"}


def test_two_services_are_never_given_one_port():
    recorded = ports.choose({})
    assert changed(recorded, ports.choose(recorded | {"filer.port": recorded["s3.port"]})) == {"filer.port"}


def test_after_a_start_that_failed_what_is_busy_by_now_is_replaced_and_else_all_but_s3_s():
    first = ports.choose({})
    with busy(first["master.port"]):
        assert changed(first, ports.others(first, 1)) == {"master.port"}
    assert changed(first, ports.others(first, 1)) == set(ports.NAMES) - {"s3.port"}
    assert changed(first, ports.others(first, 2)) == set(ports.NAMES)
