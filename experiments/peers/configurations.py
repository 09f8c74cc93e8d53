"""Configurations of other libraries, with the rates that these libraries compute for them.

    python configurations.py --deepspeed lr_schedules.py --composer FOLDER --foundry scheduler.py > configurations.jsonl

Needs torch, timm, transformers, keras with jax, optax and fastai; of DeepSpeed the file runtime/lr_schedules.py, of
Composer a folder that contains its package `composer`, and of llm-foundry the file optim/scheduler.py, none of which has
to be installed. Each line is a configuration
with the rates of some updates; crates/anneal-config/tests/peers compares them with the translation.
"""

import argparse
import importlib.util
import json
import logging
import math
import os
import sys
import types
import warnings

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_ENABLE_X64"] = "1"
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import torch  # noqa: E402

parser = argparse.ArgumentParser()
parser.add_argument("--deepspeed", required=True)
parser.add_argument("--composer", required=True)
parser.add_argument("--foundry", required=True)
paths = parser.parse_args()


def stand_in(name, **contents):
    """A module in the place of one that is not needed."""
    module = types.ModuleType(name)
    module.__dict__.update(contents)
    module.__path__ = []
    sys.modules[name] = module
    return module


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def optimizer(*rates, momentum=False):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    if momentum:
        return torch.optim.SGD(groups, lr=rates[0], momentum=0.9)
    return torch.optim.AdamW(groups, lr=rates[0])


def points(updates, wanted=()):
    """At most 40 updates: the first ones, some in between, and those beside the wanted ones."""
    near = {step + by for step in wanted for by in (-1, 0, 1)}
    even = {round(i * (updates - 1) / 14) for i in range(15)}
    steps = sorted(step for step in {0, 1, 2} | even | near if 0 <= step < updates)
    assert len(steps) <= 40, len(steps)
    return steps


def line(kind, text, run, steps, rates, tolerance=None, of_groups=(), **options):
    text = text if isinstance(text, str) else json.dumps(text)
    case = {"from": kind, "text": text, "options": options, "run": run, "steps": steps, "rates": rates}
    if tolerance:
        case["tolerance"] = tolerance
    if of_groups:
        case["groups"] = of_groups
    print(json.dumps(case))


# --- transformers ---------------------------------------------------------------------------------------------------

from transformers.optimization import get_scheduler  # noqa: E402


def hf_rates(arguments, updates):
    """The rates of the Trainer, which rounds a share for the warm-up up to a whole update."""
    kind = arguments.get("lr_scheduler_type", "linear")
    rate = arguments.get("learning_rate", 5e-5)
    steps, ratio = arguments.get("warmup_steps", 0), arguments.get("warmup_ratio", 0)
    share = steps if 0 < steps < 1 else ratio
    warmup = int(steps) if steps >= 1 else math.ceil(updates * share)
    kwargs = arguments.get("lr_scheduler_kwargs") or {}
    made = optimizer(rate)
    scheduler = get_scheduler(kind, made, warmup, updates, scheduler_specific_kwargs=dict(kwargs))
    rates = []
    for _ in range(updates):
        rates.append(made.param_groups[0]["lr"])
        made.step()
        scheduler.step()
    return rates, warmup


def hf(arguments, updates_per_epoch=None):
    most = arguments.get("max_steps", -1)
    epochs = arguments.get("num_train_epochs", 3)
    updates = most if most > 0 else epochs * updates_per_epoch
    rates, warmup = hf_rates(arguments, updates)
    steps = points(updates, [warmup, updates - 1])
    length = {"updates": updates} if most > 0 else {"epochs": epochs, "updates_per_epoch": updates_per_epoch}
    options = {"steps_per_epoch": updates_per_epoch} if updates_per_epoch else {}
    line("hf-args", arguments, length, steps, [rates[step] for step in steps], **options)


hf({"learning_rate": 5e-5, "num_train_epochs": 3, "output_dir": "out"}, updates_per_epoch=229)
hf({"learning_rate": 2e-5, "num_train_epochs": 3, "weight_decay": 0.01, "evaluation_strategy": "epoch"}, updates_per_epoch=1563)
hf({"learning_rate": 3e-4, "lr_scheduler_type": "cosine", "warmup_ratio": 0.03, "num_train_epochs": 3, "bf16": True}, updates_per_epoch=812)
hf({"learning_rate": 2e-4, "lr_scheduler_type": "constant", "warmup_ratio": 0.03, "max_grad_norm": 0.3, "max_steps": 1875})
hf({"learning_rate": 1e-4, "lr_scheduler_type": "constant_with_warmup", "warmup_steps": 500, "max_steps": 4000, "fp16": True})
hf({"learning_rate": 1e-5, "warmup_steps": 500, "max_steps": 4000, "gradient_accumulation_steps": 1, "fp16": True})
hf({"learning_rate": 6e-4, "lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 6e-5}, "warmup_steps": 200, "max_steps": 2000})
hf({"learning_rate": 6e-4, "lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}, "warmup_ratio": 0.05, "max_steps": 777})
hf({"learning_rate": 1e-3, "lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 3}, "warmup_ratio": 0.1, "max_steps": 1000})
hf({"learning_rate": 1e-3, "lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2.0, "lr_end": 1e-6}, "warmup_steps": 100, "max_steps": 1000})
hf({"learning_rate": 1e-3, "lr_scheduler_type": "inverse_sqrt", "warmup_steps": 100, "max_steps": 1000})
hf({"learning_rate": 1e-3, "lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"num_decay_steps": 200, "min_lr_ratio": 0.1}, "warmup_steps": 50, "max_steps": 1000})
hf({"learning_rate": 1e-3, "lr_scheduler_type": "cosine_warmup_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1e-4}, "warmup_steps": 20, "max_steps": 200})
hf({"learning_rate": 1e-3, "warmup_steps": 0.1, "max_steps": 505})
hf({"learning_rate": 1e-3, "lr_scheduler_type": "cosine", "lr_scheduler_kwargs": {"num_cycles": 1.5}, "max_steps": 300})
hf({"learning_rate": 1e-3, "warmup_steps": 500, "max_steps": 100})


def hf_shares(arguments, epochs, updates_per_epoch):
    """Without the updates per epoch lengths are shares of the run."""
    rates, warmup = hf_rates(arguments, epochs * updates_per_epoch)
    steps = points(epochs * updates_per_epoch, [warmup])
    run = {"epochs": epochs, "updates_per_epoch": updates_per_epoch}
    line("hf-args", {**arguments, "num_train_epochs": epochs}, run, steps, [rates[step] for step in steps])


hf_shares({"learning_rate": 5e-5, "warmup_ratio": 0.1}, 3, 250)
hf_shares({"learning_rate": 5e-5, "warmup_ratio": 0.06, "lr_scheduler_type": "cosine"}, 5, 500)
hf_shares({"learning_rate": 5e-5, "warmup_steps": 77, "lr_scheduler_type": "linear"}, 2, 333)
hf_shares({"learning_rate": 5e-5, "warmup_steps": 100, "lr_scheduler_type": "inverse_sqrt"}, 2, 333)
hf_shares({"learning_rate": 5e-5, "warmup_ratio": 0.02, "lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.2}}, 4, 100)
hf_shares({"learning_rate": 5e-5, "warmup_ratio": 0.1, "lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 0.5}}, 4, 100)

# --- timm -----------------------------------------------------------------------------------------------------------

from timm.scheduler import create_scheduler_v2  # noqa: E402
from timm.scheduler.scheduler_factory import scheduler_kwargs  # noqa: E402

# What train.py sets where its command line says nothing.
TRAIN = dict(
    sched="cosine", sched_on_updates=False, lr=None, lr_base=0.1, lr_base_size=256, lr_base_scale="", lr_noise=None,
    lr_cycle_mul=1.0, lr_cycle_decay=0.5, lr_cycle_limit=1, lr_k_decay=1.0, warmup_lr=1e-5, min_lr=0, epochs=300,
    decay_milestones=[90, 180, 270], decay_epochs=90, warmup_epochs=5, warmup_prefix=False, cooldown_epochs=0,
    patience_epochs=10, decay_rate=0.1, seed=42, eval_metric="top1", batch_size=128, grad_accum_steps=1, opt="sgd",
)


def timm_rates(given, updates_per_epoch):
    args = argparse.Namespace(**{**TRAIN, **given})
    if not args.lr:
        ratio = args.batch_size * args.grad_accum_steps / args.lr_base_size
        by_root = args.lr_base_scale == "sqrt" or (
            not args.lr_base_scale and any(name in args.opt for name in ("ada", "lamb"))
        )
        args.lr = args.lr_base * (ratio**0.5 if by_root else ratio)
    made = optimizer(args.lr)
    scheduler, epochs = create_scheduler_v2(made, **scheduler_kwargs(args), updates_per_epoch=updates_per_epoch)
    rates, done = [], 0
    for epoch in range(epochs):
        for _ in range(updates_per_epoch):
            rates.append(made.param_groups[0]["lr"])
            done += 1
            if scheduler is not None:
                scheduler.step_update(done)
        if scheduler is not None:
            scheduler.step(epoch + 1)
    return rates, epochs


def as_command(given):
    words = []
    for key, value in given.items():
        option = "--" + key.replace("_", "-")
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [option, *map(str, value)]
        else:
            words += [option, str(value)]
    return " ".join(words)


def timm_case(given, updates_per_epoch, known=True, text=None, at_epochs=False, wanted=()):
    rates, epochs = timm_rates(given, updates_per_epoch)
    warmup = given.get("warmup_epochs", 5)
    updates = epochs * updates_per_epoch
    if at_epochs:
        numbers = sorted({0, 1, 2, warmup - 1, warmup, warmup + 1, *wanted, *range(0, epochs, max(1, epochs // 20))})
        steps = [number * updates_per_epoch for number in numbers if 0 <= number < epochs]
    else:
        near = [warmup * updates_per_epoch, *[epoch * updates_per_epoch for epoch in wanted]]
        steps = points(updates, near)
    run = {"epochs": epochs, "updates_per_epoch": updates_per_epoch}
    options = {"steps_per_epoch": updates_per_epoch} if known else {}
    text = text or as_command(given)
    line("timm-args", text, run, steps, [rates[step] for step in steps], **options)


vit = {"sched": "cosine", "epochs": 300, "warmup_epochs": 5, "warmup_lr": 1e-6, "lr": 1e-3, "min_lr": 1e-5, "weight_decay": 0.05, "layer_decay": 0.75, "clip_grad": 1.0, "model_ema": True, "model_ema_decay": 0.9998, "amp": True, "opt": "adamw"}
timm_case(vit, 7)
timm_case(vit, 7, known=False, at_epochs=True)
timm_case({**vit, "sched_on_updates": True}, 7)
timm_case({**vit, "sched_on_updates": True}, 7, known=False)
timm_case({"lr": 0.4, "epochs": 90, "warmup_prefix": True}, 5)
timm_case({"lr": 0.4, "epochs": 90, "warmup_prefix": True}, 5, known=False, at_epochs=True)
timm_case({"lr": 0.1, "epochs": 20, "cooldown_epochs": 10, "warmup_epochs": 3}, 11)
timm_case({"lr": 0.5, "epochs": 20, "warmup_epochs": 0, "lr_cycle_limit": 3, "lr_cycle_decay": 0.5, "min_lr": 1e-4}, 4)
timm_case({"lr": 0.5, "epochs": 10, "warmup_epochs": 2, "lr_cycle_limit": 3, "lr_cycle_mul": 2.0}, 4)
timm_case({"lr": 0.1, "sched": "step", "epochs": 100, "decay_epochs": 30, "decay_rate": 0.1, "warmup_epochs": 0}, 6, known=False, wanted=[30, 60, 90])
timm_case({"lr": 0.048, "sched": "step", "epochs": 60, "decay_epochs": 2.4, "decay_rate": 0.97, "warmup_lr": 1e-6, "opt": "rmsproptf"}, 6, wanted=[5, 7, 8])
timm_case({"lr": 0.1, "sched": "multistep", "epochs": 100, "decay_milestones": [30, 60, 90], "warmup_epochs": 5}, 6, known=False, at_epochs=True, wanted=[28, 29, 30, 59])
timm_case({"lr": 0.1, "sched": "poly", "epochs": 40, "decay_rate": 0.9, "warmup_epochs": 4}, 6)
timm_case({"lr": 0.1, "sched": "poly", "epochs": 40, "decay_rate": 2.0, "warmup_epochs": 4}, 6, known=False, at_epochs=True)
timm_case({"lr": 0.1, "sched": "tanh", "epochs": 40, "warmup_epochs": 4, "min_lr": 1e-4}, 6)
timm_case({"lr": 0.1, "sched": "tanh", "epochs": 40, "warmup_epochs": 4, "min_lr": 1e-4}, 6, known=False, at_epochs=True)
timm_case({"lr": 0.1, "sched": "wsd", "epochs": 50, "decay_epochs": 0.2, "warmup_epochs": 5}, 6)
timm_case({"lr": 0.1, "sched": "rsqrt", "epochs": 50, "decay_epochs": 10, "warmup_epochs": 5, "min_lr": 1e-5}, 6)
timm_case({"lr": 0.1, "sched": "constant", "epochs": 20, "warmup_epochs": 5}, 6)
timm_case({"lr": 0.1, "sched": "none", "epochs": 20, "warmup_epochs": 5}, 6)
timm_case({"lr_base": 0.1, "batch_size": 64, "grad_accum_steps": 2, "opt": "sgd", "epochs": 30}, 9)
timm_case({"lr_base": 1e-3, "batch_size": 64, "opt": "adamw", "epochs": 30, "sched_on_updates": True, "warmup_epochs": 3}, 9)
timm_case({"lr": 1e-3, "epochs": 12, "lr_k_decay": 1.5, "warmup_epochs": 2}, 9)
timm_case({"lr": 0.1, "sched": "step", "epochs": 10, "decay_epochs": 90, "warmup_epochs": 2}, 9)
timm_case({"lr": 0.1, "sched": "multistep", "epochs": 10, "decay_milestones": [4, 8, 12], "warmup_epochs": 0}, 9, known=False, wanted=[3, 7])
timm_case({"lr": 0.1, "epochs": 10, "warmup_epochs": 20}, 9)
deit = {"lr": 5e-4, "sched": "cosine", "epochs": 30, "warmup_epochs": 5, "warmup_lr": 1e-6, "min_lr": 1e-5, "cooldown_epochs": 10}
timm_case(deit, 8, text="aa: rand-m9-mstd0.5-inc1\nlr: 5e-4\nsched: cosine\nepochs: 30\nwarmup_epochs: 5\nwarmup_lr: 1.0e-06\nmin_lr: 1.0e-05\ncooldown_epochs: 10\nlr_noise: null\nlr_cycle_limit: 1\nmean: &id001\n- 0.485\nstd: *id001\nlr_cycle_decay: 0.5\nopt: adamw\nweight_decay: 0.05\n")

# --- DeepSpeed ------------------------------------------------------------------------------------------------------

stand_in("deepspeed")
stand_in("deepspeed.utils", logger=logging.getLogger("deepspeed"))
deepspeed = load("lr_schedules", paths.deepspeed)


def ds(kind, params, updates, wanted=(), groups=(), **rest):
    rate = rest.get("optimizer", {}).get("params", {}).get("lr", 1e-3)
    made = optimizer(*[rate] * max(1, len(groups)))
    scheduler = getattr(deepspeed, kind)(made, **params)
    rates = []
    for _ in range(updates):
        rates.append([group["lr"] for group in made.param_groups])
        scheduler.step()
    steps = points(updates, wanted)
    config = {"scheduler": {"type": kind, "params": params}, **rest}
    options = {"groups": groups} if groups else {}
    of_groups = [[rates[step][i] for step in steps] for i in range(len(groups))]
    line("deepspeed", config, {"updates": updates}, steps, [rates[step][0] for step in steps], of_groups=of_groups, **options)


adamw = {"type": "AdamW", "params": {"lr": 3e-5, "betas": [0.8, 0.999], "eps": 1e-8, "weight_decay": 3e-7}}
ds("WarmupLR", {"warmup_min_lr": 0, "warmup_max_lr": 3e-5, "warmup_num_steps": 500}, 1500, [500], optimizer=adamw, gradient_clipping=1.0, train_micro_batch_size_per_gpu=8)
ds("WarmupLR", {"warmup_min_lr": 1e-6, "warmup_max_lr": 1e-3, "warmup_num_steps": 100, "warmup_type": "linear"}, 300, [100])
ds("WarmupLR", {"warmup_num_steps": 20}, 60, [20], optimizer=adamw)
ds("WarmupDecayLR", {"total_num_steps": 1000, "warmup_min_lr": 0, "warmup_max_lr": 1e-3, "warmup_num_steps": 100, "warmup_type": "linear"}, 1000, [100])
ds("WarmupDecayLR", {"total_num_steps": 1000, "warmup_min_lr": 1e-5, "warmup_max_lr": 1e-3, "warmup_num_steps": 100}, 1000, [100], fp16={"enabled": True, "initial_scale_power": 12})
ds("WarmupDecayLR", {"total_num_steps": 50, "warmup_num_steps": 1, "warmup_type": "linear"}, 50, [2])
ds("WarmupCosineLR", {"total_num_steps": 1000, "warmup_num_steps": 100, "warmup_type": "linear", "cos_min_ratio": 0.1}, 1000, [100], optimizer=adamw)
ds("WarmupCosineLR", {"total_num_steps": 400, "warmup_num_steps": 50, "warmup_min_ratio": 0.01}, 400, [50], optimizer=adamw)
ds("WarmupCosineLR", {"total_num_steps": 400, "warmup_num_steps": 50, "warmup_min_ratio": 0.05, "warmup_type": "linear"}, 400, [50], optimizer=adamw)
ds("OneCycle", {"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3, "cycle_first_step_size": 100, "decay_step_size": 50, "decay_lr_rate": 0.5, "cycle_momentum": False}, 400, [100, 200])
ds("OneCycle", {"cycle_min_lr": 0.0, "cycle_max_lr": 1e-3, "cycle_first_step_size": 100, "cycle_second_step_size": 200}, 400, [100, 300])
ds("OneCycle", {"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3, "cycle_first_step_size": 100, "cycle_first_stair_count": 8, "decay_step_size": 50, "decay_lr_rate": 0.5, "cycle_momentum": False}, 400, [13, 100, 200])
ds("OneCycle", {"cycle_min_lr": 0.0, "cycle_max_lr": 1e-3, "cycle_first_step_size": 100, "cycle_second_step_size": 70, "cycle_first_stair_count": 3, "cycle_second_stair_count": 4, "cycle_momentum": False}, 200, [34, 67, 100, 101, 118, 170])
ds("OneCycle", {"cycle_min_lr": 1e-5, "cycle_max_lr": 1e-3, "cycle_first_step_size": 50, "cycle_second_step_size": 50, "cycle_second_stair_count": 5, "cycle_momentum": False}, 120, [50, 51, 61, 100])
ds("LRRangeTest", {"lr_range_test_min_lr": 1e-4, "lr_range_test_step_size": 20, "lr_range_test_step_rate": 5}, 300)
two = [["body", "^body"], ["head", "^head"]]
ds("WarmupLR", {"warmup_min_lr": [0.0, 1e-6], "warmup_max_lr": [1e-4, 1e-3], "warmup_num_steps": 50}, 120, [50], groups=two)
ds("WarmupDecayLR", {"total_num_steps": 200, "warmup_max_lr": [1e-4, 1e-3], "warmup_num_steps": 50, "warmup_type": "linear"}, 200, [50], groups=two)
ds("LRRangeTest", {"lr_range_test_min_lr": 1e-4, "lr_range_test_step_size": 20, "lr_range_test_staircase": True}, 300, [20, 40])

# --- Composer -------------------------------------------------------------------------------------------------------

folder = os.path.join(paths.composer, "composer")
stand_in("composer")
stand_in("composer.utils")
enum = load("composer.utils.string_enum", os.path.join(folder, "utils", "string_enum.py"))
sys.modules["composer.utils"].StringEnum = enum.StringEnum
stand_in("composer.core")
load("composer.core.serializable", os.path.join(folder, "core", "serializable.py"))
time = load("composer.core.time", os.path.join(folder, "core", "time.py"))
stand_in("composer.optim")
sys.modules["composer.core"].__dict__.update(State=object, Time=time.Time, TimeUnit=time.TimeUnit)
stand_in("composer.core.types", PyTorchScheduler=object)
composer = load("composer.optim.scheduler", os.path.join(folder, "optim", "scheduler.py"))
sys.modules["composer.optim"].__dict__.update(ComposerScheduler=composer.ComposerScheduler, LinearScheduler=composer.LinearScheduler)


stand_in("llmfoundry")
stand_in("llmfoundry.utils")
stand_in("llmfoundry.utils.warnings", experimental_class=lambda name: lambda kind: kind)
foundry = load("llmfoundry_scheduler", paths.foundry)
FOUNDRY = {"inv_sqrt_with_warmup": foundry.InverseSquareRootWithWarmupScheduler}


def composer_rates(schedulers, rate, duration, updates_per_epoch, ratio, samples=None, tokens=None):
    """`samples` of each update, `tokens` of each sample."""
    duration = time.Time.from_timestring(duration)
    duration = time.Time(int(duration.value * ratio), duration.unit)
    updates = {
        time.TimeUnit.BATCH: lambda: duration.value,
        time.TimeUnit.EPOCH: lambda: duration.value * updates_per_epoch,
        time.TimeUnit.SAMPLE: lambda: math.ceil(duration.value / samples),
        time.TimeUnit.TOKEN: lambda: math.ceil(duration.value / (samples * tokens)),
    }[duration.unit]()
    made = [(FOUNDRY.get(name) or getattr(composer, name))(**arguments) for name, arguments in schedulers]
    rates = []
    for step in range(updates):
        seen = {"sample": step * samples, "token": step * samples * (tokens or 0)} if samples else {}
        if updates_per_epoch:
            seen |= {"epoch": step // updates_per_epoch, "batch_in_epoch": step % updates_per_epoch}
        stamp = time.Timestamp(batch=step, **seen)
        state = types.SimpleNamespace(timestamp=stamp, max_duration=duration, dataloader_len=updates_per_epoch)
        rates.append(rate * math.prod(scheduler(state, ratio) for scheduler in made))
    return rates


def mosaic(scheduler, rate, duration, updates_per_epoch, known=True, ratio=1.0, wanted=(), text=None, rest=None):
    schedulers = scheduler if isinstance(scheduler, list) else [scheduler]
    rates = composer_rates(schedulers, rate, duration, updates_per_epoch, ratio)
    steps = points(len(rates), wanted)
    config = {
        "max_duration": duration,
        "schedulers": [{"name": name, **arguments} for name, arguments in schedulers],
        "optimizer": {"name": "decoupled_adamw", "lr": rate, "betas": [0.9, 0.95], "weight_decay": 1e-5},
        **(rest or {}),
    }
    if ratio != 1.0:
        config["scale_schedule_ratio"] = ratio
    run = {"epochs": len(rates) // updates_per_epoch, "updates_per_epoch": updates_per_epoch}
    if len(rates) % updates_per_epoch:
        run = {"updates": len(rates)}
    options = {"steps_per_epoch": updates_per_epoch} if known else {}
    line("composer", text or config, run, steps, [rates[step] for step in steps], **options)


mosaic(("CosineAnnealingWithWarmupScheduler", {"t_warmup": "100ba", "alpha_f": 0.1}), 6e-4, "4800ba", 1000, wanted=[100], rest={"algorithms": {"gradient_clipping": {"clipping_type": "norm", "clipping_threshold": 1.0}}, "precision": "amp_bf16"})
mosaic(("CosineAnnealingWithWarmupScheduler", {"t_warmup": "100ba", "alpha_f": 0.1}), 6e-4, "4ep", 250, known=False, wanted=[100],
       text="max_duration: 4ep\nscheduler:\n  name: cosine_with_warmup\n  t_warmup: 100ba\n  alpha_f: 0.1\noptimizer:\n  name: decoupled_adamw\n  lr: 6.0e-4\n  betas: [0.9, 0.95]\n  eps: 1.0e-08\nalgorithms:\n  gradient_clipping:\n    clipping_type: norm\n    clipping_threshold: 1.0\nprecision: amp_bf16\nglobal_train_batch_size: 256\nseed: 17\n")
mosaic(("CosineAnnealingWithWarmupScheduler", {"t_warmup": "0.06dur"}), 1e-3, "7ep", 33, wanted=[13])
mosaic(("CosineAnnealingWithWarmupScheduler", {"t_warmup": "0.1dur"}), 1e-3, "5ep", 100, known=False, wanted=[50])
mosaic(("LinearWithWarmupScheduler", {"t_warmup": "0.06dur", "alpha_f": 0.02}), 5e-4, "1000ba", 400, wanted=[60])
mosaic(("LinearWithWarmupScheduler", {"t_warmup": "2ep", "t_max": "10ep"}), 5e-4, "10ep", 20, known=False, wanted=[40])
mosaic(("LinearWithWarmupScheduler", {"t_warmup": "10ba", "alpha_i": 0.8, "alpha_f": 0.1}), 5e-4, "6ep", 20, ratio=0.5, wanted=[10])
mosaic(("CosineAnnealingScheduler", {"alpha_f": 0.05}), 1e-3, "10ep", 20, known=False)
mosaic(("CosineAnnealingScheduler", {"t_max": "0.5dur", "alpha_f": 0.05}), 1e-3, "9ep", 7, wanted=[31])
mosaic(("StepScheduler", {"step_size": "30ep"}), 0.1, "90ep", 5, known=False, wanted=[150, 300])
mosaic(("MultiStepScheduler", {"milestones": ["3ep", "30ep"]}), 0.1, "9ep", 5, known=False, wanted=[15])
mosaic(("StepScheduler", {"step_size": "300ba"}), 0.1, "9ep", 5)
mosaic(("MultiStepScheduler", {"milestones": ["30ep", "60ep"], "gamma": 0.2}), 0.1, "90ep", 5, known=False, wanted=[150, 300])
mosaic(("MultiStepWithWarmupScheduler", {"t_warmup": "8ep", "milestones": ["30ep", "60ep"]}), 0.1, "90ep", 5, known=False, wanted=[40, 150, 300])
mosaic(("ExponentialScheduler", {"gamma": 0.96}), 0.1, "20ep", 12, known=False)
mosaic(("ConstantScheduler", {"alpha": 0.5, "t_max": "100ba"}), 0.1, "20ep", 12, wanted=[100])
mosaic(("ConstantWithWarmupScheduler", {"t_warmup": "0.25dur"}), 0.1, "200ba", 50, wanted=[50])
mosaic(("CosineAnnealingWarmRestartsScheduler", {"t_0": "10ep", "t_mult": 2.0, "alpha_f": 0.01}), 0.1, "70ep", 4, known=False, wanted=[40, 120])
mosaic(("PolynomialScheduler", {"power": 2.0, "alpha_f": 0.1}), 0.1, "20ep", 12)
mosaic(("PolynomialWithWarmupScheduler", {"t_warmup": "24ba", "power": 3.0}), 0.1, "20ep", 12, known=False, wanted=[24])

def counted(scheduler, rate, duration, samples, tokens=None, updates_per_epoch=None, ratio=1.0, wanted=(), tolerance=None, text=None):
    """A run whose updates have `samples` samples of `tokens` tokens."""
    schedulers = scheduler if isinstance(scheduler, list) else [scheduler]
    rates = composer_rates(schedulers, rate, duration, updates_per_epoch, ratio, samples, tokens)
    config = {
        "max_duration": duration,
        "schedulers": [{"name": name, **arguments} for name, arguments in schedulers],
        "optimizer": {"name": "decoupled_adamw", "lr": rate},
        "global_train_batch_size": samples,
    }
    if tokens:
        config["max_seq_len"] = tokens
    if ratio != 1.0:
        config["scale_schedule_ratio"] = ratio
    number, unit = time.Time.from_timestring(duration).value, duration.lstrip("0123456789_.eE+")
    number = int(number * ratio)
    run = {
        "sp": lambda: {"samples": number, "batch_size": samples},
        "tok": lambda: {"tokens": number, "batch_size": samples},
        "ba": lambda: {"samples": number * samples, "batch_size": samples},
        "ep": lambda: {"items": samples * updates_per_epoch, "batch_size": samples, "epochs": number},
    }["ep" if duration.endswith("ep") else unit]()
    if tokens:
        run["tokens_per_sample"] = tokens
    steps = points(len(rates), wanted)
    line("composer", text or config, run, steps, [rates[step] for step in steps], tolerance=tolerance)


counted(("CosineAnnealingWithWarmupScheduler", {"t_warmup": "50000sp", "alpha_f": 0.1}), 6e-4, "1_000_000sp", 500, wanted=[100])
counted(("CosineAnnealingWithWarmupScheduler", {"t_warmup": "2_097_152_000tok", "alpha_f": 0.1}), 3e-4, "20_971_520_000tok", 1024, 2048, wanted=[1000],
        text="variables:\n  max_seq_len: 2048\nmax_seq_len: ${variables.max_seq_len}\nglobal_train_batch_size: 1024\nmax_duration: 20_971_520_000tok\nscheduler:\n  name: cosine_with_warmup\n  t_warmup: 2_097_152_000tok\n  alpha_f: 0.1\noptimizer:\n  name: decoupled_adamw\n  lr: 3.0e-4\n")
counted(("LinearWithWarmupScheduler", {"t_warmup": "0.1dur", "alpha_f": 0.02}), 5e-4, "4_096_000tok", 8, 512, wanted=[100])
counted(("LinearWithWarmupScheduler", {"t_warmup": "6400sp", "t_max": "64000sp", "alpha_i": 0.8}), 5e-4, "64000sp", 64, wanted=[100])
counted(("ConstantWithWarmupScheduler", {"t_warmup": "6400sp", "t_max": "32000sp"}), 5e-4, "500ba", 64, wanted=[100])
counted(("PolynomialWithWarmupScheduler", {"t_warmup": "6400sp", "alpha_f": 0.1}), 5e-4, "64000sp", 64, ratio=0.5, wanted=[100])
counted(("CosineAnnealingScheduler", {"t_max": "0.5dur"}), 1e-3, "40960tok", 4, 32, wanted=[160])
counted(("StepScheduler", {"step_size": "6400sp"}), 0.1, "10ep", 64, updates_per_epoch=40, wanted=[100, 200])
counted(("StepScheduler", {"step_size": "5000sp"}), 0.1, "20000sp", 64, wanted=[79, 157, 235])
counted(("MultiStepScheduler", {"milestones": ["12800sp", "51_200_000tok"], "gamma": 0.2}), 0.1, "2000ba", 64, 1000, wanted=[200, 800])
counted(("MultiStepScheduler", {"milestones": ["10000sp", "20000sp"]}), 0.1, "30000sp", 64, wanted=[157, 313])
counted(("MultiStepWithWarmupScheduler", {"t_warmup": "6400sp", "milestones": ["3200sp", "400ba", "0.75dur"]}), 0.1, "64000sp", 64, wanted=[100, 400, 750])
counted(("ExponentialScheduler", {"gamma": 0.5, "decay_period": "6400sp"}), 0.1, "64000sp", 64)
counted(("CosineAnnealingWarmRestartsScheduler", {"t_0": "6400sp", "t_mult": 2, "alpha_f": 0.01}), 0.1, "44800sp", 64, wanted=[100, 300])
counted(("ConstantScheduler", {"alpha": 0.5, "t_max": "10000sp"}), 0.1, "30000sp", 64, wanted=[157])
counted([("LinearScheduler", {"alpha_i": 0.1, "alpha_f": 1.0, "t_max": "50ba"}), ("StepScheduler", {"step_size": "6_553_600tok"})], 0.1, "26_214_400tok", 64, 1024, wanted=[50, 100, 200])
# Lengths that end within an update are rounded here.
counted(("CosineAnnealingWithWarmupScheduler", {"t_warmup": "100000sp", "alpha_f": 0.1}), 6e-4, "1_000_000sp", 384, wanted=[260], tolerance=3e-3)
for alphas in [{}, {"alpha_f_decay": 0.1, "alpha_f_cooldown": 0.05}, {"alpha_f_decay": 1.0}]:
    counted(("inv_sqrt_with_warmup", {"t_warmup": "409_600tok", "t_scale": "819_200tok", "t_cooldown": "1_024_000tok", **alphas}), 1e-3, "10_240_000tok", 8, 512, wanted=[100, 2250])
mosaic(("CosineAnnealingWarmRestartsScheduler", {"t_0": "10ba", "t_mult": 1.5, "alpha_f": 0.01}), 0.1, "200ba", 1000, wanted=[10, 25, 47])
mosaic(("inv_sqrt_with_warmup", {"t_warmup": "100ba", "t_scale": "50ba", "t_cooldown": "0ba"}), 1e-3, "1000ba", 1000, wanted=[100])
mosaic(("inv_sqrt_with_warmup", {"t_warmup": "1ep", "t_scale": "2ep", "t_cooldown": "3ep"}), 1e-3, "12ep", 30, known=False, wanted=[30, 270])
mosaic(("inv_sqrt_with_warmup", {"t_warmup": "10ba", "t_scale": "50ba", "t_cooldown": "100ba"}), 1e-3, "105ba", 1000, wanted=[10])
mosaic([("LinearScheduler", {"alpha_i": 0.1, "alpha_f": 1.0, "t_max": "50ba"}), ("StepScheduler", {"step_size": "5ep"})], 0.1, "20ep", 12, wanted=[50, 60])

# --- torch ----------------------------------------------------------------------------------------------------------

from torch.optim import lr_scheduler  # noqa: E402


def torch_rates(make, rates, updates, per=1, momentum=False):
    made = optimizer(*rates, momentum=momentum)
    scheduler = make(made)
    state = json.loads(json.dumps(scheduler.state_dict(), default=str))
    groups = [{key: value for key, value in group.items() if key != "params"} for group in made.param_groups]
    groups = json.loads(json.dumps(groups, default=str))
    seen = []
    for step in range(updates):
        seen.append([group["lr"] for group in made.param_groups])
        made.step()
        if (step + 1) % per == 0 and step + 1 < updates:
            scheduler.step()
    return seen, state, groups


def torch_case(text, make, rates, updates, per=1, known=True, wanted=(), state=None, momentum=False, at_epochs=False, **options):
    seen, saved, groups = torch_rates(make, rates, updates, per, momentum)
    steps = list(range(0, updates, per))[:40] if at_epochs else points(updates, wanted)
    run = {"epochs": updates // per, "updates_per_epoch": per} if per > 1 else {"updates": updates}
    if state == "bare":
        text = saved
    elif state == "groups":
        text = {"state_dict": saved, "param_groups": groups}
    if per > 1:
        options = {"unit": "ep", **({"steps_per_epoch": per} if known else {}), **options}
    options.setdefault("unit", "steps")
    expected = [seen[step][0] for step in steps]
    text = text if isinstance(text, str) else json.dumps(text)
    case = {"from": "torch", "text": text, "options": options, "run": run, "steps": steps, "rates": expected}
    if len(rates) > 1:
        case["groups"] = [[seen[step][i] for step in steps] for i in range(len(rates))]
    print(json.dumps(case))


torch_case("StepLR(optimizer, step_size=30, gamma=0.1)", lambda o: lr_scheduler.StepLR(o, 30), [0.1], 90 * 4, per=4, known=False, wanted=[120, 240], base_lr=0.1)
torch_case({"name": "MultiStepLR", "args": {"milestones": [30, 80]}, "base_lr": 0.1}, lambda o: lr_scheduler.MultiStepLR(o, [30, 80]), [0.1], 90 * 4, per=4, known=False, wanted=[120, 320])
torch_case("CosineAnnealingLR(optimizer, T_max=100, eta_min=1e-5)", lambda o: lr_scheduler.CosineAnnealingLR(o, 100, 1e-5), [0.1], 400, per=4, base_lr=0.1)
torch_case("CosineAnnealingLR(optimizer, T_max=100, eta_min=1e-5)", lambda o: lr_scheduler.CosineAnnealingLR(o, 100, 1e-5), [0.1], 400, per=4, known=False, at_epochs=True, base_lr=0.1)
torch_case({"name": "ExponentialLR", "args": {"gamma": 0.95}, "base_lr": 0.1}, lambda o: lr_scheduler.ExponentialLR(o, 0.95), [0.1], 120, per=4)
torch_case({"name": "CosineAnnealingWarmRestarts", "args": {"T_0": 10, "T_mult": 2}, "base_lr": 0.1}, lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10, 2), [0.1], 70 * 3, per=3, known=False, at_epochs=True)
warm_then_cosine = lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.LinearLR(o, 0.1, total_iters=5), lr_scheduler.CosineAnnealingLR(o, 95)], [5])  # noqa: E731
torch_case("SequentialLR(optimizer, schedulers=[LinearLR(optimizer, start_factor=0.1, total_iters=5), CosineAnnealingLR(optimizer, T_max=95)], milestones=[5])", warm_then_cosine, [0.1], 300, per=3, base_lr=0.1)
torch_case({"name": "OneCycleLR", "args": {"max_lr": 0.1, "epochs": 5, "steps_per_epoch": 20}}, lambda o: lr_scheduler.OneCycleLR(o, 0.1, epochs=5, steps_per_epoch=20), [0.1], 100, momentum=True)
torch_case({"name": "CyclicLR", "args": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 20, "cycle_momentum": False}}, lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 20, cycle_momentum=False), [0.1], 100, wanted=[20, 40])
three = [["stem", "^stem"], ["body", "^body"], ["head", "^head"]]
torch_case("OneCycleLR(optimizer, max_lr=[0.01, 0.03, 0.1], total_steps=100)", lambda o: lr_scheduler.OneCycleLR(o, [0.01, 0.03, 0.1], total_steps=100), [0.1, 0.1, 0.1], 100, groups=three, momentum=True)
torch_case({"name": "StepLR", "args": {"step_size": 30}, "param_groups": [{"name": "body", "lr": 0.01}, {"name": "head", "lr": 0.1, "weight_decay": 0.05}]}, lambda o: lr_scheduler.StepLR(o, 30), [0.01, 0.1], 90, wanted=[30, 60])
torch_case({"name": "CosineAnnealingLR", "args": {"T_max": 50}, "base_lr": [0.01, 0.1]}, lambda o: lr_scheduler.CosineAnnealingLR(o, 50), [0.01, 0.1], 50, groups=three[1:])
for make, updates, momentum in [
    (lambda o: lr_scheduler.StepLR(o, 30, 0.5), 90, False),
    (lambda o: lr_scheduler.MultiStepLR(o, [30, 30, 60], 0.5), 90, False),
    (lambda o: lr_scheduler.CosineAnnealingLR(o, 60, 1e-3), 60, False),
    (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 10, 2, 1e-3), 70, False),
    (lambda o: lr_scheduler.LinearLR(o, 0.25, 1.0, 20), 60, False),
    (lambda o: lr_scheduler.PolynomialLR(o, 50, 2.0), 60, False),
    (lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 20, 30, mode="triangular2"), 120, True),
    (warm_then_cosine, 100, False),
]:
    torch_case(None, make, [0.1], updates, state="bare", momentum=momentum)
torch_case(None, lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=200, pct_start=0.25, anneal_strategy="linear"), [0.1], 200, state="groups", momentum=True)

# --- keras ----------------------------------------------------------------------------------------------------------

import keras  # noqa: E402

keras.config.set_floatx("float64")


def keras_case(schedule, updates, whole=None):
    steps = points(updates)
    rates = [float(schedule(step)) for step in steps]
    text = keras.optimizers.serialize(whole(schedule)) if whole else keras.optimizers.schedules.serialize(schedule)
    # Its cosines have a π in f32, whatever the type of floats.
    tolerance = 1e-6 if "Cosine" in type(schedule).__name__ else None
    line("keras", json.loads(json.dumps(text)), {"updates": updates}, steps, rates, tolerance=tolerance)


schedules = keras.optimizers.schedules
keras_case(schedules.CosineDecay(0.1, 900, 0.01), 1000)
keras_case(schedules.CosineDecay(0.0, 900, 0.0, warmup_target=1e-3, warmup_steps=100), 1000)
keras_case(schedules.ExponentialDecay(0.1, 100, 0.9), 1000)
keras_case(schedules.ExponentialDecay(0.1, 100, 0.9, staircase=True), 1000)
keras_case(schedules.PiecewiseConstantDecay([100, 200], [1.0, 0.5, 0.1]), 300)
keras_case(schedules.PolynomialDecay(0.1, 500, 1e-3, 2.0), 600)
keras_case(schedules.InverseTimeDecay(0.1, 100, 0.5), 600)
keras_case(schedules.CosineDecayRestarts(0.1, 100, 2.0, 0.8), 700)
keras_case(schedules.CosineDecay(0.1, 500), 500, lambda s: keras.optimizers.AdamW(s, weight_decay=0.05, global_clipnorm=1.0, use_ema=True, ema_momentum=0.999))

# --- optax ----------------------------------------------------------------------------------------------------------

import optax  # noqa: E402


def optax_case(text, schedule, updates, wanted=()):
    steps = points(updates, wanted)
    line("optax", text, {"updates": updates}, steps, [float(schedule(step)) for step in steps])


optax_case("warmup_cosine_decay_schedule(init_value=0.0, peak_value=1e-3, warmup_steps=100, decay_steps=1000, end_value=1e-5)", optax.warmup_cosine_decay_schedule(0.0, 1e-3, 100, 1000, 1e-5), 1000, [100])
optax_case({"name": "cosine_decay_schedule", "kwargs": {"init_value": 0.1, "decay_steps": 500, "alpha": 0.1}}, optax.cosine_decay_schedule(0.1, 500, 0.1), 600)
optax_case("optax.piecewise_constant_schedule(0.1, {100: 0.1, 200: 0.5})", optax.piecewise_constant_schedule(0.1, {100: 0.1, 200: 0.5}), 300, [100, 200])
optax_case("optax.join_schedules([optax.linear_schedule(0.0, 0.1, 50), optax.exponential_decay(0.1, 100, 0.5)], [50])", optax.join_schedules([optax.linear_schedule(0.0, 0.1, 50), optax.exponential_decay(0.1, 100, 0.5)], [50]), 400, [50])
optax_case("polynomial_schedule(0.1, 0.001, 2, 300)", optax.polynomial_schedule(0.1, 0.001, 2, 300), 400)

# --- fastai ---------------------------------------------------------------------------------------------------------

from fastai.callback.schedule import SchedCos, combine_scheds, combined_cos  # noqa: E402


def fastai_case(text, schedules, updates_per_epoch, known=True, wanted=()):
    """`schedules`: a curve over each run of epochs, as in fit."""
    rates = []
    for epochs, schedule in schedules:
        updates = epochs * updates_per_epoch
        rates += [float(schedule(step / updates)) for step in range(updates)]
    steps = points(len(rates), wanted)
    run = {"epochs": len(rates) // updates_per_epoch, "updates_per_epoch": updates_per_epoch}
    # fastai computes the place within a phase in f32.
    tolerance = 1e-6 if known else 1e-5
    options = {"steps_per_epoch": updates_per_epoch} if known else {}
    line("fastai", text, run, steps, [rates[step] for step in steps], tolerance=tolerance, **options)


one = combined_cos(0.25, 1e-3 / 25, 1e-3, 1e-3 / 1e5)
fastai_case("learn.fit_one_cycle(5, 1e-3)", [(5, one)], 40)
fastai_case("learn.fit_one_cycle(5, lr_max=1e-3, wd=0.1)", [(5, one)], 40, known=False)
fastai_case("fit_one_cycle(3, 2e-2, div=10, div_final=1e3, pct_start=0.4)", [(3, combined_cos(0.4, 2e-3, 2e-2, 2e-5))], 50)
flat = combined_cos(0.75, 4e-3, 4e-3, 4e-3 / 1e5)
fastai_case("learn.fit_flat_cos(4, 4e-3)", [(4, flat)], 50)
fastai_case("learn.fit_flat_cos(4, 4e-3)", [(4, flat)], 50, known=False)
tune = [(1, combined_cos(0.99, 2e-3 / 25, 2e-3, 2e-3 / 1e5)), (4, combined_cos(0.3, 1e-3 / 5, 1e-3, 1e-3 / 1e5))]
fastai_case("learn.fine_tune(4)", tune, 100)
fastai_case({"name": "fine_tune", "args": {"epochs": 4, "base_lr": 2e-3}}, tune, 100, known=False)
# Shares that f32 holds exactly: at others its first update of a cycle may be the last one of the cycle before.
fastai_case("learn.fit_sgdr(2, 1, lr_max=0.01, cycle_mult=3)", [(4, combine_scheds([0.25, 0.75], [SchedCos(0.01, 0)] * 2))], 20, known=False, wanted=[20])
