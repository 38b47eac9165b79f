"""Update rules, layers by name, schedules, freezing, averaged weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.standin import ToyMatcher
from tracker.errors import ConfigError
from tracker.training.config import FreezeConfig, LayerConfig, OptimConfig, ScheduleConfig, train_config
from tracker.training.optim.ema import Ema
from tracker.training.optim.optimizer import Freezer, KochSGD, build_optimizer
from tracker.training.optim.schedule import Schedule


def test_koch_rule_by_hand() -> None:
    w = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = KochSGD([w], lr=0.1, momentum=0.5, weight_decay=0.01)
    value, delta = torch.tensor([1.0, -2.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for _ in range(4):
        w.grad = 3 * w.detach() ** 2
        delta = -0.1 * 3 * value**2 + 0.5 * delta
        value = value + delta - 2 * 0.01 * value
        optimizer.step()
        assert torch.allclose(w.detach(), value)


def test_gradients_of_the_twins_add_up() -> None:
    f = nn.Linear(3, 2, bias=False).double()
    a, b = torch.randn(2, 5, 3, dtype=torch.float64)

    def gradient(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        f.zero_grad()
        (f(x).detach() * f(y)).sum().backward()
        assert f.weight.grad is not None
        return f.weight.grad.clone()

    one, other = gradient(a, b), gradient(b, a)
    f.zero_grad()
    (f(a) * f(b)).sum().backward()
    assert f.weight.grad is not None and torch.allclose(f.weight.grad, one + other)


@pytest.mark.parametrize("name", ["sgd", "adamw", "koch"])
def test_layers_by_name(name: str) -> None:
    layers = [LayerConfig("backbone.4.*", 0.1, momentum=0.3, weight_decay=0.5), LayerConfig("backbone.*", 0.2)]
    config = OptimConfig(name=name, learning_rate=1.0, momentum=0.9, weight_decay=0.01, layers=layers)
    optimizer = build_optimizer(ToyMatcher(), config)
    found = {n: g for g in optimizer.param_groups for n in g["names"]}
    assert len(found) == len(list(ToyMatcher().named_parameters()))
    assert found["backbone.4.weight"]["base_lr"] == 0.1 and found["backbone.4.bias"]["weight_decay"] == 0.5
    assert found["backbone.0.weight"]["base_lr"] == 0.2 and found["backbone.0.weight"]["weight_decay"] == 0.01
    assert (
        found["scale"]["base_lr"] == 1.0
        and found["scale"]["weight_decay"] == 0
        and found["backbone.1.weight"]["weight_decay"] == 0
    )
    momentum = {n: g["betas"][0] if name == "adamw" else g["momentum"] for n, g in found.items()}
    assert momentum["backbone.4.weight"] == 0.3 and momentum["scale"] == 0.9


def test_layer_patterns_that_do_nothing_are_errors() -> None:
    with pytest.raises(ConfigError, match=r"'trunk\.\*'.*backbone\.\*"):
        build_optimizer(ToyMatcher(), OptimConfig(layers=[LayerConfig("trunk.*")]))
    with pytest.raises(ConfigError, match="never counts"):
        build_optimizer(ToyMatcher(), OptimConfig(layers=[LayerConfig("*"), LayerConfig("scale")]))
    with pytest.raises(ConfigError, match="adamw"):
        build_optimizer(ToyMatcher(), OptimConfig(name="adam"))


def test_schedules() -> None:
    optim = OptimConfig(name="sgd", learning_rate=0.5, momentum=0.9, momentum_start=0.5, momentum_steps=10)
    cosine = Schedule(ScheduleConfig("cosine", 10, 0.1, 0.01), optim, 101)
    assert cosine.factor(0) == pytest.approx(0.1) and cosine.factor(5) == pytest.approx(0.55) and cosine.factor(10) == 1
    assert cosine.factor(55) == pytest.approx(0.505) and cosine.factor(100) == pytest.approx(0.01)
    exponential = Schedule(ScheduleConfig("exponential", 0, 1.0, 1e-3), optim, 51)
    assert exponential.factor(0) == 1 and exponential.factor(50) == pytest.approx(1e-3)
    assert exponential.factor(20) / exponential.factor(10) == pytest.approx(
        exponential.factor(40) / exponential.factor(30)
    )
    assert Schedule(ScheduleConfig("constant", 0), optim, 5).factor(4) == 1
    optimizer = build_optimizer(ToyMatcher(), optim)
    cosine.apply(optimizer, 5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.275) and optimizer.param_groups[0][
        "momentum"
    ] == pytest.approx(0.7)
    for bad, match in (
        ({"name": "linear"}, "linear"),
        ({"name": "exponential", "final": 0}, "final"),
        ({"warmup_steps": 9}, "warm-up"),
    ):
        with pytest.raises(ConfigError, match=match):
            Schedule(ScheduleConfig(**bad), optim, 9)


def test_frozen_layers_rest_and_thaw() -> None:
    model = ToyMatcher(dropout=0.5)
    freezer = Freezer(model, [FreezeConfig("backbone.*", until=5), FreezeConfig("bias")])
    assert freezer.apply(0) and not freezer.apply(4)
    freezer.train_mode(0)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["scale", "sides.weight", "sides.bias"]
    assert not model.backbone[1].training and not model.backbone[3].training and model.sides.training and model.training
    assert freezer.apply(5)
    freezer.train_mode(5)
    assert model.backbone[0].weight.requires_grad and model.backbone[1].training and model.backbone[3].training
    assert not model.bias.requires_grad
    with pytest.raises(ConfigError, match=r"'trunk\.\*'"):
        Freezer(model, [FreezeConfig("trunk.*")])
    with pytest.raises(ConfigError, match="every parameter"):
        Freezer(model, [FreezeConfig("*")]).apply(0)


def test_averaged_weights() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    linear = model[0]
    assert isinstance(linear, nn.Linear)
    nn.init.zeros_(linear.weight)
    ema = Ema(model, 0.5)
    average = 0.0
    for step in range(6):
        nn.init.constant_(linear.weight, step + 1.0)
        ema.update(model)
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * (step + 1.0)
    assert float(ema.weights["0.weight"]) == pytest.approx(average)
    with pytest.raises(ZeroDivisionError), ema.applied(model):
        assert float(linear.weight.detach()) == pytest.approx(average)
        raise ZeroDivisionError
    assert float(linear.weight.detach()) == 6
    other = Ema(model, 0.5)
    other.load_state_dict(ema.state_dict())
    assert other.updates == 6 and torch.equal(other.weights["0.weight"], ema.weights["0.weight"])


def test_the_train_section_is_typed() -> None:
    config = train_config(
        {"losses": [{"name": "focal", "options": {"gamma": 1}}], "freeze": [{"pattern": "x", "until": 3}]}
    )
    assert config.losses[0].options == {"gamma": 1} and config.freeze[0].until == 3
    with pytest.raises(ConfigError, match="Did you mean 'steps'"):
        train_config({"stps": 3})
    with pytest.raises(ConfigError, match=r"the key 'losses\[0\]\.nam' is unknown\. Did you mean 'losses\[0\]\.name'"):
        train_config({"losses": [{"nam": "focal"}]})
    with pytest.raises(ConfigError, match=r"'optim\.layers\[1\]\.qq' is unknown\. Known keys: learning_rate, momentum"):
        train_config({"optim": {"layers": [{"pattern": "x"}, {"qq": 1}]}})
    with pytest.raises(ConfigError, match=r"the key 'losses\[7\]\[0\]' is unknown"):
        train_config({"losses[7][0]": 3})
    with pytest.raises(ConfigError, match="fp32 or bf16"):
        train_config({"precision": "fp16"})
    with pytest.raises(ConfigError, match=r"train\.steps is 0; it must be a whole number from 1 to"):
        train_config({"steps": 0})
