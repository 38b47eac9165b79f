"""Hostile inputs for everything that reads what a user gives; `python -m tests.fuzz --inputs 20000 --seed 0` is the
long run."""
