"""What the documents say of committed runs: tables, goals, plots, and the guard against slower engines."""
