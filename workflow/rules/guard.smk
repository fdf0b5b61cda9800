"""Before a run: may it write here? After it: what it made goes into its RO-Crate and, where DVC is used, dvc.lock."""

from cerraseg.orchestration import hooks

BEGAN = hooks.prepare()


onstart:
    hooks.start(workflow, config)


onsuccess:
    hooks.finish(workflow, config, BEGAN, completed=True)


onerror:
    hooks.finish(workflow, config, BEGAN, completed=False)
