"""The commands `fer recipes …`: what a retraining run does."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from flows.cli import console, options

app = typer.Typer(help="The recipes: what a retraining run does.", no_args_is_help=True)


@app.command("list")
def list_recipes() -> None:
    """List the recipes."""
    from fer.recipes import catalog

    table = Table("recipe", "what it does")
    for name in catalog.NAMES:
        table.add_row(name, escape(catalog.about(name).splitlines()[0]))
    console.out.print(table)


@app.command("show")
def show_recipe(
    name: Annotated[str, typer.Argument(autocompletion=options.complete_recipes, metavar="NAME|FILE.toml")],
    set_: options.Settings = None,
    as_json: console.AsJson = False,
) -> None:
    """Show a recipe: its command, duration and expected result, and every setting, as --set takes it."""
    from fer.recipes import catalog, overrides

    recipe = overrides.apply(catalog.load(name), overrides.parse_settings(set_ or []))
    out = console.out
    if as_json:
        typer.echo(recipe.model_dump_json(indent=1))
        return
    out.print(escape(catalog.about(name)), highlight=False)
    for setting in overrides.list_settings(recipe):
        value = " (empty)" if setting.value is None else f"={setting.value}"
        out.print(f"\n[bold]{escape(setting.path + value)}[/]", highlight=False, soft_wrap=True)
        out.print(Padding(escape(setting.meaning), (0, 0, 0, 4), expand=False), highlight=False)
    elsewhere = ""
    if recipe.made_for:
        elsewhere = f" from {', '.join(recipe.made_for)}, as SOURCE-{recipe.model_name} from other sources"
    out.print(f"\nregistered as {recipe.model_name}{elsewhere} (--name for another)", highlight=False)
    for path, dimension in recipe.search.items():
        out.print(f"fer sweep tries {escape(f'{path}={dimension}')}", highlight=False, soft_wrap=True)
