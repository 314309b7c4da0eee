"""The verdict on a study: what its runs were claimed to show, and whether they do.

`study` reads the runs, `effects` measures with the variance of tickets and of seeds, `claims` judges by the
rule that was logged with the runs, `diagnosis` names causes, `report` writes it down; `flow` is the whole of it.
Everything is computed from the record: per-pair scores and learning curves. No model is loaded.
"""
