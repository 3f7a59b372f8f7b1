"""The command line: which commands there are. What a command needs is imported when it is called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

import click
from click.shell_completion import CompletionItem

from amm_opt.study.terminal import Group

COMMANDS = {
    "bench-solvers": ("benching:bench_solvers", "Time solvers on CASE, and hold their answers against a reference."),
    "cases": ("listing:cases", "List the cases that come with the toolkit."),
    "compare": ("running:compare_command", "Compare mechanisms on CASE (a name or a folder)."),
    "explain": ("reviewing:explain", "Say which limits kept RUN from serving more."),
    "export": ("outputs.exporting:export", "Write limits and prices of RUN for the systems that send them to sites."),
    "fair-play": (
        "requesting:fair_play",
        "Hold a market for requests of households, and two plans beside it.",
    ),
    "fit": ("importing:fit", "Fit a network to TABLE, readings of meters, and run a mechanism on it."),
    "import": ("importing:import_group", "Make a case folder from a network file."),
    "mechanisms": ("listing:mechanisms", "List the mechanisms and their parameters."),
    "price-parts": ("reviewing:price_parts_command", "Take the marginal prices of one interval of CASE apart."),
    "recover": ("settling:recover", "Say who gets what of the costs of RUN, and whether that covers them."),
    "report": ("outputs.reporting:report_command", "Write one page on what run or compare wrote into DIR."),
    "run": ("running:run", "Run one mechanism on CASE (a name or a folder)."),
    "settle": ("settling:settle", "Say who pays what in RUN, and what is left to the operator."),
    "solvers": ("listing:solvers", "List solvers, what they can do, and which are installed."),
    "study": ("studying:study", "Run every variant of STUDY, a file that says what is tried."),
    "verify": ("reviewing:verify_command", "Replay RUN, a folder that run or compare wrote, by AC power flow."),
}
"""Where each command is in ``amm_opt.study.commands``, and its sentence in the list of them."""


class Commands(Mapping[str, click.Command]):
    """The commands by name, each imported when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        module, _, function = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(f"amm_opt.study.commands.{module}"), function)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class LazyGroup(Group):
    """Lists its commands without importing any."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Their names and sentences."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands, and options of the group."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=COMMANDS[name][1]) for name in names), *options]


@click.group(cls=LazyGroup, commands=Commands(), context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="amm-opt")
def main() -> None:
    """Compare how scarce distribution-network capacity is shared.

    \b
    Example:  amm-opt compare mv33lv --start 2016-05-02 --steps 336
    """
