"""What ``set`` and ``solve`` say: multipliers of loads, studies, and the time that a solve comes to."""
