"""`promax doctor`: looks at the installation, the record and the machine, and says what to do.

check         one line of the result
installation  Python, libraries, conf/, encoders, git, what Hydra finds
machine       disk, device, threads
record        MLflow's database, runs left open, Optuna's database
flow          `doctor`: all of it, in order

Nothing is imported before the check that needs it, so that a library that is missing costs one line.
"""
