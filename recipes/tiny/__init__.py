"""The recipe of the embedded model `tiny` and its classifier: data, weights, tables, figures."""
