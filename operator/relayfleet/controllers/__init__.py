"""kopf, and one module per resource: gather, decide, act, and nothing else."""
