"""Where a detector's regions come from."""

from typing import Protocol

from torch import Tensor

from detkit.structures import Batch, Losses


class ProposalSource(Protocol):
    """A source of candidate boxes: the RPN, or a file of them."""

    def learn(self, features_BCHW: Tensor, batch: Batch) -> tuple[list[Tensor], Losses]:
        """Proposals (N_i, 4) of each image to train the head on, and the source's own losses (none for a file)."""
        ...

    def propose(self, features_BCHW: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Proposals (B, K, 4) to detect in, best first, and which of them are real (B, K) bool: the rest is padding."""
        ...
