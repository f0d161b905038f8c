"""A network as a chain of named modules, some of them frozen."""

from collections.abc import Iterable, Sequence

from torch import nn

Named = Sequence[tuple[str, nn.Module]]


class Chain(nn.Sequential):
    """The named modules one after another; those in `frozen`, at any depth, are never trained and stay in eval mode."""

    def __init__(self, modules: Named, frozen: Iterable[nn.Module]) -> None:
        super().__init__()
        for name, module in modules:
            self.add_module(name, module)
        self._frozen = list(frozen)
        for module in self._frozen:
            module.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Chain":
        super().train(mode)
        for module in self._frozen:
            module.eval()  # the running statistics of what is frozen stay what they are, too
        return self


def first(modules: Named, count: int) -> list[nn.Module]:
    """The first `count` of them without their names, as Chain wants to know what is frozen."""
    return [module for _, module in modules[:count]]
