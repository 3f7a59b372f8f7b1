"""Studies: one question at hundreds of variants, on one machine or many."""

from amm_opt.studies.reading import read_study
from amm_opt.studies.result import StudyResult, open_study
from amm_opt.studies.sample import Sample
from amm_opt.studies.study import Study

__all__ = ["Sample", "Study", "StudyResult", "open_study", "read_study"]
