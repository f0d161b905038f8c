"""The training loop on a model of a few numbers: resuming bit for bit, stopping, clipping, keeping the best."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from detkit.engine.checkpoint import SavedModel, load_model
from detkit.engine.distributed import World
from detkit.engine.logs import RunLog, read_log
from detkit.engine.optimizer import ParameterRule, adamw, sgd
from detkit.engine.schedule import cosine, with_warmup
from detkit.engine.trainer import NotFinite, Trainer, TrainSettings, step_seed
from detkit.runtime.console import StepProgress
from detkit.structures import Batch, Losses

WORLD = World(0, 1, torch.device("cpu"))
STEPS = 6
SETTINGS = TrainSettings(
    seed=1,
    steps=STEPS,
    lr=0.1,
    schedule=with_warmup(cosine(STEPS, 0.1), 2, 0.1),
    accumulate=1,
    precision="fp32",
    clip_norm=None,
    average_decay=None,
    eval_every=None,
    checkpoint_every=1,
    log_every=1,
)


class Tiny(nn.Module):
    """A convolution, batch norm and dropout: something of all that training changes or draws."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.out = nn.Linear(4, 1)

    def forward(self, batch: Batch) -> Losses:
        found = self.out(self.layers(batch.images.float() / 255)).float()
        return {"fit": (found - 1).square().mean(), "size": found.square().mean() * 0.1}


class Scalar(nn.Module):
    """Its gradient is `slope`, whatever the batch; the loss is `losses[step]` where that is given."""

    def __init__(self, slope: float = 1.0, poison: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.slope, self.poison, self.calls = slope, poison, 0

    def forward(self, batch: Batch) -> Losses:
        self.calls += 1
        bad = torch.tensor(float("nan") if self.calls - 1 == self.poison else 0.0)
        return {"good": self.weight.sum() * self.slope, "bad": self.weight.sum() * 0 + bad}


def batch_of(step: int, part: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(100 * step + part)
    images = torch.randint(0, 255, (4, 3, 6, 6), generator=generator, dtype=torch.uint8)
    size = torch.full((4, 2), 6)
    return Batch(images, size, size, tuple(f"{step}.{part}.{i}" for i in range(4)))


def stream(accumulate: int) -> Callable[[range], Iterable[Batch]]:
    def batches(steps: range) -> Iterator[Batch]:
        for step in steps:
            for part in range(accumulate):
                yield batch_of(step, part)

    return batches


def make_trainer(
    folder: Path,
    settings: TrainSettings = SETTINGS,
    model: nn.Module | None = None,
    adam: bool = False,
    scores: dict[int, float | None] | None = None,
) -> Trainer:
    model = model or Tiny()
    rule = ParameterRule(settings.lr, weight_decay=0.01, bias_rate=2.0, decay_norm_and_bias=False)
    optimizer = adamw(model, rule) if adam else sgd(model, rule, momentum=0.9)

    def describe(weights: dict[str, Tensor], step: int) -> SavedModel:
        return SavedModel({}, ("thing",), weights, step)

    def validate(scored: nn.Module, step: int, log: RunLog | None) -> float | None:
        assert scores is not None
        scored.eval()  # as the real one does
        torch.rand(step)
        return scores[step]

    folder.mkdir(exist_ok=True)
    batches = stream(settings.accumulate)
    return Trainer(model, optimizer, settings, batches, describe, None if scores is None else validate, folder, WORLD)


@dataclass
class Killed(Exception):
    """Stands in for a kill after a checkpoint was written."""


def run_killed_at(trainer: Trainer, step: int) -> None:
    save = trainer.save_checkpoint

    def save_and_die() -> None:
        save()
        if trainer.step == step:
            raise Killed

    trainer.save_checkpoint = save_and_die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        trainer.run()


def bits(folder: Path, name: str) -> dict[str, bytes]:
    """Every tensor of a file by its path in it."""
    content = torch.load(folder / name, weights_only=True)

    def walk(value: object, path: str) -> Iterator[tuple[str, bytes]]:
        if isinstance(value, Tensor):
            yield path, value.contiguous().numpy().tobytes()
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(inner, f"{path}/{key}")
        elif isinstance(value, list):
            for i, inner in enumerate(value):
                yield from walk(inner, f"{path}/{i}")
        else:
            yield path, repr(value).encode()

    return dict(walk(content, ""))


VARIANTS = {
    "plain": SETTINGS,
    "accumulated": replace(SETTINGS, accumulate=2),
    "averaged": replace(SETTINGS, average_decay=0.9),
    "bf16": replace(SETTINGS, precision="bf16", average_decay=0.9, clip_norm=0.5),
    "all": replace(SETTINGS, accumulate=2, average_decay=0.9, clip_norm=0.5),
}


@pytest.mark.parametrize("adam", [False, True], ids=["sgd", "adamw"])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_run_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path, name: str, adam: bool) -> None:
    settings = VARIANTS[name]
    make_trainer(tmp_path / "whole", settings, adam=adam).run()
    for step in range(1, STEPS + 1):
        folder = tmp_path / f"stopped_{step}"
        run_killed_at(make_trainer(folder, settings, adam=adam), step)
        torch.manual_seed(step)  # another process has another state
        resumed = make_trainer(folder, settings, adam=adam)
        resumed.load_checkpoint()
        assert resumed.step == step
        resumed.run()
        for file in ("model.pt", "checkpoint.pt"):
            assert bits(folder, file) == bits(tmp_path / "whole", file)
        rows = [
            [{k: v for k, v in row.items() if k != "images_per_second"} for row in read_log(f / "log.jsonl")]
            for f in (folder, tmp_path / "whole")
        ]
        assert rows[0] == rows[1]
        assert [row["step"] for row in rows[0]] == list(range(1, STEPS + 1))


def test_resuming_needs_the_optimizers_state(tmp_path: Path) -> None:
    """That the test above can fail: without momentum the weights come out different."""
    make_trainer(tmp_path / "whole").run()
    run_killed_at(make_trainer(tmp_path / "stopped"), 3)
    resumed = make_trainer(tmp_path / "stopped")
    resumed.load_checkpoint()
    resumed.optimizer.state.clear()
    resumed.run()
    assert bits(tmp_path / "whole", "model.pt") != bits(tmp_path / "stopped", "model.pt")


def test_validation_changes_nothing_of_training(tmp_path: Path) -> None:
    scores: dict[int, float | None] = dict.fromkeys(range(1, STEPS + 1), 0.5)
    make_trainer(tmp_path / "without").run()
    make_trainer(tmp_path / "with", replace(SETTINGS, eval_every=1), scores=scores).run()
    one, other = (bits(tmp_path / name, "checkpoint.pt") for name in ("without", "with"))
    assert {k: v for k, v in one.items() if k != "/best"} == {k: v for k, v in other.items() if k != "/best"}


def test_accumulated_parts_sum_to_the_mean_of_the_whole_batch(tmp_path: Path) -> None:
    """Two equal parts: each loss counts half, so the update of one step is that of slope 1, not 2."""
    weights = []
    for accumulate in (1, 2):
        model = Scalar()
        settings = replace(SETTINGS, steps=1, accumulate=accumulate, schedule=lambda step: 1.0)
        make_trainer(tmp_path / str(accumulate), settings, model).run()
        weights.append(model.weight.tolist())
    assert weights[0] == weights[1] == pytest.approx([-0.1, -0.1])


def test_the_gradient_is_clipped(tmp_path: Path) -> None:
    """Gradient (30, 40 by symmetry both 30): norm sqrt(2) * 30 becomes 1, each part sqrt(1/2)."""
    model = Scalar(slope=30.0)
    make_trainer(tmp_path, replace(SETTINGS, steps=1, clip_norm=1.0, schedule=lambda step: 1.0), model).run()
    assert model.weight.tolist() == pytest.approx([-0.1 * 0.5**0.5] * 2, rel=1e-4)


def test_the_logged_rate_and_losses(tmp_path: Path) -> None:
    make_trainer(tmp_path, replace(SETTINGS, log_every=4)).run()
    rows = read_log(tmp_path / "log.jsonl")
    assert [row["step"] for row in rows] == [4, 6]
    assert rows[0]["lr"] == pytest.approx(0.1 * SETTINGS.schedule(3))
    for row in rows:
        assert row["loss"] == pytest.approx(row["loss/fit"] + row["loss/size"])
        assert row["images_per_second"] > 0


def test_the_averaged_weights_are_what_is_kept(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, replace(SETTINGS, average_decay=0.9))
    trainer.run()
    kept = load_model(tmp_path).weights["out.weight"]
    assert trainer.average is not None
    assert torch.equal(kept, trainer.average.model.out.weight)
    assert not torch.equal(kept, trainer.model.out.weight)


# Loss that is no number


@pytest.mark.parametrize("average_decay", [None, 0.9])
def test_a_loss_that_is_no_number_stops_the_run_and_says_where(tmp_path: Path, average_decay: float | None) -> None:
    settings = replace(SETTINGS, checkpoint_every=2, accumulate=2, average_decay=average_decay)
    trainer = make_trainer(tmp_path, settings, Scalar(poison=7))  # the second part of step 3
    with pytest.raises(NotFinite, match=r"step 3: the loss is nan.*not_finite_rank0\.json"):
        trainer.run()
    report = json.loads((tmp_path / "not_finite_rank0.json").read_text())
    assert report["step"] == 3
    assert report["image_ids"] == [f"3.1.{i}" for i in range(4)]
    assert report["losses"]["loss/bad"] == report["losses"]["loss"] == "nan"
    assert float(report["losses"]["loss/good"]) < 0
    again = make_trainer(tmp_path, settings, Scalar())
    again.load_checkpoint()
    assert again.step == 2
    assert torch.isfinite(again.model.weight).all()
    again.run()
    assert load_model(tmp_path).step == STEPS


# Validation and the best weights


@pytest.mark.parametrize(
    ("scores", "best_step", "best"),
    [
        ({2: 0.1, 4: 0.3, 6: 0.2}, 4, 0.3),
        ({2: 0.3, 4: 0.3, 6: 0.3}, 2, 0.3),  # of equals the first
        ({2: 0.1, 4: 0.2, 6: 0.3}, 6, 0.3),
        ({2: 0.0, 4: 0.0, 6: 0.0}, 2, 0.0),
        ({2: None, 4: 0.0, 6: None}, 4, 0.0),  # None: nothing to find in the split
    ],
)
def test_the_model_with_the_best_score_is_kept(
    tmp_path: Path, scores: dict[int, float | None], best_step: int, best: float
) -> None:
    trainer = make_trainer(tmp_path, replace(SETTINGS, eval_every=2), scores=scores)
    trainer.run()
    assert load_model(tmp_path).step == best_step
    assert trainer.best == best
    logged = {row["step"]: row["val_map"] for row in read_log(tmp_path / "log.jsonl") if "val_map" in row}
    assert logged == {step: score for step, score in scores.items() if score is not None}


def test_the_last_step_is_scored_though_it_is_not_due(tmp_path: Path) -> None:
    make_trainer(tmp_path, replace(SETTINGS, eval_every=4), scores={4: 0.1, 6: 0.2}).run()
    assert load_model(tmp_path).step == 6


def test_a_run_shorter_than_the_time_between_scorings_keeps_its_last_weights(tmp_path: Path) -> None:
    make_trainer(tmp_path / "try", replace(SETTINGS, eval_every=STEPS + 1), scores={}).run()  # {}: a call would fail
    make_trainer(tmp_path / "without").run()
    assert load_model(tmp_path / "try").step == STEPS
    assert bits(tmp_path / "try", "model.pt") == bits(tmp_path / "without", "model.pt")
    make_trainer(tmp_path / "just", replace(SETTINGS, eval_every=STEPS), scores={STEPS: 0.5}).run()
    assert [row["val_map"] for row in read_log(tmp_path / "just" / "log.jsonl") if "val_map" in row] == [0.5]


def test_progress_is_told_at_every_step_and_logged_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, str]] = []
    monkeypatch.setattr(StepProgress, "update", lambda self, step, text="": told.append((step, text)))
    make_trainer(tmp_path, replace(SETTINGS, log_every=4)).run()
    assert [step for step, _ in told] == list(range(1, STEPS + 1))
    rows = {row["step"]: row["loss"] for row in read_log(tmp_path / "log.jsonl")}
    assert list(rows) == [4, 6]
    for step, loss in rows.items():
        assert told[step - 1][1].startswith(f"loss {loss:.3f}, ")


@pytest.mark.parametrize("killed_at", [2, 4])
def test_the_best_is_remembered_by_a_resumed_run(tmp_path: Path, killed_at: int) -> None:
    settings = replace(SETTINGS, eval_every=2, checkpoint_every=2)
    scores: dict[int, float | None] = {2: 0.4, 4: 0.2, 6: 0.3}
    run_killed_at(make_trainer(tmp_path, settings, scores=scores), killed_at)
    resumed = make_trainer(tmp_path, settings, scores=scores)
    resumed.load_checkpoint()
    resumed.run()
    assert load_model(tmp_path).step == 2
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl") if "val_map" in row] == [2, 4, 6]


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    make_trainer(tmp_path).run()
    before = (tmp_path / "model.pt").read_bytes(), (tmp_path / "log.jsonl").read_text()
    again = make_trainer(tmp_path)
    again.load_checkpoint()
    again.run()
    assert ((tmp_path / "model.pt").read_bytes(), (tmp_path / "log.jsonl").read_text()) == before


def test_no_two_steps_have_one_seed() -> None:
    triples = [(seed, step, rank) for seed in (0, 1, 2, 2**40) for step in (0, 1, 7, 1_000_003) for rank in range(4)]
    assert len({step_seed(*triple, size=4) for triple in triples}) == len(triples)
    for size in (1, 8):  # of a long run, also as torch's generator on the CPU takes them
        run = {step_seed(3, step, rank, size) % 2**32 for step in range(200_000 // size) for rank in range(size)}
        assert len(run) == 200_000
    torch.manual_seed(step_seed(2**40, 10**6, 7, 8))  # within what torch takes
