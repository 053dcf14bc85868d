"""Image files, colours and masks: read for the network, written back as they came. Knows no bundle and no engine."""
