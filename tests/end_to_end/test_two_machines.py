"""Two torchrun agents, as on two machines; one is killed and restarted."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.commands import SHORT_RUN, SUML_TINY, TOOLS, environment

RUN = (
    *("--cfg", str(SUML_TINY), *SHORT_RUN, "SOLVER.MAX_EPOCH", "2", "OUTPUT_DIR", "runs/two"),
    *("TRAIN.CHECKPOINT_PERIOD_ITERS", "1", "TEST.ENABLE", "False"),
    *("BN.USE_PRECISE_STATS", "False", "DATA_LOADER.NUM_WORKERS", "0"),
)

# torchrun tells an address once, and an agent that joins a later start never gets it; so the
# processes agree on an address again at every start.
NEW_ADDRESS = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


class Agent:
    """One machine's torchrun, with its own process group and log."""

    def __init__(self, home, name, port, keeps_store=False):
        self.log = home / f"{name}.log"
        launcher = (
            *("--nnodes=2", "--nproc_per_node=1", "--max_restarts=3", "--rdzv_id=two"),
            *("--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{port}"),
            f"--rdzv_conf=is_host={keeps_store}",
        )
        command = [sys.executable, "-m", "torch.distributed.run", *launcher]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, str(TOOLS / "run_net.py"), *RUN],
                cwd=home,
                env=environment() | NEW_ADDRESS,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self):
        """As in a power cut: the agent and its worker end at once, without any message."""
        for pid in [*self._workers(), self.process.pid]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(10)

    def _workers(self):
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [int(pid) for pid in found.stdout.split()]

    def tail(self):
        return self.log.read_text()[-3000:]


def _wait_for_checkpoint(folder, agents, seconds):
    deadline = time.monotonic() + seconds
    while not list(folder.glob("checkpoint_epoch_*_iter_*.pyth")):
        assert time.monotonic() < deadline, [agent.tail() for agent in agents]
        assert all(agent.process.poll() is None for agent in agents), [a.tail() for a in agents]
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_machine_that_dies_and_comes_back(sample_home):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    output = sample_home / "runs" / "two"
    agents = [
        Agent(sample_home, "first", port, keeps_store=True),
        Agent(sample_home, "second", port),
    ]
    try:
        _wait_for_checkpoint(output / "checkpoints", agents, 240)
        agents[1].kill()
        agents.append(Agent(sample_home, "second_again", port))
        for agent in (agents[0], agents[2]):
            assert agent.process.wait(300) == 0, [agent.tail() for agent in agents]
    finally:
        for agent in agents:
            if agent.process.poll() is None:
                agent.kill()
    assert (output / "checkpoints" / "checkpoint_epoch_00002.pyth").is_file()
    # The steps before the loss are not made again.
    log = agents[0].log.read_text() + agents[2].log.read_text()
    assert re.search(r"resumed from \S*checkpoint_epoch_\d+(_iter_\d+)?\.pyth", log), log[-3000:]
