"""Tables from files: the same from CSV and from Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from amm_opt.io.tables import read_table


def test_numbers_that_are_names_are_texts_from_either_kind_of_file(tmp_path: Path) -> None:
    table = pd.DataFrame({"site": [17, 4], "site_group_id": [1, 2]})
    table.to_parquet(tmp_path / "sites.parquet")
    table.to_csv(tmp_path / "sites.csv", index=False)
    for name in ("sites.parquet", "sites.csv"):
        read = read_table(tmp_path / name, "table of sites", texts=("site",))
        assert read["site"].tolist() == ["17", "4"]
        assert read["site_group_id"].tolist() == [1, 2]
