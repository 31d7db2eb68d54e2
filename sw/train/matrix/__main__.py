"""Command line of many runs: archon matrix NETWORK..., or python -m sw.train.matrix."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import Console

from hw.contract.errors import ArchonError
from sw.command import refused, whole
from sw.train.matrix.plan import Chain, plan
from sw.train.options import Cluster, Common
from sw.train.recipe import StageName

FAILED = 1
"""Exit status where a run has failed."""

app = App(name="sw.train.matrix", help="Train networks on data sets, stage by stage, with several seeds.")


@app.default
def main(
    networks: list[str],
    *,
    dataset: Annotated[
        list[str] | None,
        Parameter(help="any of cifar10 (default), cifar100, fashion-mnist, svhn", consume_multiple=True, negative=""),
    ] = None,
    stage: Annotated[
        list[StageName] | None, Parameter(help="all that a network has by default", consume_multiple=True, negative="")
    ] = None,
    seed: Annotated[
        list[int] | None, Parameter(converter=whole, help="0 by default", consume_multiple=True, negative="")
    ] = None,
    jobs: Annotated[int, Parameter(converter=whole, help="runs at a time, with --cluster local")] = 1,
    status: Annotated[bool, Parameter(help="only bring the table up to date", negative="")] = False,
    common: Common | None = None,
    cluster: Cluster | None = None,
) -> int:
    """Train every combination of NETWORKS, data sets, stages and seeds, each as `archon train` would; local by default.

    The stages of one network, data set and seed follow each other. What is finished with the same settings is skipped, what
    was interrupted resumes; a run that fails ends its own chain alone. The table is BUILD/matrix/results.csv, and .json; the
    same command goes on where it stopped.
    """
    console, common, cluster = Console(), common or Common(), cluster or Cluster()
    try:
        cluster = replace(cluster, cluster=cluster.cluster or "local")
        cluster.check()
        with console.status("networks, data, runs that there are"):
            chains = plan(networks, dataset or ["cifar10"], stage, seed or [0], common)
        return carry_out(chains, common, cluster, jobs, status, console)
    except ModuleNotFoundError as error:
        return refused(f"jobs need {error.name}, which is not installed: `make train` installs it")
    except (ArchonError, OSError) as error:
        return refused(error)


def carry_out(chains: list[Chain], common: Common, cluster: Cluster, jobs: int, status: bool, console: Console) -> int:
    """Train or submit what is not finished, unless only the status is asked for, and print the table; the exit status.

    Raises:
        ArchonError: a job cannot be begun.
    """
    from sw.train.cluster import last_words  # noqa: PLC0415 (submitit is needed for jobs alone)
    from sw.train.matrix.execution import LocalMatrix, look, submit_chains  # noqa: PLC0415
    from sw.train.matrix.results import Results  # noqa: PLC0415

    if jobs < 1:
        raise ArchonError(f"jobs: expected 1 or more, got {jobs}")
    results = Results(common.build / "matrix")
    look(chains, results)
    try:
        if cluster.cluster == "slurm" and not status:
            count = submit_chains(chains, results, cluster)
            console.print(f"jobs submitted: {count}; the same command with --status says what has become of them")
        elif not status:
            LocalMatrix(results, cluster, console).run(chains, jobs)
    finally:
        console.print(results.table())
        files = ", ".join(str(path) for path in results.files)
        console.print(f"with commands and logs: {files}", highlight=False, soft_wrap=True)
    rows = [results.find(combination) for chain in chains for combination in chain]
    failed = [row for row in rows if row is not None and row.state == "failed"]
    for row in failed if status else []:
        said = "" if row.log is None else last_words(Path(row.log))
        console.print(f"{row.network} {row.stage}, seed {row.seed}: {said}", highlight=False, soft_wrap=True)
    return FAILED if failed else 0


if __name__ == "__main__":
    sys.exit(app())
