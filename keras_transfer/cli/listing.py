"""The verb that lists runs."""

from __future__ import annotations

from rich.table import Table

from keras_transfer import runs as kept
from keras_transfer.cli.options import Folder, Json
from keras_transfer.cli.showing import out, plain, print_json, show, suggest


def runs(folder: Folder = kept.DEFAULT_FOLDER, as_json: Json = False) -> None:
    """List the runs of a folder, the newest first: what each reached, and how to go on with an unfinished one."""
    from keras_transfer import workflow

    found = workflow.listed(folder)
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
        return
    if not found:
        out.print(f"There are no runs in '{folder}'.", highlight=False)
        suggest("train FOLDER")
        return
    table = Table("run", "task", "backbone", "px", "test", "training", "exported", "state")
    for each in found:
        merit = "-" if each.merit is None else f"{each.merit_name} {each.merit:.1%}"
        merit += f" ± {100 * each.spread:.1f}" if each.spread else ""
        seconds = "-" if each.seconds is None else f"{each.seconds:.0f} s"
        seconds += f", {each.instructions}" if each.instructions else ""
        size, files = str(each.image_size or "-"), ", ".join(each.exports) or "-"
        shown = (each.folder, each.task or "-", each.backbone or "-", size, merit, seconds, files, each.state)
        table.add_row(*(plain(str(cell)) for cell in shown))
    show(table)
    done = next((each for each in found if each.state == "finished"), None)
    if done:
        suggest("report" if done.exports else "export", done.folder)
