"""Where variants are run: in this process, in others of this machine, or by dask."""
