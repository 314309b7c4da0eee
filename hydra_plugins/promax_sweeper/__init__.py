"""promax's Optuna sweeper for Hydra: hydra/sweeper=promax_optuna."""
