"""Command line of training: archon train NETWORK --stage STAGE, or python -m sw.train."""

import sys

from cyclopts import App
from rich.console import Console

from hw.contract.errors import ArchonError
from sw.command import refused
from sw.train.here import train_here
from sw.train.options import Cluster, Options

app = App(name="sw.train", help="Train a network, one stage after the other.")


@app.default
def main(network: str, *, options: Options | None = None, cluster: Cluster | None = None) -> int:
    """Train one stage of NETWORK (a known name or a TOML file); artefacts go to BUILD/NETWORK/train/STAGE.

    The stage before is taken from there, else from the runs that come with the project. For CIFAR-100 the network is called
    NETWORK-100, for data sets other than the CIFARs NETWORK-DATASET; runs of other seeds than 0 go to
    BUILD/NETWORK/train-seed-SEED. With --cluster the same run is submitted as a job.
    """
    options, cluster = options or Options(), cluster or Cluster()
    try:
        cluster.check()
        if cluster.cluster is None:
            return train_here(network, options)
        from sw.train.cluster import train_on  # noqa: PLC0415 (submitit is needed for jobs alone)

        return train_on(network, options, cluster, Console())
    except ModuleNotFoundError as error:
        return refused(f"jobs need {error.name}, which is not installed: `make train` installs it")
    except (ArchonError, OSError) as error:
        return refused(error)


if __name__ == "__main__":
    sys.exit(app())
