"""Network models: what a feeder's limited quantities are under given injections."""
