"""Times torch's updates beside `cargo bench --bench fused`: one tensor of several sizes, and 12,000 of 8 x 8.

    python experiments/peers/fused.py

Needs torch. Prints microseconds an update, the median of many, on all cores: single, foreach, fused.
"""

import statistics
import time

import torch


def timed(parameters, make):
    optimizer = make(parameters)
    numbers = sum(parameter.numel() for parameter in parameters)
    times = []
    for _ in range(max(15, min(1_000, 10_000_000 // numbers))):
        start = time.perf_counter()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def parameters(count, *shape):
    made = [torch.nn.Parameter(torch.ones(shape)) for _ in range(count)]
    for parameter in made:
        parameter.grad = torch.ones(shape)
    return made


OPTIMIZERS = {
    "AdamW": lambda kind: lambda of: torch.optim.AdamW(of, lr=1e-3, weight_decay=0.1, **kind),
    "SGD, momentum": lambda kind: lambda of: torch.optim.SGD(of, lr=1e-3, momentum=0.9, **kind),
}
KINDS = [{"foreach": False}, {"foreach": True}, {"fused": True}]

print(f"torch {torch.__version__}, {torch.get_num_threads()} threads: single, foreach, fused, in microseconds")
for name, optimizer in OPTIMIZERS.items():
    for count, shape in [*((1, (n,)) for n in (10**3, 10**4, 10**5, 10**6, 10**7)), (12_000, (8, 8))]:
        times = [timed(parameters(count, *shape), optimizer(kind)) for kind in KINDS]
        size = "x".join(map(str, shape))
        print(f"{name:14} {count:6} x {size:9}", *(f"{time:12.1f}" for time in times))
