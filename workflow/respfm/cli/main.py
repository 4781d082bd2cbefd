"""The command `respfm`: what is useful outside the workflow."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from respfm import __version__
from respfm.errors import RespfmError

REPOSITORY = Path(__file__).resolve().parents[3]
DEFAULT_CONFIG = REPOSITORY / "config" / "config.yaml"


def _settings(configfiles: Sequence[str]):
    from respfm.config.reading import read_configs
    from respfm.config.settings import load_settings

    config = read_configs([Path(path) for path in configfiles], DEFAULT_CONFIG)
    return load_settings(config, REPOSITORY, ", ".join(configfiles))


def _plan(arguments: argparse.Namespace) -> None:
    from respfm.cli.needs import describe_needs
    from respfm.config.plan import Plan

    print(describe_needs(Plan(_settings(arguments.configfile))))


def _store(arguments: argparse.Namespace) -> None:
    from respfm.jobs.checksums import check_files, checksum_of
    from respfm.shard import read_header
    from respfm.store import describe

    if arguments.action == "show":
        print(describe(arguments.shards))
        return
    for path in arguments.shards:
        read_header(path)
        check_files([path])
        checked = "whole" if checksum_of(path).is_file() else "of full length; no checksum beside it to compare with"
        print(f"{path}: {checked}")


def _demo_data(arguments: argparse.Namespace) -> None:
    from respfm.demo import write_dataset

    settings = _settings(arguments.configfile)
    corpus = settings.config.get("demo_corpus")
    if corpus is None:
        raise RespfmError(f"{', '.join(arguments.configfile)} has no demo_corpus; use config/config.yaml")
    if arguments.out.exists() and not arguments.out.is_dir():
        raise RespfmError(f"{arguments.out} is a file; name a folder, which is made if need be")
    from respfm.config.plan import Plan

    for dataset in Plan(settings).sources:
        print(f"writing {arguments.out / dataset}")
        entry = {"files": settings.datasets[dataset]["files"]}
        write_dataset(dataset, entry, arguments.out / dataset, corpus["scale"], corpus["seed"])


def _embed(arguments: argparse.Namespace) -> None:
    from respfm.cli.embed import embed_recordings

    embed_recordings(
        arguments.recordings,
        arguments.out,
        model=arguments.model,
        settings=_settings(arguments.configfile),
        checkpoint=arguments.checkpoint,
        layer=arguments.layer,
        protocol=arguments.protocol,
        dataset=arguments.dataset,
        device=arguments.device,
    )


def _doctor(arguments: argparse.Namespace) -> int:
    from respfm.cli.doctor import examine

    return 0 if examine(_settings(arguments.configfile), arguments.configfile) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("respfm", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, function, text: str, configured: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        if configured:
            command.add_argument("--configfile", nargs="+", default=[str(DEFAULT_CONFIG)], help="as for snakemake")
        return command

    add("plan", _plan, "what a configuration needs: downloads, disk, work by hand, GPU hours")
    add("doctor", _doctor, "check the environment, the device, the disk, mirrors and results")
    demo = add("demo-data", _demo_data, "write the synthetic corpus in the publishers' own formats")
    demo.add_argument("out", type=Path, help="folder of the mirror")
    store = add("store", _store, "show or check shards of the log-mel store", configured=False)
    store.add_argument("action", choices=["show", "check"])
    store.add_argument("shards", nargs="+", help="files logmel/<dataset>/<shard>.h5")
    embed = add("embed", _embed, "embed your own recordings")
    embed.add_argument("recordings", nargs="+", type=Path, help="files or folders, any format and rate")
    embed.add_argument("--model", required=True, help="a model of the configuration, or package.module:Class")
    embed.add_argument("--checkpoint", type=Path, help="the publisher's file, or your encoder.safetensors")
    embed.add_argument("--layer", default="all", help="a layer's name, or all")
    embed.add_argument("--protocol", choices=["strict", "published"], default="strict")
    embed.add_argument("--dataset", help="data set whose published options count, as in the workflow")
    embed.add_argument("--device", default="auto")
    embed.add_argument("-o", "--out", required=True, type=Path, help="a file .h5, .csv or .parquet")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; exit status 1 and one sentence on stderr for a mistake that the user can correct."""
    options = _parser().parse_args(arguments)
    try:
        status = options.function(options) or 0
        sys.stdout.flush()
        return status
    except RespfmError as error:
        print(f"respfm: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as in `respfm plan | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
