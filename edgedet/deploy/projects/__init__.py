"""Whole projects around a deployed module: `deploy --project`, one layout for each kind of build."""
