"""Running a mechanism interval by interval."""
