"""The page of a report: one HTML file that asks nothing of a network, for one run or many."""
