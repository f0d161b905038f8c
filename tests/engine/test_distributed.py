"""Two processes train like one: the same weights on both, and those of one process with the whole batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from detkit.engine.checkpoint import load_model
from detkit.engine.distributed import World, joined_world
from detkit.engine.logs import read_log

REPOSITORY = Path(__file__).parents[2]

# Every process runs this; so does the test itself, alone. The loss is a mean over the batch, nothing is drawn.
PROGRAM = """
import sys
from pathlib import Path

import torch
from torch import nn

from detkit.engine.checkpoint import SavedModel
from detkit.engine.distributed import joined_world
from detkit.engine.inference import detect_all
from detkit.engine.optimizer import ParameterRule, sgd
from detkit.engine.schedule import cosine
from detkit.engine.trainer import Trainer, TrainSettings
from detkit.structures import Batch, Detections

STEPS, BATCH, PARTS = 6, 8, 2
SETTINGS = TrainSettings(
    seed=0, steps=STEPS, lr=0.05, schedule=cosine(STEPS, 0.0), accumulate=PARTS, precision="fp32", clip_norm=0.5,
    average_decay=0.5, eval_every=3, checkpoint_every=2, log_every=1,
)


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 1))

    def forward(self, batch):
        found = self.layers(batch.images.float() / 255)
        return {"fit": (found - batch.images.float().mean((1, 2, 3))[:, None] / 128).square().mean()}

    def detect(self, batch, clock=None):
        scores = self.layers(batch.images.float() / 255).sigmoid()
        return [Detections(torch.zeros(1, 4), score, torch.zeros(1, dtype=torch.int64)) for score in scores]


def batch_of(numbers):
    images = [torch.randint(0, 255, (3, 6, 6), generator=torch.Generator().manual_seed(n)) for n in numbers]
    size = torch.full((len(numbers), 2), 6)
    return Batch(torch.stack(images).to(torch.uint8), size, size, tuple(map(str, numbers)))


def main(folder):
    with joined_world() as world:
        run(folder, world)


def run(folder, world):
    def batches(steps):
        for step in steps:
            mine = list(range(step * BATCH, (step + 1) * BATCH))[world.rank :: world.size]
            for part in range(PARTS):
                yield batch_of(mine[part::PARTS])

    def validate(model, step, log):
        mine = range(1000, 1005)[world.rank :: world.size]
        with torch.no_grad():
            found = detect_all(model, [batch_of([n]) for n in mine], world, "validating")
        assert set(found) == {str(n) for n in range(1000, 1005)}
        return sum(one.scores.item() for one in found.values())

    torch.manual_seed(world.rank)  # the processes start apart: the first decides
    model = Tiny()
    trainer = Trainer(
        model, sgd(model, ParameterRule(0.05, 0.01, 2.0, False), 0.9), SETTINGS, batches,
        lambda weights, step: SavedModel({}, (), weights, step), validate, folder, world,
    )
    trainer.run()
    assert world.gather(world.rank) == list(range(world.size))
    state = {"model": model.state_dict(), "average": trainer.average.model.state_dict(), "best": trainer.best}
    torch.save(state, folder / f"end_{world.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
"""


def torchrun(*command: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
        "CUDA_VISIBLE_DEVICES": "",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    launcher += ["--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1"]
    return subprocess.run(
        [*launcher, "--", *map(str, command)], capture_output=True, text=True, env=environment, timeout=900
    )


def test_without_torchrun_the_world_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with joined_world() as world:
        assert (world.rank, world.size, world.is_main) == (0, 1, True)
        assert world.gather("x") == ["x"]
        world.barrier()
    assert not torch.distributed.is_initialized()
    assert not World(1, 2, torch.device("cpu")).is_main


def test_two_processes_train_to_the_weights_of_one(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    ended = torchrun(program, two)
    assert ended.returncode == 0, ended.stderr
    alone: dict[str, object] = {"__name__": "program"}
    exec(compile(PROGRAM, str(program), "exec"), alone)
    alone["run"](one, World(0, 1, torch.device("cpu")))  # type: ignore[operator]

    first, second, expected = (
        torch.load(path, weights_only=True) for path in (two / "end_0.pt", two / "end_1.pt", one / "end_0.pt")
    )
    for kind in ("model", "average"):
        for name, value in expected[kind].items():
            assert torch.equal(first[kind][name], second[kind][name])
            assert torch.allclose(first[kind][name], value, rtol=0, atol=1e-6)
    assert not torch.equal(expected["model"]["layers.0.weight"], expected["average"]["layers.0.weight"])
    assert first["best"] == second["best"] == pytest.approx(expected["best"], abs=1e-5)
    assert load_model(two).step == load_model(one).step
    assert [row["step"] for row in read_log(two / "log.jsonl")] == [row["step"] for row in read_log(one / "log.jsonl")]


@pytest.mark.slow
def test_the_training_tool_runs_in_two_processes(tiny_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    overrides = ["train.batch_size=4", "data.val=[val]", "train.eval_every=2", "train.ema=0.9"]
    ended = torchrun(REPOSITORY / "tools" / "train.py", tiny_file, *overrides, "--run", run)
    assert ended.returncode == 0, ended.stderr
    rows = read_log(run / "log.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in rows if "val_map" in row] == [2, 4]
    assert load_model(run).step in (2, 4)
    assert ended.stdout.count("done:") == 1  # the first process alone talks
