"""Curation: recordings of each data set, tasks under two protocols, and pre-training mixtures.

One parser module per kind of data set (`coughvid`, `icbhi`, `hf_lung`, `coswara`, `kauh`, `respiratory_tr`,
`folder`), each with `list_recordings(root, options) -> DataFrame(id, path, patient, metadata...)`, loaded by
name.
"""
