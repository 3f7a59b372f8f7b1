"""What a case can be turned into: other tables, ratings, uptake, profiles and intervals."""
