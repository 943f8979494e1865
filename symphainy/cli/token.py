"""symphainy token: a development token."""

from __future__ import annotations

from typing import Annotated

import typer

from symphainy.cli.options import URL, AsJson, Data, Url
from symphainy.cli.terminal import plain, say, show, show_json


def token(
    tenant: Annotated[str, typer.Option("--tenant", metavar="T", help="Tenant it acts in.")],
    user: Annotated[str, typer.Option("--user", metavar="U", help="User it speaks for.")],
    role: Annotated[
        list[str] | None,
        typer.Option("--role", metavar="R", show_default="member", help="viewer, member, operator or admin."),
    ] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep it for further commands to the address --url.")] = False,
    url: Url = URL,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Print a development token.

    It is valid for 12 hours on the platform whose data that is, and on no other.

    \b
    Example: TOKEN=$(symphainy token --tenant acme --user ada --role operator)
    """
    from symphainy.cli.credentials import keep, mint, unknown_roles
    from symphainy.model import tenant_id_problem

    if problem := tenant_id_problem(tenant):
        raise typer.BadParameter(problem, param_hint="--tenant")
    roles = role or ["member"]
    if problem := unknown_roles(roles):
        raise typer.BadParameter(problem, param_hint="--role")
    issued = mint(tenant, user, roles, data=data, is_first=True)
    if save:
        say(f"kept in {plain(keep(url, issued.access_token))}")
    if as_json:
        show_json(issued)
    elif not save:
        show(issued.access_token)
