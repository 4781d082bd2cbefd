"""Getting data sets and checkpoints: mirrors, downloads, verification, unpacking."""
