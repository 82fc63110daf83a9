"""How a dataset says which image is of which class: one module per layout."""
