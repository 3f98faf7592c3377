"""Ray on one machine without its dashboard, for which it waits longer than for all else: nobody here looks at it.

True for the Ray named in `inside_tune.VERSION`; `tests/cluster/test_bare.py` says what another version has changed.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from ray._private import node, parameter, utils


@contextmanager
def bare() -> Iterator[None]:
    """What is started within has no autoscaler, no reader of logs and no dashboard, and its agents serve no pages."""
    own = [(owner, name, getattr(owner, name)) for owner, name, _ in _CHANGES]
    try:
        for (owner, name, was), (*_, change) in zip(own, _CHANGES, strict=True):
            setattr(owner, name, change(was))
        yield
    finally:
        for owner, name, was in own:
            setattr(owner, name, was)


def _no_dashboard(its_node: Any, **_: Any) -> None:
    its_node._webui_url = ""


_CHANGES: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
    (parameter, "RayParams", lambda own: partial(own, no_monitor=True, include_log_monitor=False)),
    (node.Node, "start_api_server", lambda own: _no_dashboard),
    # As if Ray had been installed without the dashboard's packages, which its agents then do not import either.
    (utils, "get_dashboard_dependency_error", lambda own: lambda: ImportError("nobody looks at the dashboard")),
)
