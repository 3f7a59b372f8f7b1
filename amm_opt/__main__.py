"""``python -m amm_opt``: the command line where no script is on the path."""

from amm_opt.study.cli import main

if __name__ == "__main__":
    main(prog_name="python -m amm_opt")
