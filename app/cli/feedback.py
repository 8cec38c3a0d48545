"""`qrerank feedback`: what was learned from judged rankings, also while the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.api.dialects.feedback import respond_standings
from app.cli.keys import records
from app.cli.options import AsJson, utf8
from app.cli.terminal import out, print_json
from app.ranking.hybrid import RANKERS, Weights
from app.ranking.parameters import Parameters
from app.settings import Settings
from app.telemetry.printable import escaped

if TYPE_CHECKING:
    from app.feedback.feedback import Feedback

feedback = typer.Typer(
    help="Show and forget what was learned. It is learned from judged rankings.", no_args_is_help=True
)


@feedback.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Show the learned weights of the rankers. They are listed by collection and tier of keys."""
    answer = respond_standings(asyncio.run(_open().standings()), _defaults())
    if as_json:
        print_json(answer)
        return
    table = Table("collection", "keys", "judged", "callers", *RANKERS, "defaults", show_edge=False)
    for row in answer["data"]:
        weights = (f"{row['weights'][name]:.2f}" for name in RANKERS)
        name = escaped(row["collection"] or "(sent documents)")
        numbers = (f"{row['judged']:.1f}", str(row["callers"]))
        table.add_row(name, row["key_group"], *numbers, *weights, f"{row['defaults']:.0%}")
    out.print(table)


@feedback.command()
def forget(
    collection: Annotated[
        str | None, typer.Option(parser=utf8, help="Only of this collection; '' for sent documents. Absent: all.")
    ] = None,
    key_group: Annotated[str | None, typer.Option(parser=utf8, help="Only of this tier of keys. Absent: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Forget what was learned. The service ranks as without feedback within a second."""
    callers = asyncio.run(_open().forget(collection, key_group))
    if as_json:
        print_json({"object": "feedback.forgotten", "callers": callers})
    else:
        out.print(f"what {callers} callers taught is forgotten")


def _open() -> Feedback:
    from app.feedback.feedback import Feedback  # imported late: SQLAlchemy takes memory that serving may not need

    return Feedback(records().database, Settings().feedback)


def _defaults() -> Sequence[float]:
    """The weights of text without feedback, as the service has them."""
    parameters = Settings().parameters
    return (Parameters.read(parameters).weights if parameters else Weights()).values()[: len(RANKERS)]
