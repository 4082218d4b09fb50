"""Train and measure ParagonSR2 networks.

python -m training.data.fetch_photographs            photographs with free licences into data/photographs
python -m training fit training/recipes/NAME.toml    train, or go on where a run was stopped
python -m training fit --smoke                       a minute of it, to see that everything works
python -m training fit RECIPE --end 1200             finish a run at a constant rate, in RUN-end
python -m training evaluate MODEL...                 scores on the hold-out photographs
python -m training scores                            the same for every model of this repository
python -m training scores Set5 Set14 --model FILE    on standard sets, beside other programs' files
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from paragon_arch.errors import ParagonError
from paragon_engine.catalog import shipped_models

from .evaluate import evaluate, table
from .export import export
from .loop import fit, restore
from .recipe_file import ending, read_recipe
from .scoring.conditions import CONDITIONS
from .scoring.standard import by_scale, score_standard, squares_table, standard_table
from .state import fingerprint

RECIPES = Path(__file__).with_name("recipes")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__, formatter_class=formatter)
    parser.add_argument("--threads", type=int, help="CPU threads; default: as many as there are cores")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    command = commands.add_parser("fit", help="run a recipe, or continue it")
    command.add_argument("recipe", type=Path, nargs="?", help="a TOML file, see training/recipes")
    command.add_argument("--smoke", action="store_true", help="the recipe smoke.toml, on synthetic pictures")
    words = "finish a run at a constant rate: branch off its state, and let the rate fall over so many steps"
    command.add_argument("--end", type=int, metavar="STEPS", help=words)
    command.set_defaults(run=run_fit)

    command = commands.add_parser("export", help="write the averaged network of a run that is not at its end")
    command.add_argument("recipe", type=Path, help="the run's recipe")
    command.add_argument("-o", "--output", type=Path, required=True, help="a new .safetensors file")
    command.set_defaults(run=run_export)

    command = commands.add_parser("evaluate", help="PSNR and SSIM of models, bicubic, Lanczos and the Magic base")
    command.add_argument("model", type=Path, nargs="*", help="checkpoints of one scale")
    command.add_argument("--folder", type=Path, default=Path("data/photographs/holdout"), help="default: %(default)s")
    command.add_argument("--reduce", type=int, default=1, metavar="N", help="first shrink the pictures by N (Lanczos)")
    command.add_argument("--scale", type=int, help="needed without a model, or where a model does not tell it")
    command.add_argument("--pictures", action="store_true", help="a line for each picture, not only the means")
    command.set_defaults(run=run_evaluate)

    command = commands.add_parser("scores", help="the tables of the model cards: every model of this repository")
    command.add_argument("sets", type=Path, nargs="*", metavar="SET", help="folders of standard sets, e.g. Set5 Set14")
    command.add_argument("--folder", type=Path, default=Path("data/photographs/holdout"), help="default: %(default)s")
    command.add_argument("--model", type=Path, action="append", default=[], help="with sets: one more model file")
    command.add_argument("--only", action="store_true", help="with sets: the files of --model alone")
    choices = ", ".join(CONDITIONS)
    command.add_argument("--conditions", nargs="+", default=list(CONDITIONS), help=f"with sets: some of {choices}")
    command.add_argument("--ssimulacra2", action="store_true", help="with sets: also SSIMULACRA2, slow (extra scores)")
    command.set_defaults(run=run_scores)
    return parser


def run_fit(arguments: argparse.Namespace) -> None:
    """``fit``: train, then write ``model.safetensors`` into the run's folder."""
    if arguments.smoke == (arguments.recipe is not None):
        raise ParagonError("give either a recipe or --smoke")
    recipe = read_recipe(RECIPES / "smoke.toml" if arguments.smoke else arguments.recipe)
    if arguments.end is not None:
        recipe = ending(recipe, arguments.end)
    if fit(recipe).world.leads:
        print(Path(recipe.run.out) / "model.safetensors")


def run_export(arguments: argparse.Namespace) -> None:
    """``export``: the average so far, from the run's last checkpoint."""
    recipe = read_recipe(arguments.recipe)
    trainer = restore(recipe)
    export(trainer.averaged_network(), arguments.output, overwrite=False, recipe=fingerprint(recipe))
    print(f"{arguments.output}: step {trainer.step} of {recipe.optim.steps}")


def run_evaluate(arguments: argparse.Namespace) -> None:
    """``evaluate``: print a Markdown table."""
    scores = evaluate(arguments.model, arguments.folder, reduce=arguments.reduce, scale=arguments.scale)
    print(table(scores, pictures=arguments.pictures))


def run_scores(arguments: argparse.Namespace) -> None:
    """``scores``: for each scale a table on the pictures as they are, and one on the halved pictures."""
    models = shipped_models()
    if arguments.sets:
        files = [*([] if arguments.only else [model.path for model in models]), *arguments.model]
        print("PSNR-Y / SSIM-Y / steps across input pixels over steps inside them\n")
        scores = score_standard(arguments.sets, files, arguments.conditions, ssimulacra2=arguments.ssimulacra2)
        print(standard_table(scores), squares_table(by_scale(files)), sep="\n\n")
        return
    for scale in sorted({model.scale for model in models}):
        paths = [model.path for model in models if model.scale == scale]
        for reduce, words in ((1, "as published"), (2, "halved first")):
            print(f"## {scale}x, photographs {words}\n")
            print(table(evaluate(paths, arguments.folder, reduce=reduce, scale=scale), pictures=True), end="\n\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns 0, or 1 after an error that has been told in one line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names that the code page lacks are written with escapes
            stream.reconfigure(errors="backslashreplace")
    arguments = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        arguments.run(arguments)
    except ParagonError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
