"""HTTP in front of opened bundles: harmonization, the open inference protocol, and a page."""
