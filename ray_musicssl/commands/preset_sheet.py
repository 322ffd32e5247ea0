"""One preset on one sheet: what it changes, what the paper measured, what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from ray_musicssl.audio.frames import SAMPLE_RATE
from ray_musicssl.config.cost import A100_TFLOP_PER_S, ASSUMED_MFU, Cost
from ray_musicssl.config.loading import differences, load_config, preset_base, preset_delta
from ray_musicssl.config.memory import ACTIVATION_FORMULA, memory_of
from ray_musicssl.config.pretrain import PretrainConfig
from ray_musicssl.config.scale import load_scale
from ray_musicssl.reporting.paper import PRESET_ROWS, TRAINING_DAYS, metric_title, task_title

_PART_TITLES = {
    "stem": "stem (convolutions)",
    "projection": "projection",
    "positional_conv": "positional convolution",
    "transformer": "transformer layers",
    "norm_and_mask": "first norm, mask vector",
    "head": "head",
    "teacher": "teacher (not trained)",
    "linear": "transformer, matrices",
    "attention": "transformer, attention",
    "backbone": "encoder: all but head and teacher",
    "trained": "trained: encoder and head",
    "gradients": "gradients",
    "weights": "weights",
    "optimizer": "AdamW",
    "ordered_sum": "ordered sum",
    "activations": "activations, estimated",
    "total": "together",
}


def describe_preset(name: str, scale: str = "") -> dict[str, Any]:
    """All there is to say of a preset, as plain values.

    Args:
        name: the preset.
        scale: describe it in this size instead of its own; empty: its own.

    Raises:
        ConfigError: if there is no such preset or scale.
    """
    config = load_config(PretrainConfig, preset=name)
    base = preset_base(name)
    used = load_config(PretrainConfig, preset=name, scale=scale)
    return {
        "name": name,
        "about": preset_delta(name).get("about", ""),
        "base": base or None,
        "diff": _changes(load_config(PretrainConfig, preset=base), config, "base"),
        "scale": scale or None,
        "scale_diff": _changes(config, used, "preset"),
        "paper": _paper(name, base),
        **_cost(used),
        "changes": preset_delta(name),
        "settings": used.model_dump(mode="json"),
    }


def _changes(before: PretrainConfig, after: PretrainConfig, old_name: str) -> dict[str, dict[str, Any]]:
    return {field: {old_name: old, "value": new} for field, (old, new) in differences(before, after).items()}


def _paper(name: str, base: str) -> dict[str, Any] | None:
    row, base_row = PRESET_ROWS.get(name), PRESET_ROWS.get(base)
    if row is None:
        return None
    scores = [
        {
            "task": task,
            "metric": metric,
            "value": value,
            "base": base_row.values.get((task, metric)) if base_row else None,
        }
        for (task, metric), value in row.values.items()
    ]
    average = {"value": row.average, "base": base_row.average if base_row else None}
    return {"row": row.title, "table": row.table, "scores": scores, "average": average, "days": list(TRAINING_DAYS)}


def _cost(config: PretrainConfig) -> dict[str, Any]:
    cost, memory = Cost(config), memory_of(config)
    parameters = cost.parameters
    num_gpus = config.scaling.num_workers if config.scaling.use_gpu else 0
    return {
        "parameters": {**asdict(parameters), "backbone": parameters.backbone, "trained": parameters.trained},
        "compute": {
            "forward_gflop_per_audio_s": cost.gflop_per_s(),
            "training_gflop_per_audio_s": cost.work.training * SAMPLE_RATE / config.audio.crop_samples / 1e9,
            "audio_hours": cost.audio_hours,
            "total_exaflop": cost.total_exaflop,
            "assumed_mfu": ASSUMED_MFU,
            "assumed_peak_tflop_per_s": A100_TFLOP_PER_S,
            "gpu_hours": cost.gpu_hours(),
            "busy_share": cost.busy_share,
            "num_gpus": num_gpus,
            "days": cost.days() if num_gpus else None,
        },
        "memory": {
            **{f"{part}_bytes": size for part, size in asdict(memory).items()},
            "total_bytes": memory.total,
            "micro_batch_clips": config.audio.micro_batch_clips,
            "activation_formula": ACTIVATION_FORMULA,
        },
    }


def print_preset(sheet: Mapping[str, Any]) -> None:
    """Draw what `describe_preset` gives."""
    console = Console(highlight=False)
    console.print(f"[bold]{sheet['name']}[/]: {sheet['about']}", soft_wrap=True)
    base = sheet["base"] or "the defaults"
    _print_changes(console, f"what differs from {base}", base, sheet["diff"], "base")
    if sheet["scale"]:
        title = f"in the scale {sheet['scale']}: {load_scale(sheet['scale']).about}"
        _print_changes(console, title, "preset", sheet["scale_diff"], "preset")
    if sheet["paper"]:
        _print_paper(console, sheet["paper"], base)
    _print_cost(console, sheet)
    console.print("\n# all its settings")
    print(yaml.safe_dump(sheet["settings"], sort_keys=False))


def _print_changes(console: Console, title: str, old: str, changes: Mapping[str, Any], key: str) -> None:
    rows = [(field, str(change[key]), str(change["value"])) for field, change in changes.items()]
    _print_table(console, title, ("field", old, "here"), rows)


def _print_paper(console: Console, paper: Mapping[str, Any], base: str) -> None:
    titles = [(task_title(score["task"]), metric_title(score["metric"])) for score in paper["scores"]]
    titles.append(("average of nine tasks", ""))
    values = [*paper["scores"], paper["average"]]
    columns = ("value", "base") if paper["average"]["base"] is not None else ("value",)
    rows = [(*title, *(_points(value[c]) for c in columns)) for title, value in zip(titles, values, strict=True)]
    header = ("task", "metric", "score", base)[: 2 + len(columns)]
    _print_table(console, f'the paper: table {paper["table"]}, row "{paper["row"]}", points', header, rows)


def _print_cost(console: Console, sheet: Mapping[str, Any]) -> None:
    parameters, compute, memory = sheet["parameters"], sheet["compute"], sheet["memory"]
    rows = [(_PART_TITLES[part], f"{count:,}") for part, count in parameters.items() if count]
    _print_table(console, "parameters", ("part", "values"), rows)
    forward = compute["forward_gflop_per_audio_s"]
    rows = [(_PART_TITLES[part], f"{value:.2f}") for part, value in forward.items() if value]
    _print_table(console, "forward pass, GFLOP a second of audio", ("part", "GFLOP"), rows)
    for line in _compute_lines(compute, has_teacher=forward["teacher"] > 0, paper=sheet["paper"]):
        console.print(line, soft_wrap=True)
    sizes = {part.removesuffix("_bytes"): size for part, size in memory.items() if part.endswith("_bytes")}
    rows = [(_PART_TITLES[part], f"{size / 2**30:.2f}", f"{size:,}") for part, size in sizes.items() if size]
    _print_table(console, "memory of one worker", ("part", "GiB", "bytes"), rows)
    console.print(
        f"activations: of micro-batches of {memory['micro_batch_clips']} crop(s); kernels' workspace comes on top"
    )
    for term in memory["activation_formula"].split("; "):
        console.print(f"  {term}", soft_wrap=True)


def _compute_lines(compute: Mapping[str, Any], *, has_teacher: bool, paper: Mapping[str, Any] | None) -> list[str]:
    teacher = " + 1 forward pass of the teacher" if has_teacher else ""
    lines = [
        f"training: 3 x the forward pass{teacher} = {compute['training_gflop_per_audio_s']:.3g} GFLOP a second of audio",
        f"the whole run: {_rounded(compute['audio_hours'])} hours of crops, {compute['total_exaflop']:.3g} x 10^18 operations",
        f"assumed: {compute['assumed_mfu']:.0%} of an A100's {compute['assumed_peak_tflop_per_s']:g} TFLOP/s (bf16)",
        f"-> {_rounded(compute['gpu_hours'])} GPU-hours",
    ]
    if compute["days"] is None:
        lines.append("this configuration runs on CPU cores; the GPU-hours only compare it with others")
        return lines
    lines[-1] += (
        f", {compute['days']:.2g} days on {compute['num_gpus']} GPUs, which are busy {compute['busy_share']:.0%} of the time"
    )
    if paper:
        first, last = paper["days"]
        lines.append(f"the paper reports {first} to {last} days a model on 8 A100 of 40 GB")
    return lines


def _print_table(console: Console, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    # Wide enough for every row: in a pipe a table would be cut to 80 columns.
    console.print(f"\n[bold]# {title}[/]", soft_wrap=True)
    table = Table(box=None, header_style="bold")
    for index, column in enumerate(header):
        is_number = index > 0 and all(_is_number(row[index]) for row in rows)
        table.add_column(column, justify="right" if is_number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console.print(table, soft_wrap=True)


def _is_number(text: str) -> bool:
    return text in {"", "–"} or text.replace(",", "").replace(".", "", 1).replace("-", "", 1).isdigit()


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"


def _points(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
