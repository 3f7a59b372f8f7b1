"""What one run or several did over time: days, months, duration curves, prices."""
