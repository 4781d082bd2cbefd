"""Tables, figures and the report: what people look at. Nothing here imports torch."""
