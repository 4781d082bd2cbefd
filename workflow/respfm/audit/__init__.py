"""What may raise scores other than the sound: shared recordings, copies, and metadata.

`leakage`, `duplicates` and `metadata_baselines` are modules of their own, each with the function of its name.
"""
