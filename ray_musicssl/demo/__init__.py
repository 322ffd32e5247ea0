"""Music with known truth, synthesised: a corpus and miniature data sets in their official layouts."""
