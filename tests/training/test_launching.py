"""What a process of a run reads from its environment, and which addresses and machines are accepted."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import tiny

from mxml.errors import ListError, SettingError, SetupError
from mxml.training.kv_store import with_kv_store
from mxml.training.launching import environment
from mxml.training.launching.addresses import private_address, require_private, reserved_port
from mxml.training.launching.hosts import read_hosts
from mxml.training.launching.restart import Restart

WORKER = {
    "DMLC_ROLE": "worker",
    "DMLC_NUM_WORKER": "3",
    "DMLC_NUM_SERVER": "1",
    "DMLC_WORKER_ID": "2",
    "DMLC_PS_ROOT_URI": "localhost",
    "DMLC_PS_ROOT_PORT": "9000",
}


@pytest.fixture
def variables(monkeypatch):
    def put(**changes):
        for name, value in {**WORKER, **changes}.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "172.31.0.1", "192.168.7.7", "100.64.0.1", "169.254.3.4"])
def test_private_addresses_are_taken(address):
    assert require_private(address, "eth0") == address


@pytest.mark.parametrize("address", ["0.0.0.0", "8.8.8.8", "172.32.0.1", "192.167.0.1", "100.128.0.1", "224.0.0.1"])
def test_public_addresses_and_all_addresses_at_once_are_refused(address):
    with pytest.raises(SetupError, match="not an address of a private network"):
        private_address(address)


def test_an_interface_is_known_by_its_name():
    assert private_address("lo") == "127.0.0.1"
    for name in ("no-such-interface", "::1", "", "lo\0"):
        with pytest.raises(SetupError, match=r"no network interface here; there are .*lo"):
            private_address(name)


def test_a_reserved_port_is_free_for_ps_lite_and_for_nobody_else():
    with reserved_port("127.0.0.1") as keeper, socket.socket() as other, socket.socket() as lite:
        with pytest.raises(OSError, match="in use"):
            other.bind(keeper.getsockname())
        # As ZeroMQ does it.
        lite.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        lite.bind(keeper.getsockname())
        lite.listen()


def test_a_worker_knows_its_place(variables):
    assert environment.place() == environment.ALONE
    variables()
    assert environment.place() == environment.Place(2, 3) and not environment.place().is_first
    environment.use_private_addresses()
    assert os.environ["DMLC_PS_ROOT_URI"] == os.environ["DMLC_NODE_HOST"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DMLC_WORKER_ID": ""}, "DMLC_WORKER_ID is not set: should be a whole number from 0 to 4095"),
        ({"DMLC_WORKER_ID": "3"}, "DMLC_WORKER_ID is 3: should be below DMLC_NUM_WORKER, which is 3"),
        ({"DMLC_NUM_WORKER": "-1"}, "DMLC_NUM_WORKER is '-1': should be a whole number from 1"),
        ({"DMLC_NUM_SERVER": "٣"}, "DMLC_NUM_SERVER is '٣': should be a whole number"),
        ({"DMLC_PS_ROOT_URI": "8.8.4.4"}, "8.8.4.4: is not an address of a private network"),
        ({"DMLC_NODE_HOST": "8.8.4.4"}, "8.8.4.4: is not an address of a private network"),
    ],
)
def test_wrong_variables_are_named(variables, monkeypatch, changes, message):
    variables(**changes)
    with pytest.raises(SetupError, match=message):
        environment.place()
        environment.use_private_addresses()


@pytest.mark.parametrize("role", ["scheduler", "server", "worker"])
def test_no_role_listens_where_the_public_may_reach_it(tmp_path, role):
    """MXNet would take up the role as it is imported, on whatever address."""
    tiny.make_network(tmp_path / "net")
    variables = {**os.environ, **WORKER, "DMLC_ROLE": role, "DMLC_PS_ROOT_URI": "8.8.8.8"}
    words = [sys.executable, "-m", "mxml", "train", *tiny.arguments(tmp_path, batch_size=9)]
    done = subprocess.run(words, env=variables, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "mxml: 8.8.8.8: is not an address of a private network" in done.stderr


def test_the_store_follows_from_where_the_process_runs(tmp_path, variables):
    config = tiny.config(tmp_path, batch_size=9)
    assert with_kv_store(config, {}).kv_store == "device"
    assert with_kv_store(tiny.config(tmp_path, kv_store="local"), {}).kv_store == "local"
    # A run of several that goes on alone.
    assert with_kv_store(tiny.config(tmp_path, kv_store="dist_sync"), {}).kv_store == "device"
    with pytest.raises(SettingError, match="`kv_store` dist_sync: should be device or local on one machine"):
        with_kv_store(config, {"kv_store": "dist_sync"})
    variables()
    assert with_kv_store(config, {}).kv_store == "dist_sync"
    with pytest.raises(SettingError, match="`kv_store` device: should be dist_sync in a process of `mxml launch`"):
        with_kv_store(config, {"kv_store": "device"})
    with pytest.raises(SettingError, match="`batch_size` 8: should be a multiple of 3, the number of workers"):
        with_kv_store(tiny.config(tmp_path, batch_size=8), {})


def test_machines_are_read_line_by_line(tmp_path):
    path = tmp_path / "hosts"
    path.write_text("# all\nnode-1\n  me@10.0.0.2  # fast\nnode-1\r\n")
    assert read_hosts(str(path)) == ("node-1", "me@10.0.0.2", "node-1")
    path.write_text("node-1\n-oProxyCommand=x\na b\n$(id)\nme@\nx;y\n")
    with pytest.raises(ListError) as caught:
        read_hosts(str(path))
    assert [fault.split(":")[1] for fault in caught.value.faults] == ["2", "3", "4", "5", "6"]
    path.write_bytes(b"\xff\n")
    with pytest.raises(ListError, match="is not UTF-8"):
        read_hosts(str(path))
    path.write_text("# none\n")
    with pytest.raises(ListError, match="names no machine"):
        read_hosts(str(path))


# ---- what to type after a job has failed


AGAIN = "mxml launch -- mxml train --prefix 'my run' --force"
RESUMED = "mxml launch -- mxml train --prefix 'my run' --resume"
CAN_BE_RESUMED = f"the run can be resumed: {RESUMED}"
NONE_HAS_BEGUN = f"no run has begun; to start again: {AGAIN}"
AS_IT_WAS = f"the run that it was to replace is as it was; to start again: {AGAIN}"
EITHER = (
    f"my run.json cannot be read on this machine; if the new run has begun, it can be resumed: {RESUMED}; if the run "
    f"that it was to replace is as it was, start again: {AGAIN}"
)


@pytest.mark.parametrize(
    ("before", "after", "elsewhere", "advice"),
    [
        ("old", "old", False, AS_IT_WAS),
        ("old", "old", True, AS_IT_WAS),
        ("old", "new", False, CAN_BE_RESUMED),
        # The run before was removed, and the new one was about to begin.
        ("old", None, False, NONE_HAS_BEGUN),
        (None, "new", True, CAN_BE_RESUMED),
        (None, None, False, NONE_HAS_BEGUN),
        (None, None, True, EITHER),
    ],
)
def test_a_run_that_was_to_replace_another_is_resumed_only_where_that_is_gone(
    tmp_path, monkeypatch, before, after, elsewhere, advice
):
    monkeypatch.chdir(tmp_path)
    sidecar = tmp_path / "my run.json"
    if before is not None:
        sidecar.write_text(before)
    restart = Restart(AGAIN, RESUMED, "my run", replaces=True, elsewhere=elsewhere)
    if after is None:
        sidecar.unlink(missing_ok=True)
    elif after != before:
        sidecar.write_text(after)
    assert restart.after(1) == restart.after(137) == advice


@pytest.mark.parametrize("replaces", [True, False])
def test_a_run_that_begins_with_what_an_earlier_one_wrote_can_be_resumed(tmp_path, monkeypatch, replaces):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my run.json").write_text("begun")
    os.utime(tmp_path / "my run.json", (1, 1))
    restart = Restart(AGAIN, RESUMED, "my run", replaces=replaces, elsewhere=False)
    (tmp_path / "my run.json").write_text("begun")
    assert restart.after(1) == CAN_BE_RESUMED


def test_a_resume_is_offered_only_where_the_job_has_begun_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sidecar = tmp_path / "my run.json"

    def advice(before, after, again=AGAIN, elsewhere=False):
        sidecar.unlink(missing_ok=True)
        if before is not None:
            sidecar.write_text(before)
        restart = Restart(again, RESUMED, "my run", replaces=False, elsewhere=elsewhere)
        if after not in (None, before):
            sidecar.write_text(after)
        # It has ended well, and it was typed wrongly.
        assert restart.after(0) is None and restart.after(2) is None
        return restart.after(1)

    assert advice(None, "new") == CAN_BE_RESUMED
    assert advice(None, None) == NONE_HAS_BEGUN
    # The job said that another run is there.
    assert advice("old", "old") is None
    # A resume goes on with it, however early it ended.
    assert advice("old", "old", again=RESUMED) == CAN_BE_RESUMED
    assert advice(None, None, again=RESUMED) == f"no run has begun; to start again: {RESUMED}"
    assert "if not, start again: mxml launch" in advice(None, None, elsewhere=True)
