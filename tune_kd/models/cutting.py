"""Networks cut at one of their modules: what comes before a feature map, and what comes after it."""

from torch import fx, nn

from tune_kd.errors import InputError


def until(model: nn.Module, path: str) -> nn.Module:
    """What gives the map of the module at that path."""
    cut = _traced(model, path)
    at = _node(cut, path)
    (end,) = (node for node in cut.graph.nodes if node.op == "output")
    end.args = (at,)
    return _pruned(cut)


def after(model: nn.Module, path: str) -> nn.Module:
    """What makes logits of that map."""
    cut = _traced(model, path)
    at = _node(cut, path)
    (pictures,) = (node for node in cut.graph.nodes if node.op == "placeholder")
    with cut.graph.inserting_after(pictures):
        begin = cut.graph.placeholder("maps")
    at.replace_all_uses_with(begin)
    found = _pruned(cut)
    if pictures.users:
        raise InputError(
            f"kd.layers: the teacher's classifier needs more than the map of '{path}'. Choose a later one."
        )
    found.graph.erase_node(pictures)
    found.recompile()
    return found


class _Tracer(fx.Tracer):
    """Looks into everything but the module that is cut at."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name == self._path or super().is_leaf_module(m, module_qualified_name)


def _traced(model: nn.Module, path: str) -> fx.GraphModule:
    try:
        return fx.GraphModule(model, _Tracer(path).trace(model))
    except Exception as error:  # a network of the user's may do anything on its way
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"kd.method: a {type(model).__name__} cannot be cut at '{path}', as its way depends on what it sees "
            f"({reason}). Choose another method than simkd, or another network."
        ) from error


def _node(cut: fx.GraphModule, path: str) -> fx.Node:
    """Where it is run last."""
    found: list[fx.Node] = [node for node in cut.graph.nodes if node.op == "call_module" and node.target == path]
    return found[-1]


def _pruned(cut: fx.GraphModule) -> fx.GraphModule:
    cut.graph.eliminate_dead_code()
    cut.delete_all_unused_submodules()
    cut.recompile()
    return cut
