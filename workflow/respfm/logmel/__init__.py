"""Log-mel spectrograms: the front end, the shards of a data set, statistics and crops of a mixture."""

from respfm.logmel.frontend import LogMel

__all__ = ["LogMel"]
