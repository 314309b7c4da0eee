"""`promax promote`: an encoder becomes the champion of its registered model only if it has earned it.

`gate` says what a run has to show and whether it does, from the record alone; `model` makes its encoder into one
that MLflow opens; `flow` is the verb from top to bottom.
"""

from promax.promote.flow import promote

__all__ = ["promote"]
