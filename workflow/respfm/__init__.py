"""respfm: pre-training and evaluation of respiratory audio foundation models.

The library behind the Snakemake workflow of this repository; it knows nothing of Snakemake.
"""

__version__ = "0.1.0"
