"""Batches in an order that a resumed run finds again."""

from torch.utils.data import DataLoader, Dataset, DistributedSampler


def repeatable_loader(
    data: Dataset, batch_size: int, *, seed: int | None = None, **kwargs
) -> DataLoader:
    """Batches in the order of `data`, or with a seed in one that follows from it and the epoch.

    `kwargs` are those of DataLoader.
    """
    # Lightning calls set_epoch on this sampler, so a resumed run sees the order it missed.
    order = DistributedSampler(data, 1, 0, shuffle=seed is not None, seed=seed or 0)
    return DataLoader(data, batch_size, sampler=order, **kwargs)
