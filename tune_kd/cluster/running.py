"""`--list-running`: whose searches run on a cluster, and how far they are."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tune_kd.cluster.board import Listed, listed
from tune_kd.cluster.connection import connected
from tune_kd.errors import InputError

ANSWER_SECONDS = 10.0


def show_running(address: str | None, console: Console) -> int:
    if address is None:
        raise InputError(
            "--list-running: say where, with --address ADDR on a machine of the cluster or --submit ADDR from "
            "elsewhere. A search without an --address has a Ray of its own."
        )
    with connected(address):
        found = listed(ANSWER_SECONDS)
    if not found:
        console.print("No search runs there.")
        return 0
    table = Table("name", "user", "study", "for", "now", "slots", header_style="bold", box=SIMPLE_HEAD)
    for each in found:
        table.add_row(*map(escape, _row(each)))
    console.print(table)
    return 0


def _row(each: Listed) -> tuple[str, ...]:
    notice = each.notice
    minutes, seconds = divmod(int(each.seconds), 60)
    now = "waiting for a slot" if not each.may and not notice.live else notice.progress or notice.phase
    return notice.name, notice.user, notice.study, f"{minutes} min {seconds:02} s", now, f"{notice.live} of {each.may}"
