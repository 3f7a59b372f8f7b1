"""Pictures of cases, runs and comparisons, in one style (needs matplotlib, the ``plot`` extra)."""
