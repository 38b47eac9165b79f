"""Reports: one page with plots, and tables beside it."""
