"""What the documents show of committed runs: tables, goals, plots, and the guard against slower engines."""
