"""Split-phase service: two halves of 120 V behind a centre-tapped transformer as one phase to neutral."""
