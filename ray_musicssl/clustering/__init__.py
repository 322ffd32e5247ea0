"""K-means as algebra on arrays; who computes which block is not decided here."""
