"""What this machine offers against what the stages need, each shortfall with its remedy.

Conventions:
    `fail` means some stage will not run here, `warn` that it may be slow, limited or less private, `ok` the rest.
    Sizes are decimal (1 GB = 1e9 bytes). Nothing here imports ray or torch: the two are looked at from outside.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from ray_musicssl.doctor import cluster, machine, packages
from ray_musicssl.doctor.finding import Finding

__all__ = ["Finding", "diagnose", "findings_table"]

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def diagnose(directory: Path) -> list[Finding]:
    """Look at everything that a stage which writes under `directory` will need; takes under 10 s."""
    with ThreadPoolExecutor(max_workers=3) as pool:  # these wait for other programs or for a network
        slow = [pool.submit(check) for check in (packages.torch_pair, machine.gpu, cluster.cluster_address)]
        quick = [
            packages.python_version(),
            *packages.package_versions(),
            packages.torch_build(),
            packages.sound_formats(),
            machine.disk(directory),
            machine.writable(directory),
            machine.shared_memory(),
            machine.memory(),
            machine.cores(),
            machine.open_files(),
            cluster.disk_for_ray(),
            cluster.socket_path(),
            *cluster.ports(),
            cluster.token_file(),
        ]
        return quick + [finding for check in slow for finding in check.result()]


def findings_table(findings: Sequence[Finding]) -> Table:
    """The findings for a terminal, the worst last, where the eye is."""
    table = Table("check", "", "found", "needed", "remedy", box=None, pad_edge=False)
    for finding in sorted(findings, key=lambda finding: list(_COLOURS).index(finding.status)):
        status = f"[{_COLOURS[finding.status]}]{finding.status}[/]"
        table.add_row(
            escape(finding.check), status, escape(finding.found), escape(finding.needed), escape(finding.remedy)
        )
    return table
