"""Figures of a search of hyper-parameters, drawn by Optuna."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import Study
from optuna.trial import TrialState
from optuna.visualization import matplotlib as plots

from cerraseg.core.files import atomic_write

_FEWEST = 5  # finished trials that an importance is computed from


def draw_search(study: Study, folder: Path, *, title: str, source: str) -> None:
    """Draw a search, of which one trial at least is finished, as SVGs in a folder.

    ``history.svg`` has the values of trials with the best so far; ``slices.svg`` values by parameter; and
    ``importances.svg`` each parameter's share in what makes a trial good (PED-ANOVA, Watanabe et al., IJCAI 2023),
    empty where less than five trials with different values have finished.
    """
    finished = {trial.value for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.COMPLETE}
    importances = partial(plots.plot_param_importances, evaluator=PedAnovaImportanceEvaluator())
    drawings: dict[str, Callable[..., Any]] = {
        "history": plots.plot_optimization_history,
        "slices": plots.plot_slice,
        "importances": importances if len(finished) >= _FEWEST else lambda *_, **__: plt.subplots()[1],
    }
    for name, draw in drawings.items():
        with mpl.rc_context(), warnings.catch_warnings(), atomic_write(folder / f"{name}.svg") as temporary:
            warnings.simplefilter("ignore")  # Optuna's plots count as experimental
            mpl.rcdefaults()  # not the user's matplotlibrc
            mpl.rcParams.update({"svg.hashsalt": "cerraseg", "svg.fonttype": "none"})
            figure = np.ravel(draw(study, target_name="validation macro F1"))[0].figure
            figure.suptitle(f"{title}\nData: {source}", fontsize=10, parse_math=False)
            figure.savefig(temporary, metadata={"Date": None}, bbox_inches="tight")
            plt.close(figure)
