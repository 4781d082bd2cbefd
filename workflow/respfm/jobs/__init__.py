"""The job around a script: log, checksums, code digests, Slurm, checkpoints, signals. Nothing here decides a result."""
