"""When a training is given up: its time goes to the other scenarios."""

from collections.abc import Collection


def verdict(macro_f1: Collection[float], epoch: int, below: float) -> str:
    """Why a training stops as hopeless; empty where it does not.

    Args:
        macro_f1: validation macro F1 (0 to 1) of each epoch so far.
        epoch: the first after which it may stop; 0: never.
        below: the best score that is too low (0 to 1).
    """
    if not 0 < epoch <= len(macro_f1) or (best := max(macro_f1)) >= below:
        return ""
    return (
        f"stopped as hopeless after epoch {len(macro_f1)}: its best validation macro F1, {100 * best:.2f} %, is below "
        f"training.hopeless_below, {100 * below:g} %"
    )
